/**
 * Behind a configured proxy the forwarding fields are true, and an edge that overwrites them hides the client. But the
 * attacker speaks through that proxy: what it left in front of the proxy's own words must not win, and a peer that is
 * not on the list is believed nothing.
 */

import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { fieldOf, scriptedVmFor } from '../helpers/scripted-vm.ts'

const TRUST = { LANDFALL_TRUSTED_PROXIES: '127.0.0.1' }
const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const TOLD: Readonly<Record<string, string>> = {
  'x-forwarded-for': '192.0.2.7, 198.51.100.2',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'shop.example.test',
  'x-forwarded-port': '8443',
  forwarded: 'for=192.0.2.7;proto=https, for=198.51.100.2',
  via: '1.1 front',
  'x-request-id': 'front-0123456789',
  traceparent: `00-${TRACE_ID}-00f067aa0ba902b7-01`,
  tracestate: 'front=1',
}
const TOLD_LINES = Object.entries(TOLD)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')

/** What must reach the VM: kept, or kept with the edge added to the list (RFC 9110 section 7.6.3, RFC 7239 section 4). */
const EXPECTED: Readonly<Record<string, string | RegExp>> = {
  'x-forwarded-for': '192.0.2.7, 198.51.100.2, 127.0.0.1',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'shop.example.test',
  'x-forwarded-port': '8443',
  forwarded: /^for=192\.0\.2\.7;proto=https, for=198\.51\.100\.2, for=127\.0\.0\.1;/,
  via: /^1\.1 front, (1\.1|2) landfall$/,
  'x-request-id': 'front-0123456789',
  traceparent: new RegExp(`^00-${TRACE_ID}-[0-9a-f]{16}-01$`),
  tracestate: 'front=1',
}

for (const way of ['plain', 'tls', 'h2'] as const) {
  for (const [name, expected] of Object.entries(EXPECTED)) {
    t.test(`${name} of a trusted proxy is kept over ${way}`, async (t) => {
      const vm = await scriptedVmFor(t)
      const edge = await routedEdgeFor(t, vm.port, TRUST)
      if (way === 'h2') await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST, ...TOLD })
      else await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${TOLD_LINES}\r\n`, way)
      t.match(fieldOf(vm.requests[0]?.head ?? '', name), expected)
    })
  }
}

t.test('the answer and the log carry the id of a trusted proxy', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, TRUST)
  const answer = await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${TOLD_LINES}\r\n`)
  t.equal(answer.headers['x-request-id'], 'front-0123456789')
  t.equal(edge.accessLog[0]?.request_id, 'front-0123456789')
})

t.test('identity fields of a trusted proxy are still ours alone', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, TRUST)
  await edge.send(
    `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Landfall-User: admin\r\nx_landfall_email: a\r\n` +
      `X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Host: evil\r\n\r\n`,
  )
  const head = vm.requests[0]?.head ?? ''
  t.notMatch(head, /landfall[-_](user|email)|6\.6\.6\.6|evil/i)
})

t.test(
  'several lines of one field are one list: the proxy wrote its own behind the attacker’s',
  async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port, TRUST)
    await edge.send(
      `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.7\r\n` +
        `Forwarded: for=6.6.6.6\r\nForwarded: for=192.0.2.7\r\nTracestate: a=1\r\nTracestate: b=2\r\n` +
        `Traceparent: 00-${TRACE_ID}-00f067aa0ba902b7-01\r\n\r\n`,
    )
    const head = vm.requests[0]?.head ?? ''
    t.match(fieldOf(head, 'x-forwarded-for'), /^6\.6\.6\.6, ?192\.0\.2\.7, ?127\.0\.0\.1$/)
    t.match(fieldOf(head, 'forwarded'), /^for=6\.6\.6\.6, ?for=192\.0\.2\.7, ?for=127\.0\.0\.1;/)
    t.match(fieldOf(head, 'tracestate'), /^a=1, ?b=2$/)
  },
)

for (const [name, attackers, proxys] of [
  ['X-Forwarded-Proto', 'https', 'http'],
  ['X-Forwarded-Host', 'evil.example.test', 'shop.example.test'],
  ['X-Forwarded-Port', '1', '8443'],
] as const) {
  t.test(`of two ${name} lines the attacker’s, which stands first, does not win`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port, TRUST)
    await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${name}: ${attackers}\r\n${name}: ${proxys}\r\n\r\n`)
    const head = vm.requests[0]?.head ?? ''
    t.not(fieldOf(head, name), attackers)
    t.notMatch(fieldOf(head, 'forwarded'), `proto=${attackers}`)
  })
}

t.test('what a trusted proxy passes on as a scheme cannot add elements to Forwarded', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, TRUST)
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Forwarded-Proto: https, for=6.6.6.6\r\n\r\n`)
  t.match(fieldOf(vm.requests[0]?.head ?? '', 'forwarded'), /^for=127\.0\.0\.1;host="[^"]*";proto=\w+$/)
})

t.test('a trusted proxy that says nothing gets what everybody gets', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, TRUST)
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, 'tls')
  const head = vm.requests[0]?.head ?? ''
  t.equal(fieldOf(head, 'x-forwarded-for'), '127.0.0.1')
  t.equal(fieldOf(head, 'x-forwarded-proto'), 'https')
  t.equal(fieldOf(head, 'x-forwarded-host'), HOST)
  t.match(fieldOf(head, 'traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
})

t.test('traceparent is valid whatever the id of a trusted proxy looks like', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, TRUST)
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Request-Id: front-0123456789\r\n\r\n`)
  t.match(fieldOf(vm.requests[0]?.head ?? '', 'traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
})

t.test('a peer outside the configured ranges is not believed', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, { LANDFALL_TRUSTED_PROXIES: '10.0.0.0/8, ::1' })
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${TOLD_LINES}\r\n`)
  const head = vm.requests[0]?.head ?? ''
  t.equal(fieldOf(head, 'x-forwarded-for'), '127.0.0.1')
  t.notMatch(head, /front|192\.0\.2\.7|shop/)
})

t.test('a range in CIDR form is believed', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, { LANDFALL_TRUSTED_PROXIES: '10.0.0.0/8, 127.0.0.0/8' })
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n`)
  t.equal(fieldOf(vm.requests[0]?.head ?? '', 'x-forwarded-for'), '192.0.2.7, 127.0.0.1')
})
