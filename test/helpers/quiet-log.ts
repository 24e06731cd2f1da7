/** A log for tests that ask nothing of it. */

import type { Log } from '../../lib/log.ts'

export const QUIET_LOG: Log = { debug() {}, info() {}, warn() {}, error() {} }
