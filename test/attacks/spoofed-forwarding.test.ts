/**
 * The attacker sends the forwarding and identity fields that only the edge may write, in every spelling that some server
 * reads as the same name. A naive proxy appends to them or leaves them, and the VM believes a stranger's address, scheme
 * or user. On every path through the edge the VM must see the edge's own values and nothing of the client's.
 */

import t, { type Test } from 'tap'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { EXTENDED_CONNECT, HOST, type RoutedEdge, routedEdgeFor } from '../helpers/routed-edge.ts'
import {
  fieldLines,
  fieldOf,
  type ScriptedVm,
  scriptedVmFor,
  switchingProtocols,
  upgradeRequest,
  VM_OK,
} from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

/** Stands in every forged value, so that a leak is found wherever it ends up. */
const MARK = 'f0f96e0f'
const FORGED: readonly (readonly [string, string])[] = [
  ['X-Forwarded-For', `6.6.6.6, ${MARK}`],
  ['X-Forwarded-Proto', `${MARK}`],
  ['X-Forwarded-Host', `${MARK}.test`],
  ['X-Forwarded-Port', `${MARK}`],
  ['Forwarded', `for=6.6.6.6;host=${MARK}`],
  ['Via', `1.1 ${MARK}`],
  ['X-Request-Id', `${MARK}${MARK}${MARK}${MARK}`],
  ['Traceparent', `00-${MARK}${MARK}${MARK}${MARK}-${MARK}${MARK}-01`],
  ['Tracestate', `x=${MARK}`],
  ['X-Landfall-User', `${MARK}`],
  ['X-Landfall-Email', `${MARK}@example.test`],
  ['X-Landfall-Jwt-Assertion', `${MARK}`],
  ['X-Landfall-Client-Ip', `${MARK}`],
  ['X-Landfall-Not-Yet-Invented', `${MARK}`],
]
const SPELLINGS: Readonly<Record<string, (name: string) => string>> = {
  usual: (name) => name,
  lower: (name) => name.toLowerCase(),
  upper: (name) => name.toUpperCase(),
  underscore: (name) => name.replaceAll('-', '_'),
  'lower underscore': (name) => name.replaceAll('-', '_').toLowerCase(),
  'upper underscore': (name) => name.replaceAll('-', '_').toUpperCase(),
  'first dash only': (name) => name.replace('-', '_'),
  'last dash only': (name) => name.replace(/-([^-]*)$/, '_$1'),
}
const isLower = (spelling: string) => spelling.includes('lower')

function forgedLines(spelling: string): string {
  return FORGED.map(([name, value]) => `${SPELLINGS[spelling]?.(name)}: ${value}\r\n`).join('')
}

function forgedFields(spelling: string): Record<string, string> {
  return Object.fromEntries(FORGED.map(([name, value]) => [SPELLINGS[spelling]?.(name) ?? '', value]))
}

type Attack = (edge: RoutedEdge, spelling: string) => Promise<unknown>

const WAYS: Readonly<Record<string, Attack>> = {
  'a plain request': (edge, spelling) =>
    edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${forgedLines(spelling)}\r\n`),
  'a request over TLS': (edge, spelling) =>
    edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${forgedLines(spelling)}\r\n`, 'tls'),
  'a request in HTTP/1.0': (edge, spelling) =>
    edge.send(`GET / HTTP/1.0\r\nHost: ${HOST}\r\n${forgedLines(spelling)}\r\n`),
  'a request with a body': (edge, spelling) =>
    edge.send(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\n${forgedLines(spelling)}\r\nhi`),
  'a request with Expect': (edge, spelling) =>
    edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nExpect: 100-continue\r\n${forgedLines(spelling)}\r\n`),
  'a WebSocket upgrade': async (edge, spelling) => {
    const socket = await edge.open('tls')
    socket.write(upgradeRequest(HOST, forgedLines(spelling)))
  },
  'another upgrade': (edge, spelling) =>
    edge.send(
      `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n${forgedLines(spelling)}\r\n`,
    ),
  'a request over HTTP/2': async (edge, spelling) =>
    h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST, ...forgedFields(spelling) }),
  'a WebSocket over HTTP/2': async (edge, spelling) => {
    const head = { ...EXTENDED_CONNECT, ...forgedFields(spelling) }
    h2Call(await edge.openH2(), head, { hasBody: true })
  },
}

const answerAll: Parameters<typeof scriptedVmFor>[1] = (socket, { head }) => {
  socket.write(fieldOf(head, 'sec-websocket-version') === undefined ? VM_OK : switchingProtocols(head))
}

for (const [way, attack] of Object.entries(WAYS)) {
  t.test(`no forged field passes with ${way}`, async (t) => {
    const vm = await scriptedVmFor(t, answerAll)
    const edge = await routedEdgeFor(t, vm.port)
    // HTTP/2 has lower-case names only.
    const spellings = Object.keys(SPELLINGS).filter((name) => !way.includes('HTTP/2') || isLower(name))
    for (const [at, spelling] of spellings.entries()) {
      const done = attack(edge, spelling)
      await until(() => vm.requests.length > at, `the VM sees ${way} in ${spelling} spelling`)
      await done
      checkOurs(t, vm, spelling)
    }
  })
}

function checkOurs(t: Test, vm: ScriptedVm, spelling: string): void {
  const head = vm.requests.at(-1)?.head ?? ''
  const leaked = fieldLines(head).filter((line) => line.join().includes(MARK))
  t.same(leaked, [], `in ${spelling} spelling`)
  t.equal(fieldOf(head, 'x-forwarded-for'), '127.0.0.1')
  t.match(fieldOf(head, 'x-forwarded-proto'), /^https?$/)
  t.match(fieldOf(head, 'x-forwarded-host'), /^app\.localhost(:\d+)?$/)
  t.match(fieldOf(head, 'x-forwarded-port'), /^\d+$/)
  t.match(fieldOf(head, 'forwarded'), /^for=127\.0\.0\.1;host="app\.localhost[^"]*";proto=https?$/)
  t.match(fieldOf(head, 'via'), /^(1\.0|1\.1|2) landfall$/)
  t.match(fieldOf(head, 'x-request-id'), /^[0-9a-f]{32}$/)
  t.match(fieldOf(head, 'traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
}

t.test('no forged field passes as a trailer', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  for (const spelling of Object.keys(SPELLINGS)) {
    await edge.send(
      `POST / HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Landfall-User\r\n\r\n` +
        `2\r\nhi\r\n0\r\n${forgedLines(spelling)}X-Check: 1\r\n\r\n`,
    )
    const body = vm.requests.at(-1)?.body ?? ''
    t.match(body, /x-check: 1/i, 'an honest trailer passes')
    t.same(
      body.split('\r\n').filter((line) => line.includes(MARK)),
      [],
      spelling,
    )
  }
})

t.test('the scheme and port are those of the client connection', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}:8443\r\nX-Forwarded-Port: 1\r\n\r\n`, 'tls')
  await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, 'plain')
  const seen = vm.requests.map(({ head }) => [
    fieldOf(head, 'x-forwarded-proto'),
    fieldOf(head, 'x-forwarded-host'),
    fieldOf(head, 'x-forwarded-port'),
  ])
  t.same(seen, [
    ['https', `${HOST}:8443`, '8443'],
    ['http', HOST, '80'],
  ])
})
