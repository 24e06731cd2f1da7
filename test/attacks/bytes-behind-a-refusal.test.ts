/**
 * The attacker sends a request that must be refused and, in the same packet, a second one. Where the first one ends
 * is exactly what is in doubt, so the second may be part of its body. A naive proxy answers 400 and goes on reading:
 * the hidden request reaches the VM. After such a refusal no byte of the connection counts any more.
 */

import t from 'tap'
import { APP, attackedEdgeFor, refuses } from '../helpers/attacked-edge.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const HIDDEN = `GET /hidden HTTP/1.1\r\nHost: ${APP}\r\n\r\n`

const REFUSED: readonly (readonly [string, string])[] = [
  ['Host twice', `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nHost: ${APP}\r\n\r\n`],
  ['no Host', 'GET /evil HTTP/1.1\r\n\r\n'],
  ['a bad port', `GET /evil HTTP/1.1\r\nHost: ${APP}:99999\r\n\r\n`],
  ['a target that disagrees', `GET http://x.localhost/ HTTP/1.1\r\nHost: ${APP}\r\n\r\n`],
  [
    'gzip, chunked',
    `POST /evil HTTP/1.1\r\nHost: ${APP}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  ],
  ['identity', `POST /evil HTTP/1.1\r\nHost: ${APP}\r\nTransfer-Encoding: identity\r\n\r\n`],
  [
    'chunked in HTTP/1.0',
    `POST /evil HTTP/1.0\r\nHost: ${APP}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    'chunked in HTTP/1.0 with keep-alive',
    `POST /evil HTTP/1.0\r\nHost: ${APP}\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  ['a path without a slash', `GET evil HTTP/1.1\r\nHost: ${APP}\r\n\r\n`],
  ['an asterisk for GET', `GET * HTTP/1.1\r\nHost: ${APP}\r\n\r\n`],
]

t.test('never relays a request that stands behind a refused one', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, first] of REFUSED) {
    await t.test(what, (t) => refuses(t, edge, first + HIDDEN, { status: 400 }))
    await t.test(`${what}, with ten behind it`, (t) =>
      refuses(t, edge, first + HIDDEN.repeat(10), { status: 400 }),
    )
  }
})

t.test('never relays a request that comes in the packet after a refused one', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await edge.dialPlain()
  socket.setNoDelay(true)
  socket.write(`GET /evil HTTP/1.1\r\nHost: ${APP}\r\nHost: ${APP}\r\n\r\n`)
  for (let at = 0; at < 20 && socket.writable; at += 1) {
    socket.write(HIDDEN)
    await new Promise(setImmediate)
  }
  await until(() => socket.readableEnded || socket.destroyed || socket.readableLength > 0, 'an answer')
  socket.resume()
  await until(() => socket.readableEnded || socket.destroyed, 'the end of the connection')
  t.same(edge.requestLines(), [])
})

t.test('answers what was pipelined in front of a refused request, in order, then closes', async (t) => {
  const edge = await attackedEdgeFor(t)
  const good = `GET /good HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
  const bad = `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nHost: ${APP}\r\n\r\n`
  const { text } = await exchange(await edge.dialPlain(), good + good + bad + HIDDEN)
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status)
  t.same(statuses, ['200', '200', '400'])
  t.same(edge.requestLines(), ['GET /good HTTP/1.1', 'GET /good HTTP/1.1'])
})

t.test('lets a client read its refusal although it is still sending a large body', async (t) => {
  const edge = await attackedEdgeFor(t)
  const head = `POST /evil HTTP/1.1\r\nHost: ${APP}\r\nHost: ${APP}\r\nContent-Length: 8000000\r\n\r\n`
  const answer = await exchange(await edge.dialPlain(), head + 'x'.repeat(8_000_000), isWhole)
  t.equal(answer.status, 400)
  t.same(edge.requestLines(), [])
})
