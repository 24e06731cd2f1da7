/** Expect: 100-continue (RFC 9110 section 10.1.1): the 100 is the VM's, and a body that the VM refuses is never read. */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const HEAD = `POST /upload HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`
const H2_HEAD = { ':method': 'POST', ':path': '/upload', 'content-length': '5', expect: '100-continue' }
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'
const DONE = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone'
const REFUSED = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig'

t.test('an HTTP/1.1 client gets 100 only after the VM said so', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, answerWhenWhole)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(HEAD)
  await until(() => origin.received[0]?.endsWith('\r\n\r\n') === true, 'the head reaches the VM')
  t.match(origin.received[0], /\r\nexpect: 100-continue\r\n/i, 'the VM is asked')
  t.equal(heard.text, '', 'the client waits')
  origin.sockets[0]?.write(CONTINUE)
  await heard.has(CONTINUE)
  socket.write('hello')
  await heard.has('done')
  t.match(heard.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/, 'one 100, one answer')
  t.match(origin.received[0], /\r\n\r\nhello$/)
})

t.test('an HTTP/2 client gets 100 only after the VM said so', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, answerWhenWhole)
  await edge.route(HOST, origin.port)
  const call = h2Call(await edge.h2(HOST), H2_HEAD, { hasBody: true })
  let continues = 0
  call.stream.on('continue', () => {
    continues += 1
  })
  await until(() => origin.received[0]?.endsWith('\r\n\r\n') === true, 'the head reaches the VM')
  t.equal(continues, 0)
  origin.sockets[0]?.write(CONTINUE)
  await until(() => continues === 1, 'the 100')
  call.stream.end('hello')
  t.match(await call.closed, { status: 200, body: 'done', resetCode: 0 })
  t.equal(continues, 1)
})

t.test('a VM that refuses gets none of the body, and what follows it is no second request', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket, received) => {
    if (received.endsWith('\r\n\r\n')) socket.write(REFUSED)
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(HEAD)
  await heard.has('big')
  t.match(heard.text, /^HTTP\/1\.1 413 /, 'no 100 before it')
  // RFC 9110 section 10.1.1 lets the client send its body all the same.
  socket.write(`helloGET /second HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await until(() => heard.isEnded || heard.text.split('HTTP/1.1').length > 2, 'the end or the next answer')
  t.notMatch(origin.received.join(''), /hello/, 'the VM got no byte of the body')
  t.ok(origin.received.length <= 2)
})

t.test('a client that keeps its body to itself after a refusal does not hold the connection', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket) => void socket.write(REFUSED))
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(HEAD)
  await heard.has('big')
  // The edge cannot know whether the next byte is body or request.
  await heard.ends(3_000)
  t.equal(heard.text.split('HTTP/1.1').length, 2, 'one answer')
})

t.test('a VM that refuses an HTTP/2 body gets none of it, and the session goes on', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket, received) => {
    if (received.endsWith('\r\n\r\n')) socket.write(REFUSED)
  })
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const call = h2Call(session, H2_HEAD, { hasBody: true })
  t.match(await call.closed, { status: 413, body: 'big', resetCode: 0 })
  t.match(await h2Call(session, { ':path': '/next' }).closed, { status: 413, body: 'big' })
  t.notMatch(origin.received.join(''), /hello/)
})

t.test('a VM that ignores Expect gets the body after a while', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, answerWhenWhole)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(HEAD)
  await heard.has('HTTP/1.1 100 ')
  socket.write('hello')
  await heard.has('done')
  t.match(origin.received[0], /\r\n\r\nhello$/)
})

t.test('a client that does not wait for the 100 is served', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket, received) => {
    if (received.endsWith('\r\n\r\n')) socket.write(CONTINUE)
    answerWhenWhole(socket, received)
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`${HEAD}hello`)
  await heard.has('done')
  t.match(origin.received[0], /\r\n\r\nhello$/)
})

t.test('an expectation without a body, or from HTTP/1.0, makes nobody wait', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket) => void socket.write(DONE))
  await edge.route(HOST, origin.port)
  const cases = [
    `GET / HTTP/1.1\r\nHost: ${HOST}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`,
    `POST / HTTP/1.0\r\nHost: ${HOST}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello`,
  ]
  for (const request of cases) {
    const socket = await edge.dial(HOST)
    const heard = transcriptOf(socket)
    socket.write(request)
    await heard.has('done')
    t.match(heard.text, /^HTTP\/1\.1 200 /, request.split('\r\n')[0] ?? '')
  }
})

t.test('another expectation is refused with 417', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket) => void socket.write(DONE))
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nExpect: a-miracle\r\n\r\n`)
  await heard.has('request_expectation')
  t.match(heard.text, /^HTTP\/1\.1 417 /)
  t.same(origin.received, [])
})

function answerWhenWhole(socket: { write(text: string): unknown }, received: string): void {
  if (received.endsWith('\r\n\r\nhello')) socket.write(DONE)
}
