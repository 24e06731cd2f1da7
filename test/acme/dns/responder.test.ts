/** The responder on real sockets, asked by `dig`. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { startDnsResponder } from '../../../acme/dns/responder.ts'
import { askOverUdp, dig, responderFor, ZONE } from '../../helpers/responder-scene.ts'

t.test('dig reads it over UDP and TCP, with the options that resolvers send', async (t) => {
  const { port, values, counts } = await responderFor(t)
  values.set('abc', ['one', 'two'])
  const cases = [
    ['+notcp'],
    ['+tcp'],
    ['+noedns'],
    ['+bufsize=512'],
    ['+bufsize=4096'],
    ['+cookie'],
    ['+nsid'],
    ['+dnssec'],
    ['+subnet=192.0.2.0/24'],
    ['+padding=128'],
    ['+norecurse'],
    ['+keepalive', '+tcp'],
  ]
  for (const options of cases) {
    const text = await dig(port, `AbC.${ZONE}`, 'TXT', ...options)
    t.match(text, /status: NOERROR/, options.join(' '))
    t.match(text, /^;; flags: qr aa( rd)?; QUERY: 1, ANSWER: 2, AUTHORITY: 0,/m)
    t.match(text, /^AbC\.acme\.example\.test\.\s+0\s+IN\s+TXT\s+"one"$/m)
    t.notMatch(text, /WARNING: (?!recursion)|malformed/)
  }
  t.match(counts(), { answered: 10, answeredOverTcp: 2, truncated: 0, dropped: 0 })
})

t.test('counts what is no query as dropped, and as nothing else', async (t) => {
  const { port, counts } = await responderFor(t, { burst: 3, answersPerSecond: 1, now: () => 0 })
  const noQuery = Buffer.from('000084000000000000000000', 'hex')
  t.equal(await askOverUdp(port, noQuery, Buffer.alloc(2)), undefined)
  t.same(counts(), { answered: 1, answeredOverTcp: 0, truncated: 0, dropped: 2 })
})

t.test('dig is told what is not there, and not allowed', async (t) => {
  const { port, values } = await responderFor(t)
  values.set('abc', ['one'])
  const cases = [
    { words: [`no.${ZONE}`, 'TXT'], wants: /status: NXDOMAIN[\s\S]*SOA\tns1\.example\.test\. hostmaster/ },
    { words: [`abc.${ZONE}`, 'A'], wants: /status: NOERROR[\s\S]*ANSWER: 0, AUTHORITY: 1/ },
    { words: ['example.test', 'SOA'], wants: /status: REFUSED/ },
    { words: ['version.bind', 'CH', 'TXT'], wants: /status: REFUSED/ },
    { words: [`abc.${ZONE}`, '+edns=1', '+noednsnegotiation'], wants: /status: BADVERS/ },
    { words: [`abc.${ZONE}`, 'TXT', '+edns=1'], wants: /status: NOERROR[\s\S]*"one"/ },
    { words: [ZONE, 'AXFR'], wants: /Transfer failed/ },
    { words: [ZONE, '+opcode=update'], wants: /status: NOTIMP/ },
    { words: [ZONE, '+header-only'], wants: /status: FORMERR/ },
    { words: [ZONE, 'NS'], wants: /NS\tns1\.example\.test\.\n.*NS\tns2\.example\.test\./ },
  ]
  for (const { words, wants } of cases) t.match(await dig(port, ...words), wants, words.join(' '))
})

t.test('dig comes over TCP for what is too long', async (t) => {
  const { port, values, counts } = await responderFor(t)
  values.set(
    'many',
    Array.from({ length: 60 }, (_, index) => `${'x'.repeat(43)}${index}`),
  )
  t.match(await dig(port, `many.${ZONE}`, 'TXT', '+ignore'), /flags: qr aa tc rd;.*ANSWER: 0/)
  t.match(await dig(port, `many.${ZONE}`, 'TXT'), /Truncated, retrying in TCP[\s\S]*ANSWER: 60/)
  t.match(counts(), { answered: 2, answeredOverTcp: 1 })
})

t.test('the table is asked each time', async (t) => {
  const { port, values, table } = await responderFor(t)
  const ask = () => dig(port, `abc.${ZONE}`, 'TXT')
  t.match(await ask(), /NXDOMAIN/)
  values.set('abc', ['one'])
  t.match(await ask(), /"one"/)
  table.ageMs = 60_000
  t.match(await ask(), /"one"/, 'what it knows it says')
  const other = await dig(port, `def.${ZONE}`, 'TXT')
  t.match(other, /SERVFAIL/, 'it may be there by now: a denial would be believed')
  table.ready = false
  t.match(await ask(), /SERVFAIL/)
})

t.test('answers over IPv6', async (t) => {
  const { port } = await responderFor(t, { listen: { host: '::1', port: 0 } })
  for (const transport of ['+notcp', '+tcp'])
    t.match(await dig(port, '@::1', ZONE, 'SOA', transport), /NOERROR/)
})

t.test('says in one line which setting cannot be used', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const start = (change: object) => {
    const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
    const settings = { listen: { host: '127.0.0.1', port: 0 }, zone: ZONE, names: ['ns.test'], ...change }
    return startDnsResponder({ table: { ready: true, ageMs: 0, findTxt: () => [] }, log }, settings)
  }
  const cases = [
    {
      change: { listen: { host: '127.0.0.1', port } },
      detail: `DNS cannot be answered at 127.0.0.1 port ${port}: EADDRINUSE`,
    },
    { change: { listen: { host: '192.0.2.1', port: 0 } }, detail: /EADDRNOTAVAIL/ },
    { change: { names: [`${'n'.repeat(64)}.test`] }, detail: /names in DNS/ },
    { change: { zone: 'a..b' }, detail: /names in DNS/ },
  ]
  for (const { change, detail } of cases)
    await t.rejects(start(change), { code: 'certificate_setting', detail })
})
