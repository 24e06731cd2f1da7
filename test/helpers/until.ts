/** Polls until something holds, with a deadline: the only place where a test may sleep. */

import { setTimeout as sleep } from 'node:timers/promises'

/** @throws Error that names what did not come true in time */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await sleep(5)
  }
}
