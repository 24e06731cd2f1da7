/** The steps of a check that ask somebody: DNS, the certificate authorities, and the store for what budgets have left. */

import { toMoment } from '../../lib/moment.ts'
import type { BudgetState } from '../books.ts'
import type { Ca, CaFacts } from '../ca/ca.ts'
import { hostOf } from '../ca/ca-url.ts'
import type { CheckStep } from '../checks/checks.ts'
import { toDetail } from '../details.ts'
import { toFailureBudgets, toNewcomerBudget, toOrderBudgets } from '../orders/order-budgets.ts'
import type { Target } from './desk-names.ts'
import type { DeskDeps, DeskSettings } from './desk-settings.ts'

/** An authority that is slow must not take the time that DNS needs. */
const CA_MS = 5_000
/** An older answer would hide that it is down; of many checks at once it is one question. */
const FACTS_AGE_MS = 1_000

type AskedDeps = Pick<DeskDeps, 'books' | 'cas' | 'checks'>
type AskedSettings = Pick<DeskSettings, 'limits' | 'now'>

/** In the order of an order: DNS, CAA, delegation, budget, CA. Rejects only when `signal` aborts, or the store fails. */
export async function askSteps(
  deps: AskedDeps,
  settings: AskedSettings,
  {
    target,
    signal,
    isUploaded,
  }: { readonly target: Target; readonly signal: AbortSignal; readonly isUploaded: boolean },
): Promise<readonly CheckStep[]> {
  // What is uploaded needs no authority: only where DNS leads matters.
  if (isUploaded) {
    const steps = await dnsSteps(deps, { target, signal, facts: undefined })
    return steps.filter(({ step }) => step === 'dns')
  }
  const answers = await Promise.all(deps.cas.map((ca) => askCa(ca, signal)))
  const [found, budgets] = await Promise.all([
    dnsSteps(deps, { target, signal, facts: answers.find((answer) => answer.facts !== undefined) }),
    budgetSteps(deps, settings, target),
  ])
  return [...found, ...budgets, ...caSteps(answers)]
}

interface CaAnswer {
  readonly ca: Ca
  readonly facts?: CaFacts
  readonly error?: unknown
}

async function askCa(ca: Ca, signal: AbortSignal): Promise<CaAnswer> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(CA_MS)])
    return { ca, facts: await ca.facts(limit, { maxAgeMs: FACTS_AGE_MS }) }
  } catch (error) {
    return { ca, error }
  }
}

function caSteps(answers: readonly CaAnswer[]): readonly CheckStep[] {
  const isAnyGood = answers.some(({ facts }) => facts !== undefined)
  return answers.map(({ ca, facts, error }) => {
    const host = hostOf(ca.directory)
    if (facts !== undefined)
      return {
        step: 'ca',
        state: 'right',
        detail: `${host} answers${facts.hasRenewalInfo ? ', and tells when to renew' : ''}.`,
      }
    const why = error instanceof Error ? error.message : String(error)
    return {
      step: 'ca',
      // Another one takes over.
      state: isAnyGood ? 'unknown' : 'wrong',
      detail: toDetail(`${host} does not answer: ${why}`),
      next: 'Nothing; it is tried again. If it stays, the operator checks LANDFALL_ACME_CAS and the network.',
    }
  })
}

interface DnsDemand {
  readonly target: Target
  readonly signal: AbortSignal
  readonly facts: CaAnswer | undefined
}

async function dnsSteps({ checks, books }: AskedDeps, { target, signal, facts }: DnsDemand) {
  const account = facts && (await books.accounts.find(facts.ca.directory))
  const accountUrl = account?.row.url
  const demand = {
    names: target.names,
    types: target.types,
    caaIdentities: facts?.facts?.caaIdentities ?? [],
    ...(accountUrl !== undefined && { accountUrl }),
  }
  const { steps } = await checks.check(demand, signal)
  return steps
}

/** Of the first CA: it is the one that is asked. */
async function budgetSteps(
  { books, cas: [ca] }: AskedDeps,
  settings: AskedSettings,
  { names, kind }: Target,
) {
  if (ca === undefined) return []
  const { limits, now = Date.now } = settings
  const budgets = [
    ...toOrderBudgets(names, ca.directory, limits),
    ...(kind === 'custom' ? [toNewcomerBudget(ca.directory, limits)] : []),
    ...toFailureBudgets(names, ca.directory, limits),
  ]
  return [toBudgetStep(await books.budgets.read(budgets), now())]
}

function toBudgetStep(states: readonly BudgetState[], nowMs: number): CheckStep {
  const detail = states.map(({ budget, left }) => `${budget.limit} ${left} of ${budget.capacity}`).join(', ')
  const empty = states.filter(({ left }) => left < 1)
  if (empty.length === 0) return { step: 'budget', state: 'right', detail: `Left: ${detail}.` }
  const next = toMoment(Math.max(nowMs, ...empty.map(({ nextAtMs }) => nextAtMs)))
  return {
    step: 'budget',
    state: 'waiting',
    detail: `Left: ${detail}.`,
    next: `Wait until ${next}; the limits are kept below those of the authority.`,
  }
}
