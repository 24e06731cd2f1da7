/** Every way certificates can fail, as one table. */

import { type Fault, LandfallError, type LandfallErrorOptions } from '../lib/errors.ts'

export const FAULTS = {
  local_ca_broken: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The local certificate authority cannot be used',
    next: 'Remove ca.pem and ca.key from the folder named above and start again: a new authority is made, which browsers must be told to trust anew.',
  },
  local_ca_unwritable: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The local certificate authority cannot be read or written',
    next: 'Give this user read and write access to the folder named above, or set LANDFALL_DATA to another folder.',
  },
  certificate_failed: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'No certificate could be made for the name',
    next: 'Try again; the log says why it failed.',
    proxyStatus: 'tls_certificate_error',
  },
} as const satisfies Record<string, Fault>

export type AcmeErrorCode = keyof typeof FAULTS

/** A certificate's failure; `code` is a key of `FAULTS`. */
export class AcmeError extends LandfallError {
  declare readonly code: AcmeErrorCode

  constructor(code: AcmeErrorCode, options: LandfallErrorOptions = {}) {
    super(code, FAULTS[code], options)
  }
}
