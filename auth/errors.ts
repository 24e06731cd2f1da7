/** What authentication refuses, and what the reader does next. */

import type { Fault } from '../lib/errors.ts'

export const FAULTS = {
  auth_required: {
    status: 401,
    source: 'client',
    retryable: false,
    title: 'This address is private',
    next: 'Login is not part of this version yet. The owner can open the port to everybody: landfall port set <vm> <port> --public.',
  },
} as const satisfies Record<string, Fault>
