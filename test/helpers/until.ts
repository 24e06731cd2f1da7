/** Polls until something holds, with a deadline: the only place where a test may sleep. */

import { setTimeout as sleep } from 'node:timers/promises'

const SHORTEST_PAUSE_MS = 5
/** What takes seconds is found a little later: a look may cost a handshake, and the machine has other tests. */
const LONGEST_PAUSE_MS = 250
const SHARE = 0.05
/** A pause that is longer by more was one without a processor: nobody else is to blame for it, and it does not count. */
const LATE_MS = 20

/** @throws Error that names what did not come true in time */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs = 10_000,
): Promise<void> {
  let startedAt = performance.now()
  while (!(await holds())) {
    const elapsedMs = performance.now() - startedAt
    if (elapsedMs > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    const pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, elapsedMs * SHARE))
    const pausedAt = performance.now()
    await sleep(pauseMs)
    startedAt += Math.max(0, performance.now() - pausedAt - pauseMs - LATE_MS)
  }
}
