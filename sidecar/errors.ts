/** Every way a VM can fail to run, as one table. */

import { type Fault, LandfallError, type LandfallErrorOptions } from '../lib/errors.ts'

const vm = (title: string, next: string) =>
  ({ status: 502, source: 'upstream', retryable: true, title, next }) as const

export const FAULTS = {
  vm_name: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The VM has no valid name',
    next: 'Use 1 to 63 lower-case letters, digits and inner hyphens.',
  },
  vm_start_failed: vm('The VM could not be started', 'Read its last lines above; the log has the rest.'),
  vm_start_timeout: vm(
    'The VM did not report a port in time',
    'Read its last lines above, and check that its program listens and says so.',
  ),
} as const satisfies Record<string, Fault>

export type SidecarErrorCode = keyof typeof FAULTS

/** A VM's failure; `code` is a key of `FAULTS`. */
export class SidecarError extends LandfallError {
  declare readonly code: SidecarErrorCode

  constructor(code: SidecarErrorCode, options: LandfallErrorOptions = {}) {
    super(code, FAULTS[code], options)
  }
}
