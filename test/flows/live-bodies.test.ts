/** Nothing waits for more: events and chunks pass one by one in both directions, over both versions. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const EVENTS = ['data: one\n\n', 'data: two\n\n', 'data: three\n\n']

t.test('an event reaches the client before the VM writes the next, over HTTP/1.1', async (t) => {
  const edge = await edgeFor(t)
  const { port, answered } = await eventOriginFor(t)
  await edge.route(HOST, port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nAccept: text/event-stream\r\n\r\n`)
  const response = await answered
  await heard.has('\r\n\r\n')
  t.match(heard.text, /^HTTP\/1\.1 200 /, 'the head does not wait for a body')
  t.match(heard.text, /content-type: text\/event-stream\r\n/i)
  for (const event of EVENTS) {
    response.write(event)
    await heard.has(event)
  }
  response.end()
  await heard.has('\r\n0\r\n\r\n')
})

t.test('an event reaches the client before the VM writes the next, over HTTP/2', async (t) => {
  const edge = await edgeFor(t)
  const { port, answered } = await eventOriginFor(t)
  await edge.route(HOST, port)
  const call = h2Call(await edge.h2(HOST), { ':path': '/' })
  const response = await answered
  await until(() => call.answer.status === 200, 'the head does not wait for a body')
  let expected = ''
  for (const event of EVENTS) {
    response.write(event)
    expected += event
    await until(() => call.answer.body === expected, `the event ${JSON.stringify(event)}`)
  }
  response.end()
  t.match(await call.closed, { body: EVENTS.join(''), resetCode: 0 })
})

t.test('a chunk of a request reaches the VM and its echo the client before the next, HTTP/1.1', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, echo)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n`)
  for (const word of ['alpha', 'bravo', 'gamma']) {
    socket.write(`5\r\n${word}\r\n`)
    await heard.has(`5\r\n${word}\r\n`)
  }
  socket.write('0\r\n\r\n')
  await heard.has('\r\n0\r\n\r\n')
  t.equal(origin.requests[0]?.headers['transfer-encoding'], 'chunked')
})

t.test('a chunk of a request reaches the VM and its echo the client before the next, HTTP/2', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, echo)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const call = h2Call(session, { ':method': 'POST', ':path': '/' }, { hasBody: true })
  let expected = ''
  for (const word of ['alpha', 'bravo', 'gamma']) {
    call.stream.write(word)
    expected += word
    await until(() => call.answer.body === expected, `the echo of ${word}`)
  }
  call.stream.end()
  t.match(await call.closed, { status: 200, body: 'alphabravogamma', resetCode: 0 })
})

t.test('a length that the client gives is the length that the VM gets, over both versions', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, echo)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 5\r\n\r\nalpha`)
  await heard.has('alpha')
  const session = await edge.h2(HOST)
  const headers = { ':method': 'POST', ':path': '/', 'content-length': '5' }
  const call = h2Call(session, headers, { hasBody: true })
  call.stream.end('bravo')
  t.equal((await call.closed).body, 'bravo')
  const framings = origin.requests.map(({ headers }) => [
    headers['content-length'],
    headers['transfer-encoding'],
  ])
  t.same(framings, [
    ['5', undefined],
    ['5', undefined],
  ])
})

t.test('a body that ends with the VM closing the connection ends well for both versions', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (_request, response) => {
    response.shouldKeepAlive = false
    response.useChunkedEncodingByDefault = false
    response.removeHeader('transfer-encoding')
    response.write('until ')
    response.end('the end')
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await heard.has('the end')
  await heard.has('\r\n0\r\n\r\n')
  const call = h2Call(await edge.h2(HOST), { ':path': '/' })
  t.match(await call.closed, { status: 200, body: 'until the end', resetCode: 0 })
})

function echo(request: IncomingMessage, response: ServerResponse): void {
  response.flushHeaders()
  request.pipe(response)
}

/** Answers the head at once; the test writes the events. */
async function eventOriginFor(t: Parameters<typeof originFor>[0]) {
  const { promise: answered, resolve } = Promise.withResolvers<ServerResponse>()
  const origin = await originFor(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    resolve(response)
  })
  return { port: origin.port, answered }
}
