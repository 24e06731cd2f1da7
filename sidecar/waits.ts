/** Waiting for what may be over already. */

/** Calls `act` when the signal aborts, at once when it has; never after disposal. */
export function onAbort(signal: AbortSignal, act: () => void): Disposable {
  const listener = () => act()
  signal.addEventListener('abort', listener)
  if (signal.aborted) act()
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', listener) }
}

export async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  const not = Symbol('not')
  return (await Promise.race([promise, Promise.resolve(not)])) !== not
}
