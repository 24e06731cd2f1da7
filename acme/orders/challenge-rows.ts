/** The answers to an order's challenges: how they come into the table or into a DNS server, and out again. */

import { digestOf } from '../../lib/digest.ts'
import { toMoment } from '../../lib/moment.ts'
import type { CaAuthorization, CaChallenge } from '../ca/ca.ts'
import { hostOf } from '../ca/ca-url.ts'
import { toChallengeName, toDnsLabel } from '../dns/challenge-label.ts'
import type { ChallengeRow, ChallengeType, OrderRow, RowAuthorization } from '../rows.ts'
import { hasChallenge, type StepRun } from './order-step.ts'
import { OrderTrouble } from './order-trouble.ts'

const HOUR_MS = 3_600_000
/** Orders need minutes; retention takes away what a dead edge has left behind. */
const LIFE_MS = HOUR_MS
/** As long as CAs keep orders: only the row tells which value is to be taken away from a DNS server. */
const UPDATED_LIFE_MS = 7 * 24 * HOUR_MS

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
  const lifeMs = isUpdated({ type, name: place }, run) ? UPDATED_LIFE_MS : LIFE_MS
  return {
    authorization: { url, name, isWildcard, challenge: { type, url: challenge.url, id } },
    row: {
      id,
      type,
      name: place,
      ...(type === 'http-01' && { token: challenge.token }),
      value: toValue(type, `${challenge.token}.${await run.ca.getThumbprint()}`),
      expiresAt: toMoment(run.settings.now() + lifeMs),
    },
  }
}

/** Gives the DNS server what it answers itself; twice is no error. */
export async function addUpdated(rows: readonly ChallengeRow[], { deps, memory, signal }: StepRun) {
  memory.added ??= []
  for (const { name, value } of rows) {
    memory.added.push({ name, value })
    await deps.updater?.add(name, value, signal)
  }
}

/** Those that are in the table; the ids of what edges answer themselves are apart from what a DNS server answers. */
export async function loadPublished(row: OrderRow, run: StepRun) {
  const { books } = run.deps
  const ids = (row.authorizations ?? []).filter(hasChallenge).map(({ challenge }) => challenge.id)
  const rows = ids.length === 0 ? [] : await books.challenges.find(ids)
  // Edges do not answer for what has run out, and the CA may look for as long as it has.
  const neededMs = run.settings.now() + run.settings.answerMs
  const lasting = rows.filter(({ expiresAt }) => Date.parse(expiresAt) > neededMs)
  return {
    ids,
    isWhole: lasting.length === ids.length,
    answered: rows.filter((one) => !isUpdated(one, run)),
    updated: rows.filter((one) => isUpdated(one, run)),
  }
}

/** Takes all away; what a DNS server keeps is harmless, so it only goes into the log. */
export async function withdraw(row: OrderRow, run: StepRun): Promise<void> {
  const { ids, updated } = await loadPublished(row, run)
  await removeAdded([...updated, ...(run.memory.added ?? [])], run)
  if (ids.length > 0) await run.deps.books.challenges.delete(ids)
}

type Added = Pick<ChallengeRow, 'name' | 'value'>

/** Takes values away from the DNS server. */
export async function removeAdded(
  values: readonly Added[],
  { deps, memory, signal }: Pick<StepRun, 'deps' | 'memory' | 'signal'>,
): Promise<void> {
  delete memory.added
  for (const [, { name, value }] of new Map(values.map((one) => [`${one.name} ${one.value}`, one]))) {
    try {
      await deps.updater?.remove(name, value, signal)
    } catch (error) {
      signal.throwIfAborted()
      deps.log.warn({ err: error, name }, 'a TXT record could not be taken away')
    }
  }
}

function isUpdated({ type, name }: Pick<ChallengeRow, 'type' | 'name'>, { deps }: StepRun): boolean {
  return type === 'dns-01' && deps.updater?.covers(name) === true
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
  if (type !== 'dns-01') return name
  const full = toChallengeName(name)
  return deps.updater?.covers(full) === true ? full : toDnsLabel(name)
}

/** RFC 8555 sections 8.3 and 8.4, RFC 8737 section 3. */
function toValue(type: ChallengeType, keyAuthorization: string): string {
  return type === 'dns-01' ? digestOf(keyAuthorization) : keyAuthorization
}
