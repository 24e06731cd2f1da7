/** States `ordered` to `answered`: the names are proven to the CA. */

import type { CaAuthorization, CaOrder } from '../ca/ca.ts'
import { hostOf } from '../ca/ca-url.ts'
import { toBareName } from '../hostnames.ts'
import type { OrderRow, RowAuthorization } from '../rows.ts'
import { type Answer, addByUpdate, createAnswer, loadPublished } from './challenge-rows.ts'
import { toFailureBudgets } from './order-budgets.ts'
import { askForKnown, lookUntil } from './order-patience.ts'
import { hasChallenge, next, restart, type Step, type StepResult, type StepRun } from './order-step.ts'
import { OrderTrouble, toEndedTrouble } from './order-trouble.ts'
import { getTypes } from './wanted-step.ts'

/** Answers are gone when an order was left for long; whatever takes them away for good must not go on against the CA. */
const MAX_REPUBLISHED = 2

/** `ordered`: asks what is to be proven, and publishes the answers. An order may be further at the CA than its row is. */
export const stepOrdered: Step = async (row, run) => {
  const order = await askForKnown(run, () => run.ca.getOrder(row.url ?? '', run.signal))
  if (order === undefined) return restart(row, run)
  if (order.status === 'pending') return publishAnswers(row, run, order)
  if (order.status === 'ready') return next({ ...row, state: 'ready' })
  const isOurs = row.csr !== undefined && order.status !== 'invalid'
  return isOurs ? next({ ...row, state: 'finalized' }) : restart(row, run)
}

async function publishAnswers(row: OrderRow, run: StepRun, order: CaOrder): Promise<StepResult> {
  const authorizations = await loadAuthorizations(order, row, run)
  const isAlive = ({ status }: CaAuthorization): boolean => status === 'pending' || status === 'valid'
  if (authorizations?.every(isAlive) !== true) return restart(row, run)
  const pending = authorizations.filter(({ status }) => status === 'pending')
  if (pending.length === 0)
    return next({ ...row, state: 'ready', authorizations: authorizations.map(toProven) })
  const types = await getTypes(row, run)
  const answers = await Promise.all(pending.map((one) => createAnswer(one, types, run)))
  const known = authorizations.map((one) => toRowAuthorization(one, answers))
  return {
    ...next({ ...row, state: 'published', authorizations: known }),
    answers: answers.map((answer) => answer.row),
  }
}

function toRowAuthorization(one: CaAuthorization, answers: readonly Answer[]): RowAuthorization {
  const answer = answers.find(({ authorization }) => authorization.url === one.url)
  return answer?.authorization ?? toProven(one)
}

function toProven({ url, name, isWildcard }: CaAuthorization): RowAuthorization {
  return { url, name, isWildcard }
}

/** `published`: gives the DNS server its part, and waits until every live edge, and every server of the zone, has the answers. */
export const stepPublished: Step = async (row, run) => {
  const { isWhole, byEdges, byUpdate } = await loadPublished(row, run)
  if (!isWhole) return republish(row, run)
  // Only now: whoever carries the order on finds in its row what is to be taken away.
  await addByUpdate(byUpdate, run)
  const ids = byEdges.map(({ id }) => id)
  const { deps, settings, signal } = run
  const look = async (): Promise<readonly string[]> => {
    const missing = ids.length === 0 ? [] : await deps.books.challenges.findMissing(ids)
    if (missing.length > 0) return missing
    const views = await Promise.all(
      byUpdate.map(async ({ name, value }) => (await deps.updater?.isVisible(name, value, signal)) === true),
    )
    return byUpdate.filter((_, index) => views[index] === false).map(({ name }) => name)
  }
  await lookUntil(run, look, {
    timeLimitMs: settings.confirmMs,
    isEnough: (missing) => missing.length === 0,
    late: (missing) => {
      const { name, keyType } = row
      deps.log.warn({ name, keyType, missing }, 'answers to challenges are not everywhere in time')
      const count = missing.length === 1 ? 'one does' : `${missing.length} do`
      const where = `${count} not have the answer after ${settings.confirmMs / 1_000} s`
      return toUnconfirmed(`Of the edges and the zone's servers ${where}; the log names them`)
    },
  })
  return next({ ...row, state: 'confirmed' })
}

/** @throws OrderTrouble certificate_unconfirmed */
function republish(row: OrderRow, { memory }: StepRun): StepResult {
  memory.republished = (memory.republished ?? 0) + 1
  if (memory.republished > MAX_REPUBLISHED) throw toUnconfirmed('The answers to the challenges do not stay')
  return next({ ...row, state: 'ordered' })
}

function toUnconfirmed(detail: string): OrderTrouble {
  return new OrderTrouble({ code: 'certificate_unconfirmed', detail, keepsOrder: true })
}

/** `confirmed`: tells the CA of what it does not know yet; another edge may have told a part of it. */
export const stepConfirmed: Step = async (row, run) => {
  const { isWhole } = await loadPublished(row, run)
  if (!isWhole) return republish(row, run)
  for (const { url, challenge } of (row.authorizations ?? []).filter(hasChallenge)) {
    const authorization = await askForKnown(run, () => run.ca.getAuthorization(url, run.signal))
    if (authorization === undefined) return restart(row, run)
    const known = authorization.challenges.find((one) => one.url === challenge.url)
    if (authorization.status === 'pending' && known?.status === 'pending') {
      await askForKnown(run, () => run.ca.answerChallenge(challenge.url, run.signal))
    }
  }
  return next({ ...row, state: 'answered' })
}

/** `answered`: waits for the CA's judgement of every name. */
export const stepAnswered: Step = async (row, run) => {
  const urls = (row.authorizations ?? []).filter(hasChallenge).map(({ url }) => url)
  const endMs = performance.now() + run.settings.answerMs
  for (const url of urls) {
    const judged = await waitForJudgement(url, run, endMs)
    if (judged?.status === 'invalid') throw await toProofTrouble(judged, run)
    if (judged?.status !== 'valid') return restart(row, run)
  }
  return next({ ...row, state: 'ready' })
}

function waitForJudgement(url: string, run: StepRun, endMs: number): Promise<CaAuthorization | undefined> {
  return lookUntil(run, () => askForKnown(run, () => run.ca.getAuthorization(url, run.signal)), {
    timeLimitMs: endMs - performance.now(),
    isEnough: (last) => last?.status !== 'pending',
    restMs: (last) => last?.retryAfterMs,
    late: () => toLate('validated', run),
  })
}

/** RFC 8555 section 8: the challenge that failed says why. The failure counts for the CA's limit of them. */
async function toProofTrouble(judged: CaAuthorization, run: StepRun): Promise<OrderTrouble> {
  const { deps, settings, ca } = run
  await deps.books.budgets.take(toFailureBudgets([judged.name], ca.directory, settings.limits))
  const problem = judged.challenges.find((one) => one.problem !== undefined)?.problem
  return toEndedTrouble(problem, judged.name)
}

export function toLate(what: 'validated' | 'issued', { settings, ca }: StepRun): OrderTrouble {
  const detail = `${hostOf(ca.directory)} has not ${what} within ${settings.answerMs / 1_000} s`
  return new OrderTrouble({ code: 'ca_unreachable', detail, isOfCa: true, keepsOrder: true })
}

/** Undefined when the CA has forgotten one. @throws OrderTrouble ca_nonsense for names that were not asked for */
async function loadAuthorizations(
  order: CaOrder,
  row: OrderRow,
  run: StepRun,
): Promise<readonly CaAuthorization[] | undefined> {
  const names = new Set(row.names.map(toBareName))
  const authorizations: CaAuthorization[] = []
  for (const url of order.authorizations) {
    const authorization = await askForKnown(run, () => run.ca.getAuthorization(url, run.signal))
    if (authorization === undefined) return undefined
    if (!names.has(authorization.name)) {
      const detail = `${hostOf(run.ca.directory)} wants ${authorization.name} to be proven, which was not asked for`
      throw new OrderTrouble({ code: 'ca_nonsense', detail, isOfCa: true })
    }
    authorizations.push(authorization)
  }
  return authorizations
}
