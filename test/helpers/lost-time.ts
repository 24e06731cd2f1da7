/** How long a test's process had no processor: what is measured by the clock on a busy machine may take that much longer. */

import type { Test } from 'tap'

const TICK_MS = 10
/** Programs beside this one wait for the processor as well, and not always at the same time. */
const SHARE_OF_OTHERS = 3

/** Milliseconds since it was called that may be taken off from what anything in the test took. */
export function lostTimeFor(t: Test): () => number {
  let lostMs = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    lostMs += Math.max(0, now - last - 2 * TICK_MS)
    last = now
  }, TICK_MS)
  t.teardown(() => clearInterval(timer))
  return () => SHARE_OF_OTHERS * lostMs
}
