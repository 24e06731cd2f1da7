/** What authentication refuses, and what the reader does next. */

import type { Fault } from '../lib/errors.ts'

export const FAULTS = {
  auth_required: {
    status: 401,
    source: 'client',
    retryable: false,
    title: 'This address is private',
    next: 'Login is not part of this version yet. The owner can open the address with the admin API: PUT /v1/routes/<hostname> with "visibility": "public".',
  },
} as const satisfies Record<string, Fault>
