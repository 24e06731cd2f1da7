/** A promise that is not waited for longer than its owner likes. */

export interface WaitLimits {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** What the promise gives, unless time runs out or the signal aborts before. */
export async function withinTime<Value>(
  promise: Promise<Value>,
  { timeoutMs, signal }: WaitLimits,
): Promise<Value> {
  // It may fail when nobody waits for it any more.
  promise.catch(() => {})
  signal.throwIfAborted()
  const { promise: ended, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  const abort = () => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([promise, ended])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}
