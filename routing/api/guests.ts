/** Users whom a VM lets in though it is not theirs: `landfall ssh` has to find it. */

import { isPast } from '../records/moments.ts'
import { GRANTS, listRecords } from '../records/record-kinds.ts'
import type { Caller } from './caller.ts'
import type { ApiContext } from './context.ts'

/** True for who signed the token and has a grant of the VM that counts, by their id or the address that it is. */
export async function isGuest({ store, now }: ApiContext, { user }: Caller, vm: string): Promise<boolean> {
  if (user === undefined) return false
  for await (const { record } of listRecords(store, GRANTS, `${vm}/`)) {
    const isTheirs = (record.to.kind === 'user' || record.to.kind === 'email') && record.to.value === user
    if (isTheirs && !isPast(record.expiresAt, now())) return true
  }
  return false
}
