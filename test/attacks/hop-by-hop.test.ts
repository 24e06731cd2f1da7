/**
 * The attacker sends fields that are for one hop only, or has Connection name the fields that the proxy itself adds. A
 * naive proxy passes the first on, so that a VM acts on Keep-Alive, TE or Proxy-Authorization of a stranger, and lets the
 * second strip its own fields. RFC 9110 section 7.6.1 must hold both ways, in both versions.
 */

import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { encodeFields, FLAG, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { fieldOf, scriptedVmFor } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const HOP_BY_HOP = [
  ['Connection', 'close'],
  ['Keep-Alive', 'timeout=666'],
  ['Proxy-Connection', 'keep-alive'],
  ['Proxy-Authorization', 'Basic c2VjcmV0'],
  ['TE', 'gzip;q=1'],
  ['Upgrade', 'h2c'],
  ['HTTP2-Settings', 'AAMAAABkAAQAAP__'],
] as const

for (const way of ['plain', 'tls'] as const) {
  t.test(`no hop-by-hop field of a client reaches the VM over ${way}`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    for (const [name, value] of HOP_BY_HOP) {
      for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) {
        const answer = await edge.send(
          `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${spelling}: ${value}\r\nX-Kept: yes\r\n\r\n`,
          way,
        )
        t.equal(answer.status, 200)
        const head = vm.requests.at(-1)?.head ?? ''
        t.equal(fieldOf(head, name), undefined, spelling)
        t.equal(fieldOf(head, 'x-kept'), 'yes')
      }
    }
  })
}

const NOMINATIONS = [
  { lines: 'Connection: X-Secret\r\n', dropped: ['x-secret'] },
  { lines: 'connection: close, x-SECRET ,X-Other\r\n', dropped: ['x-secret', 'x-other'] },
  { lines: 'Connection: keep-alive\r\nConnection: X-Secret\r\n', dropped: ['x-secret'] },
  { lines: 'Connection: ,, X-Secret,\t\r\n', dropped: ['x-secret'] },
]

for (const { lines, dropped } of NOMINATIONS) {
  t.test(`what ${JSON.stringify(lines)} names stays on this hop`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    const secrets = 'X-Secret: 1\r\nX-Secret: 2\r\nX-Other: 3\r\nX-Secret-Not: 4\r\n'
    await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${secrets}${lines}\r\n`)
    const head = vm.requests[0]?.head ?? ''
    for (const name of dropped) t.equal(fieldOf(head, name), undefined, name)
    t.equal(fieldOf(head, 'x-secret-not'), '4')
  })
}

t.test('Connection cannot take away what the edge adds', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  const ours = [
    'host',
    'x-forwarded-for',
    'x-forwarded-proto',
    'x-forwarded-host',
    'x-forwarded-port',
    'forwarded',
    'via',
    'cdn-loop',
    'x-request-id',
    'traceparent',
  ]
  await edge.send(
    `POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\nConnection: ${ours.join(', ')}, content-length\r\n\r\nhi`,
  )
  const head = vm.requests[0]?.head ?? ''
  for (const name of ours) t.ok(fieldOf(head, name), name)
  t.equal(fieldOf(head, 'content-length'), '2')
  t.equal(vm.requests[0]?.body, 'hi')
})

t.test('TE: trailers is said anew to the VM, and nothing else of TE', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: TE\r\nTE: gzip, trailers\r\n\r\n`)
  await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST, te: 'trailers' })
  for (const { head } of vm.requests) {
    t.equal(fieldOf(head, 'te')?.toLowerCase(), 'trailers')
    t.equal(fieldOf(head, 'connection')?.toLowerCase(), 'te', 'RFC 9110 section 10.1.4')
  }
  t.equal(vm.requests.length, 2)
})

t.test('connection-specific fields over HTTP/2 are refused or dropped, RFC 9113 section 8.2.2', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  const names = [...HOP_BY_HOP.map(([name]) => name.toLowerCase()), 'transfer-encoding']
  for (const name of names) {
    const wire = await new H2Wire(await edge.dial(HOST, { alpn: ['h2'] })).start()
    const value = name === 'transfer-encoding' ? 'chunked' : 'x-secret'
    const block = encodeFields(requestFields(HOST, '/', [[name, value]]))
    wire.send(FRAME.headers, FLAG.endHeaders + FLAG.endStream, 1, block)
    await until(() => wire.isSettled(1), `an answer to ${name}`)
    for (const { head } of vm.requests) t.equal(fieldOf(head, name), undefined, name)
  }
  await edge.checkAlive()
})

const FROM_VM = {
  'alone, in capitals': {
    lines: HOP_BY_HOP.map(([name, value]) => `${name.toUpperCase()}: ${value}\r\n`).join(''),
    dropped: ['keep-alive', 'proxy-connection', 'te', 'upgrade', 'http2-settings'],
  },
  'named by Connection': {
    lines: 'Connection: keep-alive, X-Inside\r\nX-Inside: 1\r\nX-Inside: 2\r\n',
    dropped: ['x-inside'],
  },
  'named by a second Connection': {
    lines: 'Connection: keep-alive\r\nConnection: X-Inside\r\nX-Inside: 1\r\n',
    dropped: ['x-inside'],
  },
  'named in other case and with blanks': {
    lines: 'connection: ,\tx-INSIDE , close\r\nX-Inside: 1\r\n',
    dropped: ['x-inside'],
  },
}

for (const [name, { lines, dropped }] of Object.entries(FROM_VM)) {
  t.test(`no hop-by-hop field of a VM reaches the client: ${name}`, async (t) => {
    const vm = await scriptedVmFor(
      t,
      `HTTP/1.1 200 OK\r\n${lines}X-Kept: yes\r\nX-Inside-Not: yes\r\nContent-Length: 2\r\n\r\nok`,
    )
    const edge = await routedEdgeFor(t, vm.port)
    const overH1 = await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    const overH2 = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
    for (const answer of [overH1, overH2]) {
      t.match(answer, { status: 200, body: 'ok', headers: { 'x-kept': 'yes', 'x-inside-not': 'yes' } })
      for (const field of dropped) {
        const value = answer.headers[field]
        // Node's server adds a Keep-Alive of its own, which is for the client's hop.
        t.ok(value === undefined || (field === 'keep-alive' && !value.includes('666')), `${field}: ${value}`)
      }
    }
    await edge.checkAlive()
  })
}

t.test('a VM cannot have Connection take away what the edge adds', async (t) => {
  const vm = await scriptedVmFor(
    t,
    'HTTP/1.1 200 OK\r\nConnection: via, x-request-id, content-length\r\nContent-Length: 2\r\n\r\nok',
  )
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
  t.match(answer, { status: 200, body: 'ok', headers: { via: /landfall/, 'x-request-id': /^[0-9a-f]{32}$/ } })
})
