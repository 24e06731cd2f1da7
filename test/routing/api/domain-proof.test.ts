/** Proofs by DNS, asked of a real server: what proves a domain, and what is said when nothing does. */

import { Resolver } from 'node:dns/promises'
import t from 'tap'
import { proofRecords, proveDomain } from '../../../routing/api/domain-proof.ts'
import { type DnsAnswer, dnsServerFor } from '../../helpers/scripted-dns.ts'

const HOSTNAME = 'shop.example'
const TXT = '_landfall-challenge.shop.example'
const WANTED = { hostname: HOSTNAME, challenge: 'abc', target: 'a.example.test', isPassedOn: false }
const NONE = 'there is no such name (NXDOMAIN)'

t.test('says which records prove a domain', (t) => {
  t.strictSame(proofRecords(WANTED), [
    { type: 'TXT', name: TXT, value: 'landfall=abc' },
    { type: 'CNAME', name: HOSTNAME, value: 'a.example.test' },
  ])
  t.end()
})

t.test('takes the TXT record, among others and in parts', async (t) => {
  const { zone, resolver, asked } = await dnsServerFor(t)
  zone.set(TXT, { txt: [['google=1'], ['landfall=', 'abc'], ['x'.repeat(255)]] })
  t.same(await proveDomain(resolver, WANTED), { provenBy: 'txt' })
  t.same(asked.toSorted(), [`CNAME ${HOSTNAME}`, `TXT ${TXT}`])
})

t.test('takes a CNAME to the VM, in one step or two, however it is written', async (t) => {
  const { zone, resolver } = await dnsServerFor(t)
  zone.set(HOSTNAME, { cname: 'A.Example.TEST' })
  t.same(await proveDomain(resolver, WANTED), { provenBy: 'cname' })
  zone.set(HOSTNAME, { cname: 'www.shop.example' })
  zone.set('www.shop.example', { cname: 'a.example.test' })
  t.same(await proveDomain(resolver, WANTED), { provenBy: 'cname' })
  zone.set('www.shop.example', { cname: 'third.shop.example' })
  zone.set('third.shop.example', { cname: 'a.example.test' })
  t.match(await proveDomain(resolver, WANTED), { lastError: /CNAME: it leads to "third\.shop\.example"/ })
})

t.test('a CNAME to a name that another pool had is not named, not asked for, and no proof', async (t) => {
  const { zone, resolver, asked } = await dnsServerFor(t, [[HOSTNAME, { cname: 'a.example.test' }]])
  const wanted = { ...WANTED, isPassedOn: true }
  t.strictSame(proofRecords(wanted), [{ type: 'TXT', name: TXT, value: 'landfall=abc' }])
  const why = 'no proof for now, since another pool had a VM of this name: set the TXT record'
  t.same(await proveDomain(resolver, wanted), { lastError: `TXT: ${NONE}. CNAME: ${why}.` })
  zone.set(TXT, { txt: [['landfall=abc']] })
  t.same(await proveDomain(resolver, wanted), { provenBy: 'txt' })
  t.same(asked, [`TXT ${TXT}`, `TXT ${TXT}`])
})

t.test('tells the ways apart in which DNS does not prove a domain', async (t) => {
  const { zone, resolver } = await dnsServerFor(t)
  const cases: [DnsAnswer | undefined, DnsAnswer | undefined, string][] = [
    [undefined, undefined, `TXT: ${NONE}. CNAME: ${NONE}.`],
    [{}, {}, 'TXT: the name has no such record. CNAME: the name has no such record.'],
    [
      { txt: [['landfall=abd'], ['landfall=ABC'], [' landfall=abc'], ['abc']] },
      undefined,
      `TXT: it has another value. CNAME: ${NONE}.`,
    ],
    [
      'SERVFAIL',
      'REFUSED',
      'TXT: its name servers failed (SERVFAIL). CNAME: its name servers refused to answer (REFUSED).',
    ],
    [undefined, { cname: 'other.example' }, `TXT: ${NONE}. CNAME: it leads to "other.example".`],
    [undefined, { cname: 'b.example.test' }, `TXT: ${NONE}. CNAME: it leads to "b.example.test".`],
    [
      undefined,
      { cname: 'a.example.test.evil.example' },
      `TXT: ${NONE}. CNAME: it leads to "a.example.test.evil.example".`,
    ],
    [undefined, { cname: 'a_b.example' }, `TXT: ${NONE}. CNAME: it leads to what is no host name.`],
  ]
  for (const [txt, cname, lastError] of cases) {
    zone.clear()
    if (txt !== undefined) zone.set(TXT, txt)
    if (cname !== undefined) zone.set(HOSTNAME, cname)
    t.same(await proveDomain(resolver, WANTED), { lastError })
  }
})

t.test('says no more than 200 characters, whatever DNS says', async (t) => {
  const { zone, resolver } = await dnsServerFor(t)
  const long = Array.from({ length: 4 }, (_unused, at) => String(at).repeat(55)).join('.')
  zone.set(HOSTNAME, { cname: `${long}.example` })
  zone.set(TXT, 'REFUSED')
  const proof = await proveDomain(resolver, WANTED)
  t.match(proof, { lastError: /"…3+\.example"/ })
  t.ok('lastError' in proof && proof.lastError.length <= 200)
  t.same(await proveDomain(resolver, { ...WANTED, hostname: `${'x'.repeat(60)}.${long}.example` }), {
    lastError: 'TXT: DNS cannot have this name. CNAME: DNS cannot have this name.',
  })
})

t.test(
  'one silent answer does not hide the other, and none is waited for longer than the limit',
  async (t) => {
    const { zone, resolver } = await dnsServerFor(t)
    const limit = { limitMs: 1_500 }
    zone.set(TXT, 'silence')
    zone.set(HOSTNAME, { cname: 'a.example.test' })
    t.same(await proveDomain(resolver, WANTED, limit), { provenBy: 'cname' })
    zone.set(HOSTNAME, 'silence')
    const startedAt = performance.now()
    t.same(await proveDomain(resolver, WANTED, limit), {
      lastError: 'TXT: no answer in time. CNAME: no answer in time.',
    })
    const ms = performance.now() - startedAt
    t.ok(ms >= 1_490 && ms < 10_000, `${Math.round(ms)} ms`)
  },
)

t.test('is proven as soon as one record is there, and does not wait for the other', async (t) => {
  const { zone, resolver } = await dnsServerFor(t)
  zone.set(TXT, { txt: [['landfall=abc']] })
  zone.set(HOSTNAME, 'silence')
  const startedAt = performance.now()
  t.same(await proveDomain(resolver, WANTED), { provenBy: 'txt' })
  t.ok(performance.now() - startedAt < 4_000)
})

t.test('says that DNS cannot be asked', async (t) => {
  const resolver = new Resolver({ timeout: 500, tries: 1 })
  const { resolver: used } = await dnsServerFor(t)
  const [address = ''] = used.getServers()
  resolver.setServers([address.replace(/\d+$/, '1')])
  t.match(await proveDomain(resolver, WANTED), {
    lastError: /^TXT: (DNS cannot be asked \(ECONNREFUSED\)|no answer in time)\./,
  })
})
