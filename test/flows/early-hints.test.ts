/** Informational responses: 103 and its like are relayed as they come; what a client cannot take is kept from it. */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const HINT = 'HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n'
const PROCESSING = 'HTTP/1.1 102 Processing\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n'
const FINAL = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

t.test('a 103 reaches an HTTP/1.1 client before the VM has the final answer', async (t) => {
  const edge = await edgeFor(t)
  const origin = await hintOriginFor(t)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await heard.has('rel=preload\r\n\r\n')
  t.match(heard.text, /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/style\.css>; rel=preload\r\n\r\n$/i)
  origin.sockets[0]?.write(PROCESSING)
  await heard.has('HTTP/1.1 102 Processing\r\n')
  t.notMatch(heard.text, /x-hop/i, 'hop-by-hop fields are taken out here as well')
  origin.sockets[0]?.write(FINAL)
  await heard.has('hello')
  t.equal(heard.text.match(/HTTP\/1\.1 \d+/g)?.join(), 'HTTP/1.1 103,HTTP/1.1 102,HTTP/1.1 200')
})

t.test('a 103 reaches an HTTP/2 client before the VM has the final answer', async (t) => {
  const edge = await edgeFor(t)
  const origin = await hintOriginFor(t)
  await edge.route(HOST, origin.port)
  const call = h2Call(await edge.h2(HOST), { ':path': '/' })
  await until(() => call.answer.informed.length === 1, 'the 103')
  t.match(call.answer.informed[0], { ':status': '103', link: '</style.css>; rel=preload' })
  origin.sockets[0]?.write(PROCESSING)
  await until(() => call.answer.informed.length === 2, 'the 102')
  origin.sockets[0]?.write(FINAL)
  t.match(await call.closed, { status: 200, body: 'hello', resetCode: 0 })
})

t.test('informational and final response in one packet both arrive', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket) => void socket.write(HINT + HINT + FINAL))
  await edge.route(HOST, origin.port)
  const isDone = (text: string) => text.endsWith('hello')
  const answer = await exchange(await edge.dial(HOST), `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, isDone)
  t.equal(answer.text.match(/HTTP\/1\.1 \d+/g)?.join(), 'HTTP/1.1 103,HTTP/1.1 103,HTTP/1.1 200')
  const call = h2Call(await edge.h2(HOST), { ':path': '/' })
  t.match(await call.closed, { status: 200, body: 'hello', informed: [{}, {}] })
})

t.test('an HTTP/1.0 client gets no informational response', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket) => void socket.write(HINT + FINAL))
  await edge.route(HOST, origin.port)
  const answer = await exchange(await edge.dial(HOST), `GET / HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`)
  // RFC 9110 section 15.2.
  t.match(answer, { status: 200, body: 'hello' })
  t.notMatch(answer.text, /HTTP\/1\.\d 103/)
})

t.test('a 100 that nobody asked for does not become the answer', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket) => void socket.write(`HTTP/1.1 100 Continue\r\n\r\n${FINAL}`))
  await edge.route(HOST, origin.port)
  const request = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
  t.match(await exchange(await edge.dial(HOST), request, isWhole), { status: 200, body: 'hello' })
  t.match(await h2Call(await edge.h2(HOST), { ':path': '/' }).closed, { status: 200, body: 'hello' })
})

/** Sends a 103 for each request; the test sends the rest. */
async function hintOriginFor(t: Parameters<typeof rawOriginFor>[0]) {
  return rawOriginFor(t, (socket) => void socket.write(HINT))
}
