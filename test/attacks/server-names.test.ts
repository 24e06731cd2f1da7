/**
 * The attacker opens TLS for one name and asks for another over it, to reach a tenant past what watches server names,
 * or to have one tenant's answer cached as another's. A request for a name that the connection's certificate does not
 * cover gets 421 (RFC 9110 section 15.5.20); one that the certificate covers is served, as browsers reuse connections.
 */

import type { TLSSocket } from 'node:tls'
import t from 'tap'
import { APP, attackedEdgeFor, codeOf } from '../helpers/attacked-edge.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole, type RawAnswer } from '../helpers/raw-client.ts'
import { tlsFor } from '../helpers/tls-dial.ts'

const OTHER = 'other.localhost'
/** The certificate for the platform domain: Node's client does not match `*.localhost`, so it must not check names. */
const ANY_NAME = { checkServerIdentity: () => undefined }

function namesOf(socket: TLSSocket): string {
  return socket.getPeerCertificate().subjectaltname ?? ''
}

async function ask(socket: TLSSocket, host: string): Promise<RawAnswer> {
  return exchange(socket, `GET /x HTTP/1.1\r\nHost: ${host}\r\n\r\n`, isWhole)
}

t.test('shows each name its own certificate', async (t) => {
  const edge = await attackedEdgeFor(t)
  await edge.route(OTHER, edge.vm.port)
  for (const name of [APP, OTHER]) {
    const socket = await tlsFor(t, edge, { servername: name })
    t.equal(namesOf(socket), `DNS:${name}`)
    t.equal((await ask(socket, name)).status, 200)
  }
})

t.test('takes a server name in any case', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await tlsFor(t, edge, { servername: 'APP.LocalHost' })
  t.equal(namesOf(socket), `DNS:${APP}`)
  t.equal((await ask(socket, APP)).status, 200)
})

t.test(
  'shows the certificate of the platform domain without a server name, and for names it does not know',
  async (t) => {
    const edge = await attackedEdgeFor(t)
    for (const servername of ['', 'nobody.example', '_odd.localhost', 'a.b.localhost']) {
      const socket = await tlsFor(t, edge, { ...ANY_NAME, ...(servername !== '' && { servername }) })
      t.match(
        namesOf(socket),
        /^(DNS:localhost, DNS:\*\.localhost|DNS:\*\.localhost, DNS:localhost)$/,
        servername,
      )
    }
  },
)

t.test('answers 421 over HTTP/1.1 when the certificate does not cover the host', async (t) => {
  const edge = await attackedEdgeFor(t)
  await edge.route(OTHER, edge.vm.port)
  const socket = await tlsFor(t, edge, { servername: APP })
  for (const host of [
    OTHER,
    `${OTHER}:8443`,
    'OTHER.localhost.',
    'nobody.localhost',
    'localhost',
    '127.0.0.1',
    '[::1]',
  ]) {
    const answer = await ask(socket, host)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 421, code: 'route_misdirected' }, host)
    t.match(answer.headers['proxy-status'], /details="route_misdirected"/)
  }
  t.same(edge.requestLines(), [], 'no VM heard of them')
  t.equal((await ask(socket, APP)).status, 200, 'the connection is still good for its own name')
})

t.test('answers 421 over HTTP/2, and goes on with the session', async (t) => {
  const edge = await attackedEdgeFor(t)
  await edge.route(OTHER, edge.vm.port)
  const session = await edge.h2(APP)
  t.match(await h2Exchange(session, { ':path': '/', ':authority': APP }), { status: 200 })
  t.match(await h2Exchange(session, { ':path': '/', ':authority': OTHER }), { status: 421 })
  t.match(await h2Exchange(session, { ':path': '/', ':authority': `${APP}:1` }), { status: 200 })
  t.match(await h2Exchange(session, { ':path': '/', ':authority': OTHER }), { status: 421 })
  t.equal(edge.requestLines().length, 2)
})

t.test('serves every host that the certificate of the connection covers', async (t) => {
  const edge = await attackedEdgeFor(t)
  await edge.route(OTHER, edge.vm.port)
  for (const servername of ['', 'nobody.example']) {
    const socket = await tlsFor(t, edge, { ...ANY_NAME, ...(servername !== '' && { servername }) })
    t.equal((await ask(socket, APP)).status, 200, `${servername} then ${APP}`)
    t.equal((await ask(socket, OTHER)).status, 200, `${servername} then ${OTHER}`)
  }
})

t.test('serves both of two names over a wildcard certificate that a client has checked itself', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_DOMAIN: 'landfall.test' })
  for (const name of ['one.landfall.test', 'two.landfall.test']) await edge.route(name, edge.vm.port)
  const socket = await tlsFor(t, edge, { servername: 'nobody.landfall.test' })
  t.match(namesOf(socket), /DNS:\*\.landfall\.test/)
  for (const name of ['one.landfall.test', 'two.landfall.test'])
    t.equal((await ask(socket, name)).status, 200)
  t.equal((await ask(socket, 'nobody.landfall.test')).status, 404, 'covered, but without a route')
  t.equal((await ask(socket, 'one.two.landfall.test')).status, 421)
})

// RFC 9525 section 6.3: a wildcard stands for one label.
t.test('does not take a wildcard for two labels, or for its own parent of another tree', async (t) => {
  const edge = await attackedEdgeFor(t)
  await edge.route('a.b.localhost', edge.vm.port)
  const socket = await tlsFor(t, edge, { ...ANY_NAME, servername: 'nobody.example' })
  for (const host of ['a.b.localhost', 'app.example']) t.equal((await ask(socket, host)).status, 421, host)
  t.equal((await ask(socket, APP)).status, 200)
})

t.test('answers 421 to an upgrade as well', async (t) => {
  const edge = await attackedEdgeFor(t)
  await edge.route(OTHER, edge.vm.port)
  const socket = await tlsFor(t, edge, { servername: APP })
  const request =
    `GET / HTTP/1.1\r\nHost: ${OTHER}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  t.equal((await exchange(socket, request, isWhole)).status, 421)
  t.same(edge.requestLines(), [])
})

t.test(
  'keeps connections apart: what one has asked for does not open another host to the next',
  async (t) => {
    const edge = await attackedEdgeFor(t)
    await edge.route(OTHER, edge.vm.port)
    const first = await tlsFor(t, edge, { servername: APP })
    const second = await tlsFor(t, edge, { servername: OTHER })
    t.equal((await ask(first, APP)).status, 200)
    t.equal((await ask(second, APP)).status, 421)
    t.equal((await ask(second, OTHER)).status, 200)
    t.equal((await ask(first, OTHER)).status, 421)
  },
)
