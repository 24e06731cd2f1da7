/**
 * The attack: connections to the responder's TCP port that say nothing, trickle a query byte by byte, claim 64 KiB, ask
 * without reading, or are simply many. Each ends by itself, and an honest question is answered meanwhile.
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { askOverTcp, dig, endOf, responderFor, ZONE } from '../helpers/responder-scene.ts'
import { until } from '../helpers/until.ts'

const HEADER = Buffer.from('000100000001000000000000', 'hex')
/** `acme.example.test SOA`. */
const QUERY = Buffer.concat([HEADER, Buffer.from('\x04acme\x07example\x04test\0\0\x06\0\x01', 'latin1')])
const FRAMED = Buffer.concat([Buffer.from([0, QUERY.length]), QUERY])

async function openFor(t: Test, port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

t.test('a connection that says nothing is ended', async (t) => {
  const { port } = await responderFor(t, { idleMs: 50, lifeMs: 600_000 })
  const socket = await openFor(t, port)
  await endOf(socket.resume())
})

t.test('one that trickles is ended, however lively it is', async (t) => {
  const { port } = await responderFor(t, { idleMs: 600_000, lifeMs: 200 })
  const socket = await openFor(t, port)
  let sent = 0
  const trickle = () => socket.write(FRAMED.subarray(sent % FRAMED.length, (sent++ % FRAMED.length) + 1))
  const timer = setInterval(trickle, 10)
  t.teardown(() => clearInterval(timer))
  await endOf(socket.resume())
})

t.test('one that claims more than a query has is ended at once', async (t) => {
  const { port, counts } = await responderFor(t)
  t.equal(
    (await askOverTcp(port, Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(60_000)]))).length,
    0,
  )
  t.equal(
    (await askOverTcp(port, Buffer.concat(new Array(2_000).fill(FRAMED)))).length,
    0,
    'more than are taken at once',
  )
  t.match(counts(), { dropped: 2 })
})

t.test('several questions at once are answered in their order', async (t) => {
  const { port, counts } = await responderFor(t)
  const answers = await askOverTcp(port, Buffer.concat(new Array(20).fill(FRAMED)))
  t.equal(counts().answeredOverTcp, 20)
  t.equal(answers.length % 20, 0)
  t.ok(answers.length > 20 * FRAMED.length)
})

t.test('one that asks without reading is read no more, and ended', async (t) => {
  const { port, values, counts } = await responderFor(t, { idleMs: 300, lifeMs: 2_000 })
  values.set('many', new Array(100).fill('x'.repeat(200)))
  const name = Buffer.from('\x04many\x04acme\x07example\x04test\0', 'latin1')
  const query = Buffer.concat([HEADER, name, Buffer.from([0, 16, 0, 1])])
  const framed = Buffer.concat([Buffer.from([0, query.length]), query])
  const socket = await openFor(t, port)
  socket.pause()
  const timer = setInterval(() => socket.write(Buffer.concat(new Array(20).fill(framed))), 10)
  t.teardown(() => clearInterval(timer))
  await endOf(socket)
  t.ok(counts().answeredOverTcp < 2_000, `answered ${counts().answeredOverTcp} of 22 kB each`)
})

t.test('the oldest connection makes room for the next', async (t) => {
  const { port, values } = await responderFor(t, {
    connections: 8,
    connectionsOfAddress: 4,
    idleMs: 60_000,
    lifeMs: 60_000,
  })
  values.set('abc', ['one'])
  const sockets: Socket[] = []
  let ended = 0
  for (let index = 0; index < 20; index++) {
    const socket = await openFor(t, port)
    socket.resume().once('close', () => ended++)
    sockets.push(socket)
  }
  await until(() => ended === 16, 'all but the four that one address may have are ended')
  t.equal(sockets.at(-1)?.destroyed, false)
  t.match(await dig(port, `abc.${ZONE}`, 'TXT', '+tcp'), /"one"/)
})

t.test('of all connections, too, the oldest makes room', async (t) => {
  const { port } = await responderFor(t, { connections: 2, idleMs: 600_000, lifeMs: 600_000 })
  const first = await openFor(t, port, '127.0.0.2')
  const ended = endOf(first.resume())
  await openFor(t, port, '127.0.0.3')
  await openFor(t, port, '127.0.0.4')
  await ended
})

t.test('a question in two pieces is a question', async (t) => {
  const { port } = await responderFor(t)
  const socket = await openFor(t, port)
  socket.setNoDelay().write(FRAMED.subarray(0, 9))
  // The answer to a second connection comes when the first piece has been read.
  await askOverTcp(port, FRAMED)
  socket.write(FRAMED.subarray(9))
  const [answer] = await once(socket, 'data')
  t.equal(answer.readUInt16BE(2), 1, 'the number of the question')
})

t.test('the end of the responder ends what is held', async (t) => {
  const responder = await responderFor(t, { idleMs: 600_000, lifeMs: 600_000 })
  const socket = await openFor(t, responder.port)
  const closed = endOf(socket.resume())
  await responder[Symbol.asyncDispose]()
  await closed
})
