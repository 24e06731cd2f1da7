/** Warns of uploaded certificates that end soon: nobody but their owner can replace them. */

import { DAY_MS } from '../../lib/durations.ts'
import type { Log } from '../../lib/log.ts'
import { toMoment } from '../../lib/moment.ts'
import type { KnownCertificate } from '../books.ts'
import { toSlot } from '../rows.ts'

/** The last one first; 0 when it has ended. */
const DAYS = [0, 1, 7, 14, 30]

export interface EndWarnings {
  /** Says it once for each number of days. */
  warn(known: KnownCertificate, nowMs: number): void
}

export function createEndWarnings(log: Log): EndWarnings {
  /** What was said last, of which certificate. */
  const said = new Map<string, string>()
  return {
    warn: (known, nowMs) => {
      const { name, keyType, notAfterMs } = known
      const days = DAYS.find((limit) => notAfterMs - nowMs <= limit * DAY_MS)
      const text = `${notAfterMs} ${days}`
      const key = toSlot(known)
      if (days === undefined || said.get(key) === text) return
      said.set(key, text)
      const notAfter = toMoment(notAfterMs)
      const message = days === 0 ? 'an uploaded certificate has ended' : 'an uploaded certificate ends soon'
      log.warn({ name, keyType, notAfter, days }, message)
    },
  }
}
