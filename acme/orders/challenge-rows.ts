/** The answers to an order's challenges: how they come into the table or into a DNS server, and out again. */

import { digestOf } from '../../lib/digest.ts'
import { DAY_MS, HOUR_MS } from '../../lib/durations.ts'
import { toMoment } from '../../lib/moment.ts'
import type { CaAuthorization, CaChallenge } from '../ca/ca.ts'
import { hostOf } from '../ca/ca-url.ts'
import { CHALLENGES, isByDelegation } from '../challenges/challenge-types.ts'
import { toChallengeName, toDnsLabel } from '../dns/challenge-label.ts'
import type { ChallengeRow, ChallengeType, OrderRow, RowAuthorization } from '../rows.ts'
import { hasChallenge, type StepRun } from './order-step.ts'
import { OrderTrouble } from './order-trouble.ts'

/** Orders need minutes; retention takes away what a dead edge has left behind. */
const LIFE_MS = HOUR_MS
/** As long as CAs keep orders: only the row tells which value is to be taken away from a DNS server. */
const BY_UPDATE_LIFE_MS = 7 * DAY_MS

/** What an order's row says of an authorization that is still to be proven, and the answer that proves it. */
export interface Answer {
  readonly authorization: RowAuthorization
  readonly row: ChallengeRow
}

/** By the best type that the CA offers. @throws OrderTrouble certificate_dns when it offers none of them */
export async function createAnswer(
  authorization: CaAuthorization,
  types: readonly ChallengeType[],
  run: StepRun,
): Promise<Answer> {
  const { type, challenge } = choose(authorization, types, run)
  const { name, url, isWildcard } = authorization
  // The same for everybody who does this step, so that it writes the same row twice; another CA cannot name it.
  const id = digestOf(`${run.ca.directory} ${name} ${challenge.url}`)
  const place = toPlace(type, name, run)
  const lifeMs = isByUpdate({ type, name: place }, run) ? BY_UPDATE_LIFE_MS : LIFE_MS
  return {
    authorization: { url, name, isWildcard, challenge: { type, url: challenge.url, id } },
    row: {
      id,
      type,
      name: place,
      ...(CHALLENGES[type].isAskedByToken && { token: challenge.token }),
      value: CHALLENGES[type].toValue(`${challenge.token}.${await run.ca.getThumbprint()}`),
      expiresAt: toMoment(run.settings.now() + lifeMs),
    },
  }
}

/** Gives the DNS server what it answers itself; twice is no error. */
export async function addByUpdate(rows: readonly ChallengeRow[], { deps, memory, signal }: StepRun) {
  for (const { name, value } of rows) {
    memory.added.push({ name, value })
    await deps.updater?.add(name, value, signal)
  }
}

/** Those that are in the table; what edges answer themselves is apart from what a DNS server answers. */
export async function loadPublished(row: OrderRow, run: StepRun) {
  const ids = toIds(row)
  const rows = await run.deps.books.challenges.find(ids)
  // Edges do not answer for what has run out, and the CA may look for as long as it has.
  const neededMs = run.settings.now() + run.settings.answerMs
  const lasting = rows.filter(({ expiresAt }) => Date.parse(expiresAt) > neededMs)
  return {
    isWhole: lasting.length === ids.length,
    byEdges: rows.filter((one) => !isByUpdate(one, run)),
    byUpdate: rows.filter((one) => isByUpdate(one, run)),
  }
}

/** The ids of answers that one row of an order speaks of, and the next one does not; without a next one, all. */
export function toGoneIds(row: OrderRow, following: OrderRow | undefined): readonly string[] {
  const kept = new Set(following && toIds(following))
  return toIds(row).filter((id) => !kept.has(id))
}

/**
 * Takes away from a DNS server what the order's next row does not speak of any more; to be called before that is written,
 * since only the row before tells of it. The rows of the answers go in the same commit as that row.
 */
export async function withdraw(
  row: OrderRow,
  following: OrderRow | undefined,
  run: WithdrawRun,
): Promise<void> {
  const rows = await run.deps.books.challenges.find(toGoneIds(row, following))
  const all = following?.authorizations === undefined ? run.memory.added : []
  await removeByUpdate([...rows.filter((one) => isByUpdate(one, run)), ...all], run)
}

type WithdrawRun = Pick<StepRun, 'deps' | 'memory' | 'signal'>
type Added = Pick<ChallengeRow, 'name' | 'value'>

/** Takes values away from the DNS server; what it keeps is harmless, so it only goes into the log. */
export async function removeByUpdate(
  values: readonly Added[],
  { deps, memory, signal }: WithdrawRun,
): Promise<void> {
  const gone = new Map(values.map((one) => [toText(one), one]))
  memory.added = memory.added.filter((one) => !gone.has(toText(one)))
  for (const { name, value } of gone.values()) {
    try {
      await deps.updater?.remove(name, value, signal)
    } catch (error) {
      signal.throwIfAborted()
      deps.log.warn({ err: error, name }, 'a TXT record could not be taken away')
    }
  }
}

function toText({ name, value }: Added): string {
  return `${name} ${value}`
}

/** Each once: a CA may name the same challenge twice. */
function toIds({ authorizations = [] }: OrderRow): readonly string[] {
  return [...new Set(authorizations.filter(hasChallenge).map(({ challenge }) => challenge.id))]
}

function isByUpdate(
  { type, name }: Pick<ChallengeRow, 'type' | 'name'>,
  { deps }: Pick<StepRun, 'deps'>,
): boolean {
  return isByDelegation(type) && deps.updater?.covers(name) === true
}

function choose(
  { name, challenges }: CaAuthorization,
  types: readonly ChallengeType[],
  { ca }: StepRun,
): { readonly type: ChallengeType; readonly challenge: CaChallenge } {
  for (const type of types) {
    const challenge = challenges.find((one) => one.type === type)
    if (challenge !== undefined) return { type, challenge }
  }
  const offered = challenges.map(({ type }) => type).join(', ')
  const detail = `${hostOf(ca.directory)} offers ${offered} for ${name}; it can be proven by ${types.join(', ')}`
  throw new OrderTrouble({ code: 'certificate_dns', detail })
}

function toPlace(type: ChallengeType, name: string, { deps }: StepRun): string {
  if (!isByDelegation(type)) return name
  const full = toChallengeName(name)
  return deps.updater?.covers(full) === true ? full : toDnsLabel(name)
}
