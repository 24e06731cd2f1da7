/** What was uploaded for a custom domain goes with it: whoever had the domain has the keys. */

import { KEY_TYPES } from '../records/certificates.ts'
import type { Edit } from '../records/edits.ts'
import { CERTIFICATES, RENEWALS, toSlot } from '../records/record-kinds.ts'
import type { Store } from '../store/store.ts'

/**
 * What was ordered stays: its keys were never outside. Where no upload is there is none either when this is committed:
 * one that was under way for the former owner would stay for the next.
 */
export async function findUploadDeletions(
  store: Pick<Store, 'get'>,
  hostname: string,
): Promise<readonly Edit[]> {
  const deletions = KEY_TYPES.map(async (keyType): Promise<readonly Edit[]> => {
    const slot = toSlot({ name: hostname, keyType })
    const certificate = await store.get(CERTIFICATES.prefix + slot)
    if (certificate?.value.source !== 'upload')
      return [{ key: CERTIFICATES.prefix + slot, before: certificate, after: certificate?.value }]
    const renewal = await store.get(RENEWALS.prefix + slot)
    return [certificate, ...(renewal ? [renewal] : [])].map((before) => ({
      ...{ key: before.key, before, after: undefined },
      isDerived: true,
    }))
  })
  return (await Promise.all(deletions)).flat()
}
