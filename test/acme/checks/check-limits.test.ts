/** Checks end in time and in words, whatever the resolver does. */

import t from 'tap'
import { createChecks } from '../../../acme/checks/name-checks.ts'
import type { ChallengeType } from '../../../acme/rows.ts'

const ALL: readonly ChallengeType[] = ['tls-alpn-01', 'http-01', 'dns-01']
const DOMAIN = 'platform.test'
const ZONE = `acme.${DOMAIN}`
const NAME = 'app.example.test'
const { signal } = new AbortController()

t.test('each query has a time limit, and an abort ends all at once', async (t) => {
  const never = () => new Promise<never>(() => {})
  const silent = {
    resolve4: never,
    resolve6: never,
    resolveCname: never,
    resolveCaa: never,
    resolveSoa: never,
  }
  const demand = { names: [NAME, `*.${NAME}`], types: ALL, caaIdentities: ['ca.test'] }
  const quick = createChecks(
    { resolver: silent },
    { domain: DOMAIN, addresses: ['192.0.2.1'], responderZone: ZONE, timeoutMs: 20 },
  )
  const outcome = await quick.check(demand, signal)
  t.strictSame(outcome.types, [])
  t.ok(outcome.steps.every(({ state }) => state === 'unknown'))
  t.match(outcome.steps[0]?.detail, /no answer within 20 ms/)
  const slow = createChecks(
    { resolver: silent },
    { domain: DOMAIN, addresses: [], responderZone: ZONE, timeoutMs: 60_000 },
  )
  const reason = new Error('lost the hold')
  const abort = new AbortController()
  const asked = slow.check(demand, abort.signal)
  setImmediate(() => abort.abort(reason))
  await t.rejects(asked, reason)
  await t.rejects(slow.check(demand, abort.signal), reason)
})

t.test('a zone whose every answer is slow does not hold a check', async (t) => {
  let asked = 0
  const absent = Object.assign(new Error('absent'), { code: 'ENODATA' })
  const slow = () =>
    new Promise<never>((_, reject) => {
      asked += 1
      setTimeout(() => reject(absent), 15)
    })
  const resolver = { resolve4: slow, resolve6: slow, resolveCname: slow, resolveCaa: slow, resolveSoa: slow }
  const settings = { domain: DOMAIN, addresses: ['192.0.2.1'], timeoutMs: 1_000, totalMs: 100 }
  const demand = { names: [`${'a.'.repeat(120)}test`], types: ALL, caaIdentities: ['ca.test'] }
  const outcome = await createChecks({ resolver }, settings).check(demand, signal)
  t.match(outcome.steps.at(-1), {
    step: 'caa',
    state: 'unknown',
    detail: /more than 100 ms|no answer within/,
  })
  t.ok(asked < 20)
})

t.test('a resolver that throws is an answer too', async (t) => {
  const broken = () => {
    throw new TypeError('broken')
  }
  const resolver = {
    resolve4: broken,
    resolve6: broken,
    resolveCname: broken,
    resolveCaa: broken,
    resolveSoa: broken,
  }
  const checks = createChecks({ resolver }, { domain: DOMAIN, addresses: ['192.0.2.1'], responderZone: ZONE })
  const outcome = await checks.check({ names: [NAME], types: ALL, caaIdentities: ['ca.test'] }, signal)
  t.match(outcome.steps[0], { step: 'dns', state: 'unknown', detail: /broken/ })
})
