/**
 * The attacker opens connections and streams until nobody else gets one. A client (one address) has a number of
 * connections and each connection a number of streams; what is above is refused at once, before it costs a handshake
 * or a request, and what is closed may be opened again. A configured proxy speaks for many and is not counted.
 */

import type { Socket } from 'node:net'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { APP, type AttackedEdge, attackedEdgeFor, isOver, serves } from '../helpers/attacked-edge.ts'
import { openSockets } from '../helpers/edge-gauges.ts'
import { encodeFields, FLAG, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const THREE = { LANDFALL_MAX_CONNECTIONS_PER_CLIENT: '3' }
const GOOD = `GET /good HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
const HEAD_ONLY = FLAG.endHeaders | FLAG.endStream
const REFUSED_STREAM = 7
const PROTOCOL_ERROR = 1

/** Open connections from an address of the loopback network, which is as good as a client of its own. */
async function connections(
  t: Test,
  port: number,
  count: number,
  localAddress = '127.0.0.1',
): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect({ port, host: '127.0.0.1', localAddress }))
  for (const socket of sockets) socket.on('error', () => {}).resume()
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  await until(() => sockets.every((socket) => !socket.connecting), 'the connections')
  return sockets
}

t.test('closes connections above the limit of a client at once, on both ports together', async (t) => {
  const edge = await attackedEdgeFor(t, THREE)
  const plain = await connections(t, edge.httpPort, 2)
  const tls = await connections(t, edge.httpsPort, 1)
  for (const port of [edge.httpPort, edge.httpsPort]) {
    for (const socket of await connections(t, port, 5)) t.ok(await isOver(socket), 'one too many')
  }
  t.notOk(
    [...plain, ...tls].some((socket) => socket.destroyed),
    'the first three stay',
  )
  t.equal((await openSockets(edge)).clients, 3)
})

t.test('serves another client although one has all of its connections', async (t) => {
  const edge = await attackedEdgeFor(t, THREE)
  await connections(t, edge.httpPort, 10)
  const [other] = await connections(t, edge.httpPort, 1, '127.0.0.2')
  if (other === undefined) throw new Error('no connection')
  t.equal((await exchange(other, GOOD, isWhole)).status, 200)
})

t.test('takes a new connection once an old one is closed, however often', async (t) => {
  const edge = await attackedEdgeFor(t, THREE)
  for (let round = 0; round < 5; round += 1) {
    const sockets = await connections(t, edge.httpPort, 3)
    const [first] = sockets
    if (first === undefined) throw new Error('no connection')
    t.equal((await exchange(first, GOOD, isWhole)).status, 200, `round ${round}`)
    for (const [at, socket] of sockets.entries()) {
      if (at % 2 === 0) socket.resetAndDestroy()
      else socket.end()
    }
    await until(async () => (await openSockets(edge)).clients === 0, 'all connections closed')
  }
})

t.test('does not count the connections of a trusted proxy', async (t) => {
  const edge = await attackedEdgeFor(t, { ...THREE, LANDFALL_TRUSTED_PROXIES: '127.0.0.0/31' })
  const sockets = await connections(t, edge.httpPort, 20)
  const last = sockets.at(-1)
  if (last === undefined) throw new Error('no connection')
  t.equal((await exchange(last, GOOD, isWhole)).status, 200)
  const strangers = await connections(t, edge.httpPort, 4, '127.0.0.2')
  await until(
    () => strangers.filter((socket) => socket.destroyed).length === 1,
    'the fourth stranger refused',
  )
})

/** Requests on streams 1, 3, 5, …, all in one write, whatever the edge allows. */
async function openStreams(edge: AttackedEdge, host: string, count: number): Promise<H2Wire> {
  const wire = await new H2Wire(await edge.dial(host, { alpn: ['h2'] })).start()
  wire.socket.cork()
  for (let at = 0; at < count; at += 1) {
    wire.send(FRAME.headers, HEAD_ONLY, 1 + at * 2, encodeFields(requestFields(host, `/${at}`)))
  }
  wire.socket.uncork()
  return wire
}

t.test('says how many streams it takes, and refuses those above without a word to the VM', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_MAX_STREAMS: '5' })
  const silent = await rawOriginFor(t, () => {})
  await edge.route('silent.localhost', silent.port)
  const wire = await openStreams(edge, 'silent.localhost', 12)
  const settings = wire.of(FRAME.settings)[0]?.payload ?? Buffer.alloc(0)
  const announced = new Map<number, number>()
  for (let at = 0; at < settings.length; at += 6) {
    announced.set(settings.readUInt16BE(at), settings.readUInt32BE(at + 2))
  }
  t.equal(announced.get(3), 5, 'SETTINGS_MAX_CONCURRENT_STREAMS')
  // RFC 9113 section 5.1.2: REFUSED_STREAM for those above, or PROTOCOL_ERROR for the whole connection.
  await until(() => wire.of(FRAME.reset).length >= 7 || wire.isOver, 'the streams above the limit refused')
  if (wire.isOver) t.equal(wire.goAwayCode(), PROTOCOL_ERROR)
  else for (const stream of [11, 13, 23]) t.equal(wire.resetCode(stream), REFUSED_STREAM)
  await serves(t, edge)
  t.ok(silent.sockets.length <= 5, `${silent.sockets.length} requests came to the VM`)
})

t.test('takes new streams once old ones have ended', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_MAX_STREAMS: '5' })
  const wire = await openStreams(edge, APP, 5)
  await until(() => [1, 3, 5, 7, 9].every((stream) => wire.body(stream) === 'ok'), 'the first five')
  for (const stream of [11, 13]) {
    wire.send(FRAME.headers, HEAD_ONLY, stream, encodeFields(requestFields(APP, '/later')))
  }
  await until(() => wire.body(11) === 'ok' && wire.body(13) === 'ok', 'two more')
  t.equal(wire.of(FRAME.reset).length, 0)
})
