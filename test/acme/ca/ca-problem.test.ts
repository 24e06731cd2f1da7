/** Problems of a certificate authority: its words are kept, and each has one code. */

import t from 'tap'
import { CaProblem, findProblem, parseRetryAfter, toProblem } from '../../../acme/ca/ca-problem.ts'

const URN = 'urn:ietf:params:acme:error:'
const NOW = Date.parse('2026-08-01T00:00:00Z')
const DAY_MS = 86_400_000

function codeOf(type: string, status = 400): string {
  const problem = toProblem({ status, retryAfter: undefined, body: { type: `${URN}${type}` } }, NOW)
  return new CaProblem(problem).code
}

t.test('keeps type, status, detail, subproblems and Retry-After', async (t) => {
  const body = {
    type: `${URN}rateLimited`,
    detail: 'too many certificates',
    status: 429,
    subproblems: [
      { type: `${URN}caa`, detail: 'forbidden', identifier: { type: 'dns', value: 'a.example' } },
      { type: `${URN}dns`, detail: 'no answer' },
    ],
  }
  const problem = toProblem({ status: 429, retryAfter: '120', body }, NOW)
  t.same(problem, {
    type: 'rateLimited',
    status: 429,
    detail: 'too many certificates',
    subproblems: [
      { type: 'caa', detail: 'forbidden', identifier: 'a.example' },
      { type: 'dns', detail: 'no answer' },
    ],
    retryAfterMs: 120_000,
  })
  const error = new CaProblem(problem)
  t.equal(error.message, 'too many certificates')
  t.equal(error.problem, problem)
})

t.test('reads Retry-After as seconds and as a date, between now and a day', async (t) => {
  t.equal(parseRetryAfter('90', NOW), 90_000)
  t.equal(parseRetryAfter('0', NOW), 0)
  t.equal(parseRetryAfter('999999999999999999', NOW), DAY_MS)
  t.equal(parseRetryAfter('Sat, 01 Aug 2026 00:10:00 GMT', NOW), 600_000)
  t.equal(parseRetryAfter('Sat, 01 Aug 2020 00:10:00 GMT', NOW), 0)
  t.equal(parseRetryAfter('Sat, 01 Aug 2099 00:10:00 GMT', NOW), DAY_MS)
  for (const text of [undefined, '', 'soon', '-5x', 'NaN']) t.equal(parseRetryAfter(text, NOW), undefined)
})

t.test('gives each kind its code', async (t) => {
  for (const type of ['unauthorized', 'dns', 'connection', 'tls', 'incorrectResponse']) {
    t.equal(codeOf(type), 'ca_unauthorized', type)
  }
  for (const type of [
    'accountDoesNotExist',
    'externalAccountRequired',
    'userActionRequired',
    'invalidContact',
  ]) {
    t.equal(codeOf(type), 'ca_account', type)
  }
  for (const type of [
    'rejectedIdentifier',
    'malformed',
    'orderNotReady',
    'badCSR',
    'alreadyReplaced',
    'whatever',
    '',
  ]) {
    t.equal(codeOf(type), 'ca_refused', type)
  }
  t.equal(codeOf('rateLimited'), 'ca_limited')
  t.equal(codeOf('caa'), 'certificate_caa')
  t.equal(codeOf('serverInternal', 500), 'ca_unreachable')
  t.equal(codeOf('malformed', 500), 'ca_unreachable')
  t.equal(codeOf('whatever', 502), 'ca_unreachable')
  t.equal(codeOf('constructor'), 'ca_refused', 'a type that every object has')
})

t.test('takes 503 with Retry-After for a limit, and without one for a fault', async (t) => {
  const body = { type: `${URN}serverInternal`, detail: 'busy' }
  const later = new CaProblem(toProblem({ status: 503, retryAfter: '5', body }, NOW))
  t.match(later, { code: 'ca_limited', isTransient: false }, 'it is not asked before its moment')
  const broken = new CaProblem(toProblem({ status: 503, retryAfter: undefined, body }, NOW))
  t.match(broken, { code: 'ca_unreachable', isTransient: true })
})

t.test('says what an error without a problem document is', async (t) => {
  const of = (status: number, retryAfter?: string) => toProblem({ status, retryAfter, body: '<html>' }, NOW)
  t.match(of(502), { type: 'unreachable', status: 502 })
  t.match(of(429, '7'), { type: 'rateLimited', retryAfterMs: 7_000 })
  t.match(of(404), { type: 'nonsense', status: 404 })
  t.match(of(302), { type: 'nonsense', status: 302 })
})

t.test('shows no control characters, and never more than 500 characters', async (t) => {
  const problem = findProblem({ type: 'x', detail: `a\u001b[31mb\nc\u202ed${'e'.repeat(9_999)}` })
  t.match(problem?.detail, /^a \[31mb c de+$/)
  t.equal(problem?.detail.length, 500)
})

t.test('takes only what has a type for a problem, and skips what is none below it', async (t) => {
  for (const body of [undefined, null, 'text', [], {}, { type: 5 }, { detail: 'x' }]) {
    t.equal(findProblem(body), undefined)
  }
  const odd = { type: 'x', detail: 5, status: '400', subproblems: [null, 5, 'x', {}] }
  t.same(findProblem(odd), { type: 'x', status: 0, detail: '', subproblems: [{ type: '', detail: '' }] })
  const many = { type: 'x', subproblems: Array.from({ length: 1_000 }, () => ({ type: 'y' })) }
  t.equal(findProblem(many)?.subproblems.length, 20)
})
