/** What the access log and the metrics say of one exchange; filled in as it goes. */

import type { LandfallError } from '../lib/errors.ts'
import type { Passage } from './gate.ts'
import type { RelayRoute } from './upstream.ts'

export interface ExchangeRecord {
  /** `performance.now()`. */
  readonly startedAt: number
  status: number
  bytesIn: number
  bytesOut: number
  errorCode?: string
  errorDetail?: string
  route?: RelayRoute
  /** As whom it was let in; absent before that, and for our own pages. */
  passage?: Passage
  /** Why the gate refused or ended it: for the log alone. */
  authReason?: string
  /** How long it was held until its VM ran, or it was given up. */
  wakeMs?: number
  upstreamConnectMs?: number
  upstreamFirstByteMs?: number
  upstreamReused?: boolean
  retries: number
  /** What ended it when it was not its own end: client_gone, upstream_incomplete, access_ended, … */
  closeReason?: string
}

export function createRecord(): ExchangeRecord {
  return { startedAt: performance.now(), status: 0, bytesIn: 0, bytesOut: 0, retries: 0 }
}

/** Of an error without words of its own the log gets the system's code, such as EHOSTUNREACH. */
export function recordFault(record: ExchangeRecord, { code, detail, cause, context }: LandfallError): void {
  record.errorCode = code
  if (typeof context.reason === 'string') record.authReason = context.reason
  const systemCode = (cause as NodeJS.ErrnoException | undefined)?.code
  const words = detail ?? (typeof systemCode === 'string' ? systemCode : undefined)
  if (words !== undefined) record.errorDetail = words
}
