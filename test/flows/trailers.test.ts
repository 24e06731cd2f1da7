/** Trailers pass in both directions and over both versions; fields that must not stand in a trailer do not. */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const HEAD = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Grpc-Status\r\n\r\n'
const BODY = '5\r\nhello\r\n'
/** The last three would frame, route or authenticate (RFC 9110 section 6.5.1). */
const TRAILERS = [
  'X-Sum: 5d41402a',
  'Grpc-Status: 0',
  'Content-Type: text/x',
  'Set-Cookie: a=b',
  'X-Landfall-User: root',
]
/** What a client may send; a length among the trailers makes a request that is refused. */
const REQUEST_TRAILERS = TRAILERS.filter((line) => !line.startsWith('Content-Length'))
const LAST = `0\r\n${TRAILERS.join('\r\n')}\r\n\r\n`

t.test('response trailers reach an HTTP/1.1 client', async (t) => {
  const edge = await edgeFor(t)
  await edge.route(HOST, await answerPortFor(t))
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nTE: trailers\r\nConnection: TE\r\n\r\n`)
  await heard.has('grpc-status: 0\r\n')
  const [head = '', body = ''] = heard.text.split(/\r\n\r\n/, 2)
  t.match(head, /\r\ntrailer: X-Sum, Grpc-Status/i, 'announced as the VM did')
  t.match(body, /^5\r\nhello\r\n0\r\nx-sum: 5d41402a\r\ngrpc-status: 0$/)
  t.notMatch(heard.text, /content-type: text\/x|set-cookie|x-landfall-user/i)
})

t.test('response trailers reach an HTTP/2 client', async (t) => {
  const edge = await edgeFor(t)
  await edge.route(HOST, await answerPortFor(t))
  const answer = await h2Exchange(await edge.h2(HOST), { ':path': '/', te: 'trailers' })
  t.match(answer, { status: 200, body: 'hello', resetCode: 0 })
  t.same(answer.trailers, { 'x-sum': '5d41402a', 'grpc-status': '0' })
})

t.test('a chunked answer without trailers ends well over HTTP/2', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket, received) => {
    if (received.endsWith('\r\n\r\n'))
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${BODY}0\r\n\r\n`)
  })
  await edge.route(HOST, origin.port)
  const answer = await h2Exchange(await edge.h2(HOST), { ':path': '/' })
  t.match(answer, { status: 200, body: 'hello', resetCode: 0 })
  t.same(answer.trailers, {})
})

t.test('request trailers reach the VM from an HTTP/1.1 client', async (t) => {
  const edge = await edgeFor(t)
  const origin = await readerFor(t)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  const fields = 'Transfer-Encoding: chunked\r\nTrailer: X-Sum'
  socket.write(
    `POST / HTTP/1.1\r\nHost: ${HOST}\r\n${fields}\r\n\r\n${BODY}0\r\n${REQUEST_TRAILERS.join('\r\n')}\r\n\r\n`,
  )
  await heard.has('read')
  t.match(origin.received[0], /\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 5d41402a\r\ngrpc-status: 0\r\n\r\n$/)
})

t.test('request trailers reach the VM from an HTTP/2 client', async (t) => {
  const edge = await edgeFor(t)
  const origin = await readerFor(t)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const stream = session.request(
    { ':method': 'POST', ':path': '/' },
    { endStream: false, waitForTrailers: true },
  )
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '5d41402a', 'set-cookie': 'a=b' }))
  stream.end('hello')
  await until(() => /\r\n0\r\n.*\r\n\r\n$/s.test(origin.received[0] ?? ''), 'the end of the request')
  t.match(origin.received[0], /\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 5d41402a\r\n\r\n$/)
})

t.test('a VM learns whether the client takes trailers', async (t) => {
  const edge = await edgeFor(t)
  const origin = await readerFor(t)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  await h2Call(session, { ':path': '/with', te: 'trailers' }).closed
  await h2Call(session, { ':path': '/without' }).closed
  const [, withTe = '', without = ''] = origin.received.join('').split('GET /')
  // RFC 9110 section 10.1.4: TE is for one hop, so Connection has to name it.
  t.match(withTe, /\r\nte: trailers\r\n/i)
  t.match(withTe, /\r\nconnection: te\r\n/i)
  t.notMatch(without, /\r\nte: /i)
})

async function answerPortFor(t: Parameters<typeof rawOriginFor>[0]): Promise<number> {
  const origin = await rawOriginFor(t, (socket, received) => {
    if (received.endsWith('\r\n\r\n')) socket.write(HEAD + BODY + LAST)
  })
  return origin.port
}

/** Reads a whole request, chunked or without a body, and answers. */
async function readerFor(t: Parameters<typeof rawOriginFor>[0]) {
  return rawOriginFor(t, (socket, received) => {
    const isChunked = /transfer-encoding: chunked\r\n/i.test(received)
    const isWhole = isChunked ? /\r\n0\r\n(.+\r\n)*\r\n$/.test(received) : received.endsWith('\r\n\r\n')
    if (isWhole) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread')
  })
}
