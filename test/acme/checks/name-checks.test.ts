/** Which challenge types DNS allows for a name, and in which words it is said what is wrong. */

import t from 'tap'
import { createChecks } from '../../../acme/checks/name-checks.ts'
import { toDnsLabel } from '../../../acme/dns/challenge-label.ts'
import { startDnsResponder } from '../../../acme/dns/responder.ts'
import type { ChallengeType } from '../../../acme/rows.ts'
import { bindFor } from '../../helpers/bind.ts'
import { until } from '../../helpers/until.ts'
import { resolverOf, type Script } from './scripted-resolver.ts'

const ALL: readonly ChallengeType[] = ['tls-alpn-01', 'http-01', 'dns-01']
const DOMAIN = 'platform.test'
const ZONE = `acme.${DOMAIN}`
const NAME = 'app.example.test'
const FROM = `_acme-challenge.${NAME}`
const TARGET = `${toDnsLabel(NAME)}.${ZONE}`
const SOA = { hostmaster: `hostmaster.${ZONE}`, serial: 1, minttl: 1 }
const { signal } = new AbortController()
const failure = (code: string) => Object.assign(new Error(code), { code })

function check(
  script: Script,
  { names = [NAME], addresses = ['192.0.2.1', '2001:db8::1'], updater = false } = {},
) {
  const checks = createChecks(
    {
      resolver: resolverOf(script),
      ...(updater && { updater: { covers: (name: string) => name.endsWith('.test') } }),
    },
    { domain: DOMAIN, addresses, responderZone: ZONE, timeoutMs: 50 },
  )
  return checks.check({ names, types: ALL, caaIdentities: ['ca.test'] }, signal)
}

t.test('a name that leads here can be proven here', async (t) => {
  const outcome = await check({ a: { [NAME]: ['192.0.2.1'] }, aaaa: { [NAME]: ['2001:0db8:0:0::1'] } })
  t.strictSame(outcome.types, ['tls-alpn-01', 'http-01'])
  t.match(outcome.steps, [
    { step: 'dns', state: 'right', detail: 'app.example.test is at 192.0.2.1, 2001:0db8:0:0::1' },
    { step: 'caa', state: 'right' },
  ])
  t.equal(outcome.steps.length, 2, 'nobody is told to delegate what is not needed')
})

t.test('says what is wrong with addresses, and what to do', async (t) => {
  const cases = [
    { what: 'none', script: {}, state: 'wrong', detail: /has no address$/, next: /CNAME platform\.test\./ },
    {
      what: 'one that is foreign',
      script: { a: { [NAME]: ['192.0.2.1', '203.0.113.9'] } },
      state: 'wrong',
      detail: /203\.0\.113\.9 is not ours/,
      next: /^Remove the records with 203\.0\.113\.9\./,
    },
    {
      what: 'a foreign IPv6 address',
      script: { a: { [NAME]: ['192.0.2.1'] }, aaaa: { [NAME]: ['2001:db8::2'] } },
      state: 'wrong',
      detail: /2001:db8::2 is not ours/,
      next: /Remove/,
    },
    {
      what: 'all foreign',
      script: { a: { [NAME]: ['203.0.113.9', '203.0.113.8'] } },
      state: 'wrong',
      detail: /are not ours, which are 192\.0\.2\.1/,
      next: /^Set the record/,
    },
    {
      what: 'an alias',
      script: { a: { [NAME]: ['203.0.113.9'] }, cname: { [NAME]: ['old.test'] } },
      state: 'wrong',
      detail: /an alias of old\.test, is at/,
      next: /Set/,
    },
    {
      what: 'servers that fail',
      script: { a: { [NAME]: failure('ESERVFAIL') } },
      state: 'wrong',
      detail: /SERVFAIL/,
      next: /name servers/,
    },
    {
      what: 'silence',
      script: { aaaa: { [NAME]: failure('ETIMEOUT') } },
      state: 'unknown',
      detail: /TIMEOUT/,
      next: /again/,
    },
  ]
  for (const { what, script, ...expected } of cases) {
    const outcome = await check(script)
    t.strictSame(outcome.types, [], what)
    t.match(outcome.steps[0], { step: 'dns', ...expected }, what)
    t.match(outcome.steps[1], { step: 'delegation', state: 'wrong' }, 'dns-01 would help as well')
  }
  const partly = await check({ a: { [NAME]: ['192.0.2.1'] }, aaaa: { [NAME]: failure('ESERVFAIL') } })
  t.strictSame(partly.types, ['tls-alpn-01', 'http-01'], 'what a CA cannot see it does not use')
})

t.test('without settings our addresses are those of the platform domain', async (t) => {
  const a = { [NAME]: ['192.0.2.7'], [DOMAIN]: ['192.0.2.7'] }
  t.strictSame((await check({ a }, { addresses: [] })).types, ['tls-alpn-01', 'http-01'])
  const lost = await check({ a: { [NAME]: ['192.0.2.7'] } }, { addresses: [] })
  t.strictSame(lost.types, [])
  t.match(lost.steps[0], { state: 'unknown', next: /LANDFALL_ADDRESSES/ })
  t.throws(() => createChecks({ resolver: resolverOf({}) }, { domain: DOMAIN, addresses: ['localhost'] }), {
    code: 'certificate_setting',
  })
})

t.test('a look-up that brought a part of our addresses calls none of the others foreign', async (t) => {
  const a = { [NAME]: ['192.0.2.7'], [DOMAIN]: ['192.0.2.7'] }
  const aaaa = { [NAME]: ['2001:db8::7'], [DOMAIN]: failure('ETIMEOUT') }
  const outcome = await check({ a, aaaa }, { addresses: [] })
  t.strictSame(outcome.types, [])
  t.match(outcome.steps[0], { step: 'dns', state: 'unknown', next: 'Try again.' })
  t.match(outcome.steps[0]?.detail, /whether 2001:db8::7 is ours is not known/)
  const without = { a, aaaa: { [DOMAIN]: failure('ETIMEOUT') } }
  t.strictSame((await check(without, { addresses: [] })).types, ['tls-alpn-01', 'http-01'])
})

t.test('a wildcard is proven by a delegation alone', async (t) => {
  const good = { cname: { [FROM]: [TARGET.toUpperCase()] }, soa: { [ZONE]: [SOA] } }
  const names = [`*.${NAME}`]
  const outcome = await check(good, { names })
  t.strictSame(outcome.types, ['dns-01'])
  t.match(outcome.steps, [
    { step: 'delegation', state: 'right' },
    { step: 'caa', state: 'right' },
  ])
  const both = await check({ ...good, a: { [NAME]: ['192.0.2.1'] } }, { names: [NAME, `*.${NAME}`] })
  t.strictSame(both.types, ['dns-01'], 'what proves each of them')
  t.equal(both.steps.filter(({ step }) => step === 'delegation').length, 1, 'nothing is said twice')
  t.strictSame((await check({ a: { [NAME]: ['192.0.2.1'] } }, { names })).types, [])
})

t.test('says what is wrong with a delegation', async (t) => {
  const cname = { [FROM]: [TARGET] }
  const cases = [
    { what: 'none', script: {}, state: 'wrong', detail: /is no alias of/, next: `${FROM}. CNAME ${TARGET}.` },
    {
      what: 'to another place',
      script: { cname: { [FROM]: ['other.test'] } },
      state: 'wrong',
      detail: /alias of other\.test, not of/,
      next: 'Set',
    },
    {
      what: 'in a circle',
      script: { cname: { [FROM]: [FROM] } },
      state: 'wrong',
      detail: /without an end/,
      next: 'Set',
    },
    {
      what: 'servers that fail',
      script: { cname: { [FROM]: failure('ESERVFAIL') } },
      state: 'wrong',
      detail: /SERVFAIL/,
      next: 'name servers',
    },
    {
      what: 'silence',
      script: { cname: { [FROM]: failure('ETIMEOUT') } },
      state: 'unknown',
      detail: /TIMEOUT/,
      next: 'again',
    },
    {
      what: 'a zone that nobody has',
      script: { cname },
      state: 'wrong',
      detail: /is no zone/,
      next: 'NS records',
    },
    {
      what: 'a zone that fails',
      script: { cname, soa: { [ZONE]: failure('ESERVFAIL') } },
      state: 'wrong',
      detail: /not answered: SERVFAIL/,
      next: 'port 53',
    },
    {
      what: 'a zone of others',
      script: { cname, soa: { [ZONE]: [{ ...SOA, serial: 2 }] } },
      state: 'wrong',
      detail: /another server/,
      next: 'NS records',
    },
  ]
  for (const { what, script, state, detail, next } of cases) {
    const outcome = await check(script, { names: [`*.${NAME}`] })
    t.strictSame(outcome.types, [], what)
    const [step] = outcome.steps
    t.match(step, { step: 'delegation', state, detail }, what)
    t.ok(step?.next?.includes(next), what)
  }
  const chain = { cname: { [FROM]: ['a.test'], 'a.test': [TARGET] }, soa: { [ZONE]: [SOA] } }
  t.strictSame((await check(chain, { names: [`*.${NAME}`] })).types, ['dns-01'], 'aliases of aliases')
})

t.test('a name in a zone that is updated needs no alias', async (t) => {
  const outcome = await check({}, { updater: true, names: [`*.${NAME}`] })
  t.strictSame(outcome.types, ['dns-01'])
  t.match(outcome.steps[0], { step: 'delegation', state: 'right', detail: /updates/ })
})

t.test('what CAA forbids is not mended by a delegation', async (t) => {
  const forbidden = (...caa: object[]) =>
    check({ a: { [NAME]: ['192.0.2.1'] }, caa: { [NAME]: caa as never } }, { addresses: ['192.0.2.1'] })
  const nobody = await forbidden({ critical: 0, issue: 'other.test' })
  t.strictSame(nobody.types, [])
  t.strictSame(
    nobody.steps.map(({ step, state }) => `${step} ${state}`),
    ['dns right', 'caa wrong'],
  )
  const dnsOnly = await forbidden({ critical: 0, issue: 'ca.test; validationmethods=dns-01' })
  t.strictSame(dnsOnly.types, [])
  t.match(dnsOnly.steps[1], { step: 'delegation', state: 'wrong' }, 'the one way that is left')
})

t.test('where dns-01 is not set up it is not offered', async (t) => {
  const checks = createChecks({ resolver: resolverOf({}) }, { domain: DOMAIN, addresses: [] })
  const outcome = await checks.check({ names: [`*.${NAME}`], types: ALL, caaIdentities: [] }, signal)
  t.match(outcome, {
    types: [],
    steps: [{ step: 'delegation', state: 'wrong', next: /LANDFALL_DNS_LISTEN/ }, {}],
  })
})

t.test('a real resolver leads from the alias to our own responder', async (t) => {
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
  const label = toDnsLabel(DOMAIN)
  const table = { ready: true, ageMs: 0, findTxt: (name: string) => (name === label ? ['value'] : []) }
  const responder = await startDnsResponder(
    { table, log },
    { listen: { host: '127.0.0.1', port: 0 }, zone: ZONE, names: [`ns.${DOMAIN}`] },
  )
  t.teardown(() => responder[Symbol.asyncDispose]())
  const records = `@ IN A 192.0.2.1
acme IN NS ns
_acme-challenge IN CNAME ${label}.acme`
  const { resolver } = await bindFor(t, {
    zones: { [DOMAIN]: records, test: '' },
    forwards: { [ZONE]: responder.port },
  })
  const settings = { domain: DOMAIN, addresses: [], responderZone: ZONE }
  const demand = { names: [DOMAIN, `*.${DOMAIN}`], types: ['dns-01'] as const, caaIdentities: ['ca.test'] }
  const checks = createChecks({ resolver }, settings)
  const outcome = await checks.check(demand, signal)
  t.strictSame(outcome.types, ['dns-01'])
  t.match(outcome.steps, [
    { step: 'dns', state: 'right' },
    { step: 'delegation', state: 'right' },
    { step: 'caa', state: 'right' },
  ])
  t.strictSame(await resolver.resolveTxt(`_acme-challenge.${DOMAIN}`), [['value']], 'as a CA would read it')
  await responder[Symbol.asyncDispose]()
  const isGone = async () => (await checks.check(demand, signal)).types.length === 0
  await until(isGone, 'the check sees that nobody answers the zone', 30_000)
})
