/** The rows of the table benchmark: what the platform writes for a VM's port, each a little different. */

import { MAX_MUTATIONS, type Store } from '../../routing/store/store.ts'

/** One VM of so many is shared with somebody. */
const GRANT_EVERY = 4
/** Commits on their way at once. */
const UNDER_WAY = 8

export function hostnameOf(index: number): string {
  return `3000--vm-${index}.landfall.example`
}

export function rowOf(index: number) {
  const vm = `vm-${index}`
  const upstream = { host: `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`, port: 30_000 }
  const visibility = index % 3 === 0 ? 'public' : 'private'
  const row = { hostname: hostnameOf(index), visibility, vm, port: 3_000, pool: `pool-${index % 5_000}` }
  const whole = { ...row, upstream, state: 'running', generation: generationOf(index) }
  return index % GRANT_EVERY === 0 ? { ...whole, grants: [grantOf(index)] } : whole
}

function grantOf(index: number) {
  return { id: `grant-${index}`, to: { kind: 'email', value: `user-${index}@example.org` }, role: 'viewer' }
}

/** What answers are checked by. */
export function generationOf(index: number): number {
  return 1 + (index % 977)
}

/** Writes all rows, in commits as large as they may be. */
export async function fillStore(store: Store, count: number): Promise<void> {
  const underWay = new Set<Promise<unknown>>()
  for (let start = 0; start < count; start += MAX_MUTATIONS) {
    const length = Math.min(MAX_MUTATIONS, count - start)
    const rows = Array.from({ length }, (_, index) => rowOf(start + index))
    const mutations = rows.map((value) => ({ key: `route/${value.hostname}`, value }))
    const commit = store.commit(mutations).finally(() => underWay.delete(commit))
    underWay.add(commit)
    if (underWay.size >= UNDER_WAY) await Promise.race(underWay)
  }
  await Promise.all(underWay)
}
