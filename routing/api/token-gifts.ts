/** What tokens can be given, nothing that their maker has not itself, and what is taken from them with a pool. */

import { RecordInvalid, RoutingError } from '../errors.ts'
import type { Edit } from '../records/edits.ts'
import { isPast } from '../records/moments.ts'
import { listRecords, TOKENS, toStored } from '../records/record-kinds.ts'
import { type TokenRecord, VERBS, type Verb } from '../records/records.ts'
import { MAX_MUTATIONS, type Store } from '../store/store.ts'
import { BOOTSTRAP_ID, type Caller, may, toCaller } from './caller.ts'
import type { ApiContext } from './context.ts'
import { type Entry, enterPool, pin } from './pool-doors.ts'

/** Each has an audit record beside it, and so has the pool; the pool's door has none. */
const MAX_EDITS = MAX_MUTATIONS / 2 - 2

type Wanted = Pick<TokenRecord, 'scopes' | 'expiresAt'>

/**
 * What a commit has to hold for the gift to be right when it is made: the caller's own token, and the pools.
 * @throws RoutingError `api_unauthorized`, `api_forbidden`, `api_pool_unknown`; RecordInvalid; with the field at fault
 */
export async function planGift(
  context: ApiContext,
  { caller, wanted }: { readonly caller: Caller; readonly wanted: Wanted },
): Promise<readonly Edit[]> {
  const { giver, edits } = await readGiver(context, caller)
  for (const [index, { pool, verbs }] of wanted.scopes.entries()) {
    checkVerbs(giver, { pool, verbs, pointer: `/scopes/${index}` })
  }
  checkExpiry(context, giver, wanted)
  // A name that is free today may be somebody else's pool tomorrow.
  const entries = await Promise.all(findPools(wanted).map((entry) => enterPool(context.store, entry)))
  return [...edits, ...entries.flat()]
}

/** The caller as it is now, which may be less than it was when the request came. */
async function readGiver(
  { store, now }: ApiContext,
  caller: Caller,
): Promise<{ readonly giver: Caller; readonly edits: readonly Edit[] }> {
  // A user has no token in the store, and not the verb that it takes to give one.
  if (caller.id === BOOTSTRAP_ID || caller.user !== undefined) return { giver: caller, edits: [] }
  const document = await store.get(TOKENS.prefix + caller.id)
  if (document === undefined) throw new RoutingError('api_unauthorized')
  const { record } = toStored(TOKENS, document)
  return { giver: toCaller(record, now()), edits: [pin(document)] }
}

/** Each pool once, with the first field that names it. */
function findPools({ scopes }: Wanted): readonly Entry[] {
  const pools = [...new Set(scopes.map(({ pool }) => pool))].filter((pool) => pool !== '*')
  return pools.map((pool) => {
    const index = scopes.findIndex((scope) => scope.pool === pool)
    return { pool, field: `/scopes/${index}/pool` }
  })
}

/** The first token replaces the bootstrap token, so it has to be able to do what that could. @throws RecordInvalid */
export function checkFirstToken({ scopes, expiresAt }: Wanted): void {
  const missing = VERBS.find((verb) => !may({ scopes }, verb, undefined))
  if (missing !== undefined) {
    throw new RecordInvalid('/scopes', `The first token of a fleet must have the verb "${missing}" over "*".`)
  }
  if (expiresAt === undefined) return
  throw new RecordInvalid(
    '/expiresAt',
    'The first token of a fleet must not run out: nobody could make another.',
  )
}

/**
 * For a token of a fleet that is to end: another one that may do everything, which has to be there in the commit.
 * @throws RoutingError `api_token_last`
 */
export async function pinAnotherRuler(
  { store, now }: ApiContext,
  leaving: TokenRecord,
): Promise<readonly Edit[]> {
  const isRuler = ({ scopes, expiresAt }: TokenRecord) =>
    !isPast(expiresAt, now()) && VERBS.every((verb) => may({ scopes }, verb, undefined))
  if (!isRuler(leaving)) return []
  for await (const { key, record, revision } of listRecords(store, TOKENS)) {
    if (record.id === leaving.id || !isRuler(record)) continue
    const value = { ...record }
    return [pin({ key, value, revision })]
  }
  throw new RoutingError('api_token_last')
}

/**
 * Takes a pool out of all tokens' scopes, and ends those that have no other: a pool that is bought later under the same
 * name is somebody else's. @throws RoutingError `api_pool_in_use` when that is more than one commit can hold
 */
export async function withdrawPool(store: Store, pool: string): Promise<readonly Edit[]> {
  const edits: Edit[] = []
  for await (const { key, record, revision } of listRecords(store, TOKENS)) {
    const scopes = record.scopes.filter((scope) => scope.pool !== pool)
    if (scopes.length === record.scopes.length) continue
    const before = { value: { ...record }, revision }
    const after = scopes.length === 0 ? undefined : { ...record, scopes }
    edits.push({ key, before, after, isOfNoPool: true })
  }
  if (edits.length <= MAX_EDITS) return edits
  throw new RoutingError('api_pool_in_use', {
    detail: `${edits.length} tokens name it: delete some of them first.`,
  })
}

function checkVerbs(
  caller: Caller,
  {
    pool,
    verbs,
    pointer,
  }: { readonly pool: string; readonly verbs: readonly Verb[]; readonly pointer: string },
): void {
  if (!may(caller, 'admin', pool)) throw refusal(`the verb "admin" over "${pool}"`, `${pointer}/pool`)
  for (const [index, verb] of verbs.entries()) {
    if (!may(caller, verb, pool))
      throw refusal(`the verb "${verb}" over "${pool}"`, `${pointer}/verbs/${index}`)
  }
}

function checkExpiry({ now }: ApiContext, caller: Caller, { expiresAt }: Wanted): void {
  if (expiresAt === undefined) return
  const end = Date.parse(expiresAt)
  if (end <= now().getTime()) throw new RecordInvalid('/expiresAt', 'It must be in the future.')
  if (caller.expiresAt !== undefined && end > Date.parse(caller.expiresAt)) {
    throw refusal(`life after ${caller.expiresAt}`, '/expiresAt')
  }
}

function refusal(what: string, field: string): RoutingError {
  return new RoutingError('api_forbidden', {
    detail: `The token cannot give what it does not have: ${what}.`,
    context: { field },
  })
}
