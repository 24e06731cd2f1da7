/** Stores whose feed a test listens in on, or takes away. */

import { RoutingError } from '../../../routing/errors.ts'
import type { Store } from '../../../routing/store/store.ts'

/** Writes down from where each watch begins: revision and mark. */
export function spyOn(inner: Store, watched: (readonly [number, string | undefined])[]): Store {
  return storeWith(inner, {
    watch: (from, signal, mark) => {
      watched.push([from, mark])
      return inner.watch(from, signal, mark)
    },
  })
}

/** A store whose feed breaks off, and cannot be had, while it is away. */
export function outageOf(inner: Store) {
  let outage = new AbortController()
  let attempts = 0
  async function* watch(from: number, signal: AbortSignal, mark?: string) {
    const { signal: lost } = outage
    attempts += 1
    yield* inner.watch(from, AbortSignal.any([signal, lost]), mark)
    if (!signal.aborted) throw new RoutingError('store_unreachable')
  }
  return {
    outer: storeWith(inner, { watch }),
    attempts: () => attempts,
    leave: () => outage.abort(),
    comeBack: () => {
      outage = new AbortController()
    },
  }
}

/** The store with some methods of the test's own. */
export function storeWith(inner: Store, methods: Partial<Store>): Store {
  return new Proxy(inner, {
    get(target, name) {
      const own: unknown = Reflect.get(methods, name)
      if (own !== undefined) return own
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
