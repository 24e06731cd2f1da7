/**
 * The attacker (or a mistaken owner) points a VM's own proxy at the VM's public name: each request comes back through
 * the edge, each time as a new one, until sockets run out. CDN-Loop (RFC 8586) counts the rounds; the circle ends in
 * 508 with proxy_loop_detected, and a VM that relays to another VM once is left alone.
 */

import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { type AttackedEdge, attackedEdgeFor, codeOf, serves } from '../helpers/attacked-edge.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { type Origin, originFor } from '../helpers/origin.ts'
import { exchange, isWhole, type RawAnswer } from '../helpers/raw-client.ts'
import { fieldOf, scriptedVmFor, upgradeRequest } from '../helpers/scripted-vm.ts'

/** More rounds than any honest chain has. */
const MANY = 10

/** A VM that passes every request on to `host` at the edge, as a simple proxy does: all fields but those of the hop. */
async function forwarderFor(t: Test, edge: AttackedEdge, host: string): Promise<Origin> {
  return originFor(t, (request, response) => forward(request, response, { port: edge.httpPort, host }))
}

function forward(
  request: IncomingMessage,
  response: ServerResponse,
  to: { port: number; host: string },
): void {
  const { connection, ...headers } = request.headers
  const outgoing = httpRequest(
    {
      ...{ host: '127.0.0.1', port: to.port, method: request.method, path: request.url },
      headers: { ...headers, host: to.host },
      agent: false,
    },
    (incoming) => {
      response.writeHead(incoming.statusCode ?? 0, incoming.headers)
      incoming.pipe(response)
    },
  )
  outgoing.on('error', () => response.destroy())
  request.pipe(outgoing)
}

async function ask(edge: AttackedEdge, host: string, extra = ''): Promise<RawAnswer> {
  const request = `GET /round HTTP/1.1\r\nHost: ${host}\r\n${extra}\r\n`
  return exchange(await edge.dialPlain(), request, isWhole)
}

t.test('ends a VM that forwards to its own name with 508', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await forwarderFor(t, edge, 'circle.localhost')
  await edge.route('circle.localhost', vm.port)
  const answer = await ask(edge, 'circle.localhost')
  t.match({ status: answer.status, code: codeOf(answer) }, { status: 508, code: 'request_loop' })
  t.match(answer.headers['proxy-status'], /error=proxy_loop_detected/)
  t.ok(vm.requests.length < MANY, `${vm.requests.length} rounds`)
  t.ok(edge.accessLog.some((line) => line.error_code === 'request_loop'))
  await serves(t, edge)
})

t.test('ends a circle of three VMs, with bodies and over HTTP/2 as well', async (t) => {
  const edge = await attackedEdgeFor(t)
  const names = ['one.localhost', 'two.localhost', 'three.localhost']
  const vms = await Promise.all(
    names.map((_, at) => forwarderFor(t, edge, names[(at + 1) % names.length] ?? '')),
  )
  for (const [at, name] of names.entries()) await edge.route(name, vms[at]?.port ?? 0)
  const first = names[0] ?? ''
  const post = `POST /round HTTP/1.1\r\nHost: ${first}\r\nContent-Length: 5\r\n\r\nhello`
  t.equal((await exchange(await edge.dialPlain(), post, isWhole)).status, 508)
  const overH2 = await h2Exchange(await edge.h2(first), { ':path': '/round' })
  t.equal(overH2.status, 508)
  const rounds = vms.reduce((sum, vm) => sum + vm.requests.length, 0)
  t.ok(rounds < 2 * MANY, `${rounds} rounds in two requests`)
})

t.test('serves a VM that relays to another VM', async (t) => {
  const edge = await attackedEdgeFor(t)
  const front = await forwarderFor(t, edge, 'app.localhost')
  await edge.route('front.localhost', front.port)
  t.match(await ask(edge, 'front.localhost'), { status: 200, body: 'ok' })
})

t.test('tells the VM the rounds so far, and what other networks said before it', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await scriptedVmFor(t)
  await edge.route('seen.localhost', vm.port)
  await ask(edge, 'seen.localhost')
  await ask(edge, 'seen.localhost', 'CDN-Loop: other.example; v=1\r\nCDN-Loop: localhost\r\n')
  const seen = vm.requests.map(({ head }) => fieldOf(head, 'cdn-loop'))
  t.same(seen, ['localhost', 'other.example; v=1, localhost, localhost'])
})

const CIRCLES: readonly (readonly [string, string])[] = [
  ['one field', 'CDN-Loop: localhost, localhost, localhost\r\n'],
  ['several fields', 'CDN-Loop: localhost\r\n'.repeat(3)],
  ['upper case', 'CDN-LOOP: LOCALHOST,LocalHost,localhost\r\n'],
  ['parameters', 'CDN-Loop: localhost; a=b, localhost;c, localhost ; d="e"\r\n'],
  ['others between', 'CDN-Loop: x, localhost, y, localhost, z;q=1, localhost\r\n'],
  ['empty items', 'CDN-Loop: , localhost,, localhost,localhost,\r\n'],
  ['Connection that names it', 'CDN-Loop: localhost, localhost, localhost\r\nConnection: cdn-loop\r\n'],
]

t.test('counts its own name however it is written', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, extra] of CIRCLES) {
    const answer = await ask(edge, 'app.localhost', extra)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 508, code: 'request_loop' }, what)
  }
  t.same(edge.requestLines(), [])
})

t.test('does not take others, or texts in quotes, for itself', async (t) => {
  const edge = await attackedEdgeFor(t)
  const honest = [
    'CDN-Loop: a.localhost, localhost.b, localhostx, xlocalhost\r\n',
    `CDN-Loop: ${Array.from({ length: 30 }, (_, at) => `cdn${at}.example`).join(', ')}\r\n`,
    'CDN-Loop: other.example; note="localhost, localhost, localhost, localhost, localhost"\r\n',
  ]
  for (const extra of honest) t.equal((await ask(edge, 'app.localhost', extra)).status, 200, extra)
})

t.test('ends upgrades that go in a circle', async (t) => {
  const edge = await attackedEdgeFor(t)
  const extra = 'CDN-Loop: localhost, localhost, localhost\r\n'
  const answer = await exchange(await edge.dialPlain(), upgradeRequest('app.localhost', extra), isWhole)
  t.equal(answer.status, 508)
  t.same(edge.requestLines(), [])
})
