/** Writers that change rows of their own all the time and remember what was acknowledged. */

import { setTimeout as pace } from 'node:timers/promises'
import { ROUTES } from '../../routing/records/record-kinds.ts'
import type { Store } from '../../routing/store/store.ts'
import { DOMAIN, toMutation } from './numbered-rows.ts'

const WRITERS = 4
const HOSTNAMES_EACH = 20
const PAUSE_MS = 10
/** Every so many writes one is a deletion. */
const DELETION_EVERY = 9

/** What the store said yes to. */
export interface Acknowledged {
  readonly hostname: string
  /** Undefined for a deletion. */
  readonly number: number | undefined
  readonly revision: number
}

export interface Writers {
  /** In the order of their answers. */
  readonly acknowledged: readonly Acknowledged[]
  /** Writes without an answer, or with a refusal: the store may have carried them out. */
  readonly failed: () => number
  /** Every name that was ever written. */
  readonly hostnames: ReadonlySet<string>
  readonly stop: () => Promise<void>
}

export interface WritersSettings {
  readonly originPort: number
  /** What their rows' names begin with. */
  readonly name: string
}

/** Each writer has its own names; numbers go up over all of them. */
export function startWriters(stores: readonly Store[], settings: WritersSettings): Writers {
  const stopping = new AbortController()
  const acknowledged: Acknowledged[] = []
  const hostnames = new Set<string>()
  const counts = { failed: 0, number: 0 }
  const writeOnce = async (store: Store, writer: number, turn: number) => {
    const hostname = `${settings.name}${writer}-${turn % HOSTNAMES_EACH}.${DOMAIN}`
    hostnames.add(hostname)
    if (turn % DELETION_EVERY === DELETION_EVERY - 1) {
      const revision = await store.delete(ROUTES.prefix + hostname)
      if (revision !== undefined) acknowledged.push({ hostname, number: undefined, revision })
      return
    }
    counts.number += 1
    const { number } = counts
    const { key, value = {} } = toMutation({ hostname, number }, settings.originPort)
    acknowledged.push({ hostname, number, revision: await store.put(key, value) })
  }
  const run = async (writer: number) => {
    const store = stores[writer % stores.length]
    for (let turn = 0; store !== undefined && !stopping.signal.aborted; turn += 1) {
      await writeOnce(store, writer, turn).catch(() => {
        counts.failed += 1
      })
      await pace(PAUSE_MS, undefined, { signal: stopping.signal }).catch(() => {})
    }
  }
  const running = Array.from({ length: WRITERS }, (_, writer) => run(writer))
  return {
    acknowledged,
    failed: () => counts.failed,
    hostnames,
    stop: async () => {
      stopping.abort()
      await Promise.all(running)
    },
  }
}
