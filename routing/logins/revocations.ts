/** What the end of a login, a user or a credential leaves behind: that everything which came of it is void. */

import type { Edit } from '../records/edits.ts'
import type { RevocationRecord } from '../records/logins.ts'
import { laterOf } from '../records/moments.ts'
import { findSound, REVOCATIONS } from '../records/record-kinds.ts'
import type { Store } from '../store/store.ts'

/** Void is what was issued until `at`; nothing of it lives beyond `expiresAt`. */
export interface Ending extends Pick<RevocationRecord, 'kind' | 'value' | 'expiresAt'> {
  readonly at: Date
}

/** Longer than any login may last: of one whose record is gone, or cannot be read, nobody knows the end. */
const LONGEST_LOGIN_MS = 401 * 86_400_000

/** When a login that ends `at` would have ended at the latest, in ISO 8601. */
export function latestEndOf(at: Date): string {
  return new Date(at.getTime() + LONGEST_LOGIN_MS).toISOString()
}

/** Of one that is there already the later moments count. @throws RecordInvalid */
export async function planRevocation(
  store: Pick<Store, 'get'>,
  { kind, value, expiresAt, at }: Ending,
): Promise<Edit> {
  const key = `${REVOCATIONS.prefix}${kind}/${value}`
  const before = await store.get(key)
  const known = before && findSound(REVOCATIONS, before)?.record
  const after = REVOCATIONS.parse({
    kind,
    value,
    at: laterOf(at.toISOString(), known?.at),
    expiresAt: laterOf(expiresAt, known?.expiresAt),
  })
  return { key, before, after: { ...after } }
}
