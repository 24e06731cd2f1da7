/** The sealer of tests where several parts have to open what one of them has sealed. */

import { createSealer } from '../../lib/seal.ts'

export const SEALER = createSealer(Buffer.alloc(32, 7))
