/** Answers to challenges in the store, and which live edges do not have them yet. */

import type { ChallengeRecord } from '../records/certificates.ts'
import { CHALLENGES, EDGES, findSound, listRecords, SIGHTINGS } from '../records/record-kinds.ts'
import type { BooksStore } from './books-store.ts'

/** Answers are written with their order (order-book.ts). */
export interface ChallengeBook {
  /** Those of them that are there. */
  find(ids: readonly string[]): Promise<readonly ChallengeRecord[]>
  /**
   * The live edges that have not said yet that they have every one of these; empty when all have. Without any live edge
   * it says so instead: nobody would answer.
   */
  findMissing(ids: readonly string[]): Promise<readonly string[]>
}

/** After a failover that lost the leases, edges show themselves again within seconds. */
const NO_EDGE = 'no edge shows that it lives'

export function createChallengeBook(store: BooksStore): ChallengeBook {
  return {
    find: async (ids) => {
      const found = await Promise.all([...new Set(ids)].map((id) => store.get(CHALLENGES.prefix + id)))
      return found.flatMap((document) => (document && findSound(CHALLENGES, document)?.record) ?? [])
    },
    findMissing: (ids) => findMissing(store, ids),
  }
}

async function findMissing(store: BooksStore, ids: readonly string[]): Promise<readonly string[]> {
  if (ids.length === 0) return []
  const [edges, sightings] = await Promise.all([
    listLiveEdges(store),
    Promise.all([...new Set(ids)].map((id) => listSightings(store, id))),
  ])
  if (edges.length === 0) return [NO_EDGE]
  return edges.filter((edge) => !sightings.every((seen) => seen.has(edge)))
}

/** Alive is who holds the lease of its record's key. */
async function listLiveEdges(store: BooksStore): Promise<readonly string[]> {
  const keys: string[] = []
  for await (const { key } of listRecords(store, EDGES)) keys.push(key)
  const leases = await Promise.all(keys.map((key) => store.findLease(key)))
  return keys.filter((_, index) => leases[index] !== undefined).map((key) => key.slice(EDGES.prefix.length))
}

async function listSightings(store: BooksStore, id: string): Promise<ReadonlySet<string>> {
  const edges = new Set<string>()
  for await (const { record } of listRecords(store, SIGHTINGS, `${id}/`)) edges.add(record.edge)
  return edges
}
