/** CAA as CAs judge it (RFC 8659, RFC 8657): case tables, and the same records out of a real name server. */

import t from 'tap'
import { createChecks } from '../../../acme/checks/name-checks.ts'
import type { ChallengeType } from '../../../acme/rows.ts'
import { bindFor } from '../../helpers/bind.ts'
import { resolverOf } from './scripted-resolver.ts'

const ACCOUNT = 'https://ca.test/acct/1'
const ALL: readonly ChallengeType[] = ['tls-alpn-01', 'http-01', 'dns-01']
const NAME = 'app.example.test'
const { signal } = new AbortController()
const SETTINGS = { domain: 'platform.test', addresses: ['192.0.2.1'] }
/** Every name can be proven in every way, so that only CAA decides. */
const OPEN = { updater: { covers: () => true } }

interface Case {
  readonly what: string
  /** CAA by name. */
  readonly caa: Readonly<Record<string, readonly object[] | Error>>
  readonly name?: string
  readonly types: readonly ChallengeType[]
  readonly state?: string
  readonly detail?: RegExp
}

const issue = (value: string) => ({ critical: 0, issue: value })
const issuewild = (value: string) => ({ critical: 0, issuewild: value })
const failure = (code: string) => Object.assign(new Error(code), { code })
const WILD = `*.${NAME}`

const CASES: readonly Case[] = [
  { what: 'no record', caa: {}, types: ALL },
  { what: 'its own CA', caa: { [NAME]: [issue('ca.test')] }, types: ALL, detail: /allows ca\.test$/ },
  { what: 'in another case', caa: { [NAME]: [{ critical: 0, ISSUE: 'CA.Test' }] }, types: ALL },
  { what: 'its second identity', caa: { [NAME]: [issue('www.ca.test')] }, types: ALL },
  { what: 'another CA', caa: { [NAME]: [issue('other.test')] }, types: [], detail: /issue "other\.test"/ },
  { what: 'another CA beside its own', caa: { [NAME]: [issue('other.test'), issue('ca.test')] }, types: ALL },
  { what: 'nobody', caa: { [NAME]: [issue(';')] }, types: [] },
  { what: 'an empty value', caa: { [NAME]: [issue('')] }, types: [] },
  {
    what: 'the parent',
    caa: { 'example.test': [issue('other.test')] },
    types: [],
    detail: /at example\.test/,
  },
  { what: 'the top', caa: { test: [issue('other.test')] }, types: [], detail: /at test/ },
  { what: 'the nearest alone', caa: { [NAME]: [issue('ca.test')], test: [issue('other.test')] }, types: ALL },
  {
    what: 'iodef alone, which hides the parent',
    caa: { [NAME]: [{ critical: 0, iodef: 'mailto:a@b.c' }], test: [issue(';')] },
    types: ALL,
  },
  { what: 'a critical iodef', caa: { [NAME]: [{ critical: 128, iodef: 'mailto:a@b.c' }] }, types: ALL },
  { what: 'an unknown property', caa: { [NAME]: [{ critical: 0, tbs: 'x' }] }, types: ALL },
  {
    what: 'a critical unknown property',
    caa: { [NAME]: [issue('ca.test'), { critical: 128, tbs: 'x' }] },
    types: [],
    detail: /critical property "tbs"/,
  },
  { what: 'a reserved flag', caa: { [NAME]: [{ critical: 1, tbs: 'x' }] }, types: ALL },
  { what: 'a property that hides its flags', caa: { [NAME]: [{ critical: 'x' }] }, types: [] },
  { what: 'a plain name under issuewild', caa: { [NAME]: [issuewild(';')] }, types: ALL },
  { what: 'a wildcard under issue', caa: { [NAME]: [issue('ca.test')] }, name: WILD, types: ['dns-01'] },
  {
    what: 'a wildcard under issuewild',
    caa: { [NAME]: [issue(';'), issuewild('ca.test')] },
    name: WILD,
    types: ['dns-01'],
  },
  {
    what: 'a wildcard against issuewild',
    caa: { [NAME]: [issue('ca.test'), issuewild(';')] },
    name: WILD,
    types: [],
  },
  { what: 'its account', caa: { [NAME]: [issue(`ca.test; accounturi=${ACCOUNT}`)] }, types: ALL },
  { what: 'another account', caa: { [NAME]: [issue(`ca.test; accounturi=${ACCOUNT}2`)] }, types: [] },
  {
    what: 'two accounts',
    caa: { [NAME]: [issue(`ca.test; accounturi=${ACCOUNT}; accounturi=${ACCOUNT}`)] },
    types: [],
  },
  {
    what: 'some methods',
    caa: { [NAME]: [issue('ca.test;validationmethods=dns-01,http-01')] },
    types: ['http-01', 'dns-01'],
    detail: /by http-01, dns-01 only/,
  },
  {
    what: 'methods of two records',
    caa: { [NAME]: [issue('ca.test;validationmethods=dns-01'), issue('ca.test;validationmethods=http-01')] },
    types: ['http-01', 'dns-01'],
  },
  {
    what: 'methods that are not spoken',
    caa: { [NAME]: [issue('ca.test;validationmethods=email-00')] },
    types: [],
  },
  { what: 'an unknown parameter', caa: { [NAME]: [issue('ca.test; policy=ev')] }, types: ALL },
  { what: 'a malformed parameter', caa: { [NAME]: [issue('ca.test; what is this')] }, types: [] },
  { what: 'SERVFAIL', caa: { [NAME]: failure('ESERVFAIL') }, types: [], detail: /failed: SERVFAIL/ },
  { what: 'SERVFAIL of a parent', caa: { 'example.test': failure('ESERVFAIL') }, types: [] },
  { what: 'silence', caa: { [NAME]: failure('ETIMEOUT') }, types: [], state: 'unknown' },
]

for (const { what, caa, name = NAME, types, state, detail } of CASES) {
  t.test(`judges ${what}`, async (t) => {
    const resolver = resolverOf({ a: { [NAME]: ['192.0.2.1'] }, caa })
    const demand = {
      names: [name],
      types: ALL,
      caaIdentities: ['ca.test', 'www.ca.test'],
      accountUrl: ACCOUNT,
    }
    const outcome = await createChecks({ resolver, ...OPEN }, SETTINGS).check(demand, signal)
    t.strictSame(outcome.types, types)
    const step = outcome.steps.find(({ step }) => step === 'caa')
    t.equal(step?.state, state ?? (types.length > 0 ? 'right' : 'wrong'))
    if (detail) t.match(step?.detail, detail)
    t.equal(step?.next !== undefined, step?.state !== 'right', 'what is not right says what to do')
  })
}

t.test('a CA without identities is not judged', async (t) => {
  const resolver = resolverOf({ a: { [NAME]: ['192.0.2.1'] }, caa: { [NAME]: [issue('other.test')] } })
  const demand = { names: [NAME], types: ALL, caaIdentities: [] }
  const outcome = await createChecks({ resolver, ...OPEN }, SETTINGS).check(demand, signal)
  t.strictSame(outcome.types, ALL)
  t.match(outcome.steps, [{ step: 'dns' }, { step: 'delegation' }, { step: 'caa', state: 'unknown' }])
})

t.test('an account that is not there yet is allowed nothing that names an account', async (t) => {
  const caa = { [NAME]: [issue(`ca.test; accounturi=${ACCOUNT}`)] }
  const resolver = resolverOf({ a: { [NAME]: ['192.0.2.1'] }, caa })
  const demand = { names: [NAME], types: ALL, caaIdentities: ['ca.test'] }
  t.strictSame((await createChecks({ resolver, ...OPEN }, SETTINGS).check(demand, signal)).types, [])
})

t.test('who names an account is told of ours, and nobody else is', async (t) => {
  const ask = async (value: string) => {
    const resolver = resolverOf({ a: { [NAME]: ['192.0.2.1'] }, caa: { [NAME]: [issue(value)] } })
    const demand = { names: [NAME], types: ALL, caaIdentities: ['ca.test'], accountUrl: ACCOUNT }
    const { steps } = await createChecks({ resolver, ...OPEN }, SETTINGS).check(demand, signal)
    return steps.find(({ step }) => step === 'caa')
  }
  const named = await ask('ca.test; accounturi=https://ca.test/acct/old')
  t.notMatch(named?.detail, ACCOUNT, 'visitors are shown the detail')
  t.ok(named?.next?.includes(ACCOUNT))
  const other = await ask('other.test')
  t.equal(other?.state, 'wrong')
  t.notMatch(`${other?.detail} ${other?.next}`, ACCOUNT)
})

t.test('what strangers write into DNS is shown without control characters, and short', async (t) => {
  const caa = { [NAME]: [issue(`\u001b[2J${'x'.repeat(2_000)}`)] }
  const resolver = resolverOf({ a: { [NAME]: ['192.0.2.1'] }, caa })
  const demand = { names: [NAME], types: ALL, caaIdentities: ['ca.test'] }
  const { steps } = await createChecks({ resolver, ...OPEN }, SETTINGS).check(demand, signal)
  for (const { detail } of steps) {
    t.ok(detail.length <= 500)
    t.notMatch(detail, /\p{Cc}/u)
  }
})

t.test('reads the records of a real name server', async (t) => {
  const records = `a IN CAA 0 issue "ca.test; validationmethods=dns-01"
b IN CAA 0 issue "other.test"
*.b IN A 192.0.2.1
c IN CAA 128 tbs "x"
d IN CNAME b
e IN CAA 0 ISSUE "ca.test"
e IN CAA 128 issuewild ";"
f IN A 192.0.2.1`
  const { resolver } = await bindFor(t, { zones: { test: '', 'example.test': records } })
  const ask = (name: string) => {
    const demand = { names: [name], types: ALL, caaIdentities: ['ca.test'] }
    return createChecks({ resolver, ...OPEN }, SETTINGS).check(demand, signal)
  }
  t.strictSame((await ask('a.example.test')).types, ['dns-01'])
  t.match((await ask('x.b.example.test')).steps.at(-1), {
    state: 'wrong',
    detail: /at b\.example\.test has issue/,
  })
  t.match((await ask('c.example.test')).steps.at(-1), { state: 'wrong', detail: /critical property "tbs"/ })
  t.match((await ask('d.example.test')).steps.at(-1), { state: 'wrong' }, 'an alias leads to the records')
  t.match((await ask('e.example.test')).steps.at(-1), { state: 'right' })
  t.match((await ask('*.e.example.test')).steps.at(-1), { state: 'wrong' })
  t.strictSame((await ask('f.example.test')).types, ALL)
  t.match((await ask('f.elsewhere.example')).steps.at(-1), { state: 'wrong', detail: /REFUSED/ })
})
