/** Deletes sightings of challenges that are gone: an edge that died meanwhile could not. */

import { CHALLENGES, SIGHTINGS } from '../records/record-kinds.ts'
import type { Page, StoredDocument } from '../store/store.ts'
import type { Sweep } from '../sweep.ts'

const PAGE = 100

/** Resolves how many. */
export async function deleteLostSightings({ store, isOver, remove }: Sweep): Promise<number> {
  let deleted = 0
  for (let after: string | undefined = ''; after !== undefined && !isOver(); ) {
    const page: Page = await store.list(SIGHTINGS.prefix, { after, limit: PAGE })
    // Sightings are read before their challenges, which are never made again: one that is gone now stays so.
    const ids = [...new Set(page.documents.map(toChallengeId))]
    const challenges = await Promise.all(ids.map((id) => store.get(CHALLENGES.prefix + id)))
    const lost = new Set(ids.filter((_, index) => challenges[index] === undefined))
    deleted += await remove(page.documents.filter((document) => lost.has(toChallengeId(document))))
    after = page.next
  }
  return deleted
}

/** `c1` of `sighting/c1/edge-a` */
function toChallengeId({ key }: StoredDocument): string {
  return key.split('/')[1] ?? ''
}
