/** The rules of orders: what is paid from, whose trouble it is, and how long a name waits. */

import t from 'tap'
import { CaProblem } from '../../../acme/ca/ca-problem.ts'
import { AcmeError } from '../../../acme/errors.ts'
import { createCaChoice } from '../../../acme/orders/ca-choice.ts'
import { toAccountBudget, toFailureBudgets, toOrderBudgets } from '../../../acme/orders/order-budgets.ts'
import { toResumedRow, toRowAfterFailure } from '../../../acme/orders/order-failing.ts'
import { withDefaults } from '../../../acme/orders/order-settings.ts'
import { OrderTrouble, type Trouble, toEndedTrouble, toTrouble } from '../../../acme/orders/order-trouble.ts'
import { isRenewalOf, toFallbackMoment, toRenewalOf } from '../../../acme/orders/renewal-moment.ts'
import type { OrderRow } from '../../../acme/rows.ts'

const CA = 'https://ca.example/directory'
const LIMITS = { domain: 40, set: 4, account: 240, failures: 4 }
const DAY_MS = 86_400_000
const NOW_MS = Date.parse('2026-03-01T00:00:00.000Z')
const settings = withDefaults({
  ...{ domain: 'platform.example', challengeTypes: ['http-01'], profiles: [], limits: LIMITS },
  now: () => NOW_MS,
  random: () => 0.5,
})
const TYPES = { ca_unreachable: 'timeout', ca_nonsense: 'nonsense', ca_account: 'badPublicKey' } as const
const row: OrderRow = {
  ...{ name: 'www.customer.example', names: ['www.customer.example'], keyType: 'ec', state: 'answered' },
  ...{ createdAt: '2026-03-01T00:00:00.000Z', cause: 'demand', failures: 0 },
  ...{ ca: CA, url: 'https://ca.example/order/1', csr: 'AAAA', authorizations: [] },
}

t.test('counts by registered domain, with the private part of the public suffix list', async (t) => {
  const domainsOf = (...names: string[]) =>
    toOrderBudgets(names, CA, LIMITS)
      .filter(({ limit }) => limit === 'domain')
      .map(({ subject }) => subject.replace(/^[^.]+\./, ''))
  t.same(domainsOf('a.b.example.co.uk', 'c.example.co.uk'), ['example.co.uk'])
  t.same(domainsOf('me.github.io'), ['me.github.io'])
  t.same(domainsOf('platform.example', '*.platform.example'), ['platform.example'])
})

t.test('counts a set of names however it is ordered, and each authority for itself', async (t) => {
  const setOf = (names: readonly string[], ca = CA) =>
    toOrderBudgets(names, ca, LIMITS).find(({ limit }) => limit === 'set')?.subject
  t.equal(setOf(['a.example', 'b.example']), setOf(['b.example', 'a.example']))
  t.not(setOf(['a.example']), setOf(['b.example']))
  t.not(setOf(['a.example']), setOf(['a.example'], 'https://other.example/directory'))
  t.match(toAccountBudget(CA, LIMITS), { limit: 'account', capacity: 240, windowMs: 3 * 3_600_000 })
  t.equal(toFailureBudgets(['a.example', '*.a.example'], CA, LIMITS).length, 1)
})

const problems = [
  { type: 'rateLimited', status: 429, code: 'ca_limited', isOfCa: true },
  { type: 'serverInternal', status: 500, code: 'ca_unreachable', isOfCa: true },
  { type: 'timeout', status: 0, code: 'ca_unreachable', isOfCa: true },
  { type: 'unreachable', status: 0, code: 'ca_unreachable', isOfCa: true },
  { type: 'nonsense', status: 0, code: 'ca_nonsense', isOfCa: true },
  { type: 'userActionRequired', status: 403, code: 'ca_account', isOfCa: true },
  { type: 'rejectedIdentifier', status: 400, code: 'ca_refused', isOfCa: true },
  { type: 'caa', status: 403, code: 'certificate_caa', isOfCa: false },
  { type: 'aborted', status: 0, code: 'ca_unreachable', isOfCa: true },
  { type: 'malformed', status: 400, code: 'ca_refused', isOfCa: false },
]
for (const { type, status, code, isOfCa } of problems) {
  t.test(
    `takes a request's ${type} for ${code}${isOfCa ? ', and asks the next authority' : ''}`,
    async (t) => {
      const problem = { type, status, detail: 'its words', subproblems: [], retryAfterMs: 5_000 }
      const trouble = toTrouble(new CaProblem(problem), NOW_MS)
      t.match(trouble, { code, isOfCa, problemType: type, detail: /its words/, retryAtMs: NOW_MS + 5_000 })
    },
  )
}

t.test('takes what an authority said of a proof as the name’s own trouble', async (t) => {
  const problem = { type: 'dns', status: 400, detail: 'NXDOMAIN', subproblems: [] }
  t.match(toEndedTrouble(problem, 'a.example').trouble, {
    code: 'ca_unauthorized',
    detail: 'a.example: dns: NXDOMAIN',
    isOfCa: false,
    keepsOrder: false,
  })
  t.match(toEndedTrouble({ ...problem, type: 'caa' }, 'a.example').trouble, { code: 'certificate_caa' })
  t.match(toEndedTrouble(undefined, 'a.example').trouble, { code: 'ca_unauthorized' })
})

t.test('tells nobody of what is unexpected', async (t) => {
  const trouble = toTrouble(new Error('password is secret'), NOW_MS)
  t.match(trouble, { code: 'certificate_failed', isOfCa: false })
  t.notMatch(trouble.detail, /secret/)
  t.match(toTrouble(new AcmeError('certificate_dns_update'), NOW_MS), { isOfCa: false, keepsOrder: true })
})

t.test('waits 1 min, 10 min, 100 min, and then a day each time', async (t) => {
  const waits = [0, 1, 2, 3, 7].map((failures) => {
    const { trouble } = new OrderTrouble({ code: 'certificate_dns', detail: '' })
    const failed = toRowAfterFailure(
      { ...row, failures },
      { trouble, directory: CA, hasNext: () => true },
      settings,
    )
    t.match(failed, { state: 'failed', failures: failures + 1 })
    return (Date.parse(failed.nextTryAt ?? '') - NOW_MS) / 60_000
  })
  t.same(waits, [1, 10, 100, 1_440, 1_440])
})

t.test('keeps an order that the authority may still have, but not for ever', async (t) => {
  const toFailed = (code: 'ca_unreachable' | 'ca_nonsense' | 'ca_account', failures: number) => {
    const problem = { type: TYPES[code], status: 0, detail: '', subproblems: [] }
    const trouble = toTrouble(new CaProblem(problem), NOW_MS)
    return toRowAfterFailure({ ...row, failures }, { trouble, directory: CA, hasNext: () => false }, settings)
  }
  t.match(toFailed('ca_unreachable', 1), { url: row.url, failures: 2 })
  t.notOk('url' in toFailed('ca_unreachable', 2))
  t.notOk('url' in toFailed('ca_nonsense', 0))
  t.notOk('url' in toFailed('ca_account', 0))
  const unconfirmed = { code: 'certificate_unconfirmed', detail: '', keepsOrder: true } as const
  const { trouble } = new OrderTrouble(unconfirmed)
  const failing = { trouble, directory: CA, hasNext: () => false }
  t.match(toRowAfterFailure({ ...row, failures: 7 }, failing, settings), { url: row.url, failures: 7 })
})

t.test('never waits longer than ten minutes for what the name is not to be blamed for', async (t) => {
  const { url: _none, ...unordered } = row
  const waitOf = (trouble: Trouble, of: OrderRow = unordered, failures = 5) => {
    const failing = { trouble, directory: CA, hasNext: () => false }
    const { nextTryAt = '' } = toRowAfterFailure({ ...of, failures }, failing, settings)
    return Date.parse(nextTryAt) - NOW_MS
  }
  t.equal(waitOf(toTrouble(new Error('odd'), NOW_MS)), 600_000)
  const unknown = { code: 'certificate_dns', detail: 'no answer', isUnknown: true } as const
  t.equal(waitOf(new OrderTrouble(unknown).trouble), 600_000)
  const forEver = waitOf(new OrderTrouble(unknown).trouble, unordered, 8)
  t.equal(forEver, DAY_MS, 'no outage lasts that long: it is the name after all')
  const silence = new OrderTrouble({ code: 'ca_unreachable', detail: '' }).trouble
  t.equal(waitOf(silence), 600_000)
  t.equal(waitOf(silence, row), DAY_MS, 'orders that come to nothing use the budgets up')
})

t.test('gives up what was said to one authority when it goes to the next', async (t) => {
  const { trouble } = new OrderTrouble({ code: 'ca_unreachable', detail: '', isOfCa: true, keepsOrder: true })
  const other = toRowAfterFailure(row, { trouble, directory: CA, hasNext: () => true }, settings)
  t.match(other, { state: 'wanted', triedCas: [CA], failures: 0, lastError: { step: 'answered' } })
  for (const key of ['ca', 'url', 'csr', 'authorizations', 'nextTryAt']) t.notOk(key in other, key)
  const waiting = toRowAfterFailure(row, { trouble, directory: CA, hasNext: () => false }, settings)
  t.match(waiting, { state: 'failed', url: row.url, csr: row.csr, ca: CA, failures: 1 })
  t.notOk('triedCas' in waiting)
  t.match(toResumedRow(waiting, NOW_MS), { state: 'ordered', url: row.url })
})

t.test('an order that was paid for is so until the budget has it again', async (t) => {
  const { trouble } = new OrderTrouble({ code: 'ca_refused', detail: '' })
  const failing = { trouble, directory: CA, hasNext: () => false }
  const failed = toRowAfterFailure({ ...row, paidCas: [CA] }, failing, settings)
  t.same(toResumedRow(failed, NOW_MS + 60_000).paidCas, [CA])
  t.notOk('paidCas' in toResumedRow(failed, NOW_MS + 3 * 3_600_000))
})

t.test('leaves an authority alone that does not answer, while there is another', async (t) => {
  const clock = { nowMs: NOW_MS }
  const cas = ['https://one.example/', 'https://two.example/'].map((directory) => ({ directory }))
  const choice = createCaChoice(cas as unknown as Parameters<typeof createCaChoice>[0], {
    now: () => clock.nowMs,
  })
  const { ca: _none, ...free } = row
  const [one, two] = cas
  t.equal(choice.get(free), one)
  const silence = new OrderTrouble({ code: 'ca_unreachable', detail: '' }).trouble
  choice.note(choice.get(free), free, silence)
  t.equal(choice.get(free), two)
  choice.note(choice.get(free), free, silence)
  t.equal(choice.get(free), one, 'both are silent')
  clock.nowMs += 60_000
  t.equal(choice.get(free), one)
  const limited = new OrderTrouble({ code: 'ca_limited', detail: '', retryAtMs: clock.nowMs + DAY_MS })
    .trouble
  choice.note(choice.get(free), free, limited)
  t.equal(choice.get(free), two)
  t.equal(choice.get({ ...free, name: 'other.example' }), one, 'it is for this name alone')
  t.throws(() => choice.get({ ...free, triedCas: ['https://two.example/'] }))
})

t.test('renews with a third of the life left, or half of it below 10 days', async (t) => {
  const lifeOf = (days: number) => ({
    notBefore: new Date(NOW_MS).toISOString(),
    notAfter: new Date(NOW_MS + days * DAY_MS).toISOString(),
  })
  t.equal(toFallbackMoment(lifeOf(90), 0.5), NOW_MS + 60 * DAY_MS)
  t.equal(toFallbackMoment(lifeOf(6), 0.5), NOW_MS + 3 * DAY_MS)
  t.equal(toFallbackMoment(lifeOf(90), 0), NOW_MS + 57 * DAY_MS)
  t.ok(toFallbackMoment(lifeOf(90), 0.999) < NOW_MS + 63 * DAY_MS)
})

t.test('knows its certificate by its end and its coming', async (t) => {
  const one = { notAfter: '2026-03-01T00:00:00.000Z', createdAt: '2026-01-01T00:00:00.000Z' }
  t.ok(isRenewalOf(toRenewalOf(one), { ...one, notAfter: '2026-03-01T00:00:00Z' }))
  t.notOk(isRenewalOf(toRenewalOf(one), { ...one, createdAt: '2026-01-01T00:00:01Z' }))
})
