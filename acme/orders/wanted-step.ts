/** State `wanted`: looks whether the order makes sense, pays for it from the budgets, and gives it to a CA. */

import { DAY_MS } from '../../lib/durations.ts'
import { toMoment } from '../../lib/moment.ts'
import { findCertId } from '../ca/ari.ts'
import type { CaFacts } from '../ca/ca.ts'
import { CaProblem } from '../ca/ca-problem.ts'
import { WILDCARD_TYPES } from '../challenges/challenge-types.ts'
import type { CheckOutcome } from '../checks/checks.ts'
import type { AcmeErrorCode } from '../errors.ts'
import { MAX_ORDERED_LABELS } from '../hostnames.ts'
import { type ChallengeType, KEY_TYPES, type OrderRow } from '../rows.ts'
import { toFailureBudgets, toNewcomerBudget, toOrderBudgets } from './order-budgets.ts'
import { next, type Step, type StepRun, toFreshRow } from './order-step.ts'
import { OrderTrouble } from './order-trouble.ts'
import { isRenewalOf } from './renewal-moment.ts'

/** What is replaced sooner is paid for: a clock that is wrong, or a CA's window in the past, would have it ordered without end. */
const LEAST_AGE_MS = DAY_MS
/** Of refusals that say nothing of what was asked for. */
const PASSING_CODES: readonly AcmeErrorCode[] = ['ca_limited', 'ca_unreachable']

export const stepWanted: Step = async (row, run) => {
  const why = await findNeedless(row, run)
  if (why !== undefined) return { kind: 'dropped', why }
  const { ca, signal } = run
  const facts = await ca.facts(signal)
  await getTypes(row, run)
  await checkFailures(row, run)
  const { replaces, isOld } = await findReplaced(row, facts, run)
  // The CA does not count what replaces; an operator may ask for it every second.
  const isFree = replaces !== undefined && isOld && row.cause !== 'operator'
  const paidCas = row.paidCas ?? []
  if (!isFree && !paidCas.includes(ca.directory)) {
    await pay(row, run)
    return next({ ...row, paidCas: [...paidCas, ca.directory] })
  }
  return orderFrom(row, run, { facts, replaces })
}

/** Why nobody needs the order any more; the table of whoever wanted it may have lagged behind. */
export async function findNeedless(row: OrderRow, { deps, settings }: StepRun): Promise<string | undefined> {
  if (row.name !== settings.domain && !deps.isWanted(row.name)) return 'the name is not served here any more'
  const all = await Promise.all(KEY_TYPES.map((one) => deps.books.certificates.find(row.name, one)))
  // Clients that prefer the other kind of key would never see what was uploaded.
  if (all.some((one) => one?.row.source === 'upload')) return 'a certificate was uploaded'
  const kept = all.find((one) => one?.row.keyType === row.keyType)
  const isAsBefore =
    kept === undefined ? row.of === undefined : row.of !== undefined && isRenewalOf(row.of, kept.row)
  return isAsBefore ? undefined : 'the certificate is there already'
}

/**
 * By which types every name can be proven as DNS is now; asked once by each carrier. Costs DNS queries only.
 * @throws OrderTrouble certificate_dns, certificate_caa
 */
export async function getTypes(row: OrderRow, run: StepRun): Promise<readonly ChallengeType[]> {
  const { ca, deps, memory, signal } = run
  if (memory.types !== undefined) return memory.types
  checkLabels(row, run)
  const accountUrl = await ca.getAccount(signal)
  const { caaIdentities } = await ca.facts(signal)
  const types = toAllowedTypes(row, run)
  const outcome = await deps.checks.check({ names: row.names, types, caaIdentities, accountUrl }, signal)
  if (outcome.types.length === 0) throw toCheckTrouble(outcome)
  memory.types = toUntriedFirst(outcome.types, row)
  return memory.types
}

/** CAA is looked for at each label, and who owns a zone may have them by the hundred. @throws OrderTrouble certificate_dns */
function checkLabels({ name, names }: OrderRow, { settings }: StepRun): void {
  if (name === settings.domain || names.every((one) => one.split('.').length <= MAX_ORDERED_LABELS)) return
  const detail = `No certificate is ordered for a name of more than ${MAX_ORDERED_LABELS} labels`
  throw new OrderTrouble({ code: 'certificate_dns', detail })
}

/** Where port 443 ends before the edge, tls-alpn-01 fails each time though http-01 would do: the ways take turns. */
function toUntriedFirst(
  types: readonly ChallengeType[],
  { failures, lastError }: OrderRow,
): readonly ChallengeType[] {
  const first = lastError?.code === 'ca_unauthorized' ? failures % types.length : 0
  return [...types.slice(first), ...types.slice(0, first)]
}

function toAllowedTypes({ name, names }: OrderRow, { settings }: StepRun): readonly ChallengeType[] {
  const isWide = name === settings.domain || names.some((one) => one.startsWith('*.'))
  return isWide ? WILDCARD_TYPES : settings.challengeTypes
}

/** A forbidding CAA is told of first, since nothing else helps then. */
function toCheckTrouble({ steps }: CheckOutcome): OrderTrouble {
  const notRight = steps.filter(({ state }) => state !== 'right')
  const told =
    notRight.find(({ step, state }) => step === 'caa' && state === 'wrong') ??
    notRight.find(({ step }) => step !== 'caa') ??
    notRight[0]
  const code = told?.step === 'caa' ? 'certificate_caa' : 'certificate_dns'
  const detail = told?.detail ?? 'No challenge type can prove the names'
  return new OrderTrouble({ code, detail, isUnknown: told?.state === 'unknown' })
}

/** A CA that refused to validate a name too often locks the account out for an hour. @throws OrderTrouble certificate_budget */
async function checkFailures(row: OrderRow, { ca, deps, settings }: StepRun): Promise<void> {
  const budgets = toFailureBudgets(row.names, ca.directory, settings.limits)
  const states = await deps.books.budgets.read(budgets)
  const empty = states.find(({ left }) => left < 1)
  if (empty !== undefined) throw toBudgetTrouble('failures', empty.nextAtMs)
}

/** @throws OrderTrouble certificate_budget */
async function pay({ name, names, cause }: OrderRow, { ca, deps, settings }: StepRun): Promise<void> {
  const isForTenant = name !== settings.domain && (cause === 'demand' || cause === 'operator')
  const budgets = [
    ...toOrderBudgets(names, ca.directory, settings.limits),
    ...(isForTenant ? [toNewcomerBudget(ca.directory, settings.limits)] : []),
  ]
  const empty = await deps.books.budgets.take(budgets)
  if (empty !== undefined) throw toBudgetTrouble(empty.budget.limit, empty.nextAtMs)
}

function toBudgetTrouble(limit: string, nextAtMs: number): OrderTrouble {
  const detail = `The budget "${limit}" has something left again at ${toMoment(nextAtMs)}`
  return new OrderTrouble({ code: 'certificate_budget', detail, isOfCa: true, retryAtMs: nextAtMs })
}

/** RFC 9773 section 5: an order that says what it replaces counts for no limit, at the CA that issued that. */
async function findReplaced(
  row: OrderRow,
  facts: CaFacts,
  { ca, deps, memory, settings }: StepRun,
): Promise<Replaced> {
  const none = { replaces: undefined, isOld: false }
  if (!facts.hasRenewalInfo || row.of === undefined || memory.isReplacesRefused === true) return none
  const kept = await deps.books.certificates.find(row.name, row.keyType)
  if (kept?.row.ca !== ca.directory || kept.row.source !== 'acme') return none
  const { chain, createdAt } = kept.row
  const [leaf] = chain
  return {
    replaces: leaf === undefined ? undefined : findCertId(Buffer.from(leaf, 'base64')),
    isOld: settings.now() - Date.parse(createdAt) > LEAST_AGE_MS,
  }
}

interface Replaced {
  readonly replaces: string | undefined
  readonly isOld: boolean
}

interface OrderTerms {
  readonly facts: CaFacts
  readonly replaces: string | undefined
}

async function orderFrom(row: OrderRow, run: StepRun, { facts, replaces }: OrderTerms) {
  const { ca, memory, settings, signal } = run
  const profile = settings.profiles.find((one) => facts.profiles.includes(one))
  const terms = {
    ...(profile !== undefined && { profile }),
    ...(replaces !== undefined && { replaces }),
  }
  try {
    const { url } = await ca.createOrder({ names: row.names, ...terms }, signal)
    const { paidCas: _paid, ...fresh } = toFreshRow(row)
    return next({ ...fresh, state: 'ordered', ca: ca.directory, url, ...terms })
  } catch (error) {
    if (replaces === undefined || !isReplacesRefused(error)) throw error
    memory.isReplacesRefused = true
    return next(row)
  }
}

/**
 * RFC 9773 section 5: CAs refuse the field as `alreadyReplaced`, `malformed`, or `unauthorized` where another account ordered
 * what is replaced. If it was something else that they refused, the order without the field tells so.
 */
function isReplacesRefused(error: unknown): boolean {
  if (!(error instanceof CaProblem) || PASSING_CODES.includes(error.code)) return false
  const { type, status } = error.problem
  return status >= 400 && status < 500 && type !== 'accountDoesNotExist'
}
