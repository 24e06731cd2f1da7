/**
 * The attacker sends DELETE or OPTIONS with a chunked body that looks like a request. A naive proxy writes
 * `Content-Length: 0` and sends the body all the same, so the VM reads it as a second request that passed no check.
 * The VM must see one request, with the body as its body.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { originFor, rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'

const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
const METHODS = ['DELETE', 'OPTIONS', 'GET', 'POST', 'PATCH', 'PURGE']

/** Says method, path and body of what it took for one request. */
function answerWithBody(request: IncomingMessage, response: ServerResponse): void {
  let body = ''
  request.on('data', (chunk: Buffer) => {
    body += chunk.toString('latin1')
  })
  request.on('end', () => {
    const text = JSON.stringify([request.method, request.url, body])
    response.setHeader('content-length', text.length).end(text)
  })
}

function chunkedRequest(method: string, body: string): string {
  return (
    `${method} /first HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n` +
    `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
  )
}

for (const over of ['plain', 'tls'] as const) {
  t.test(`a chunked body stays the body of its request over ${over}`, async (t) => {
    const origin = await originFor(t, answerWithBody)
    const edge = await routedEdgeFor(t, origin.port)
    for (const method of METHODS) {
      const answer = await edge.send(chunkedRequest(method, SMUGGLED), over)
      t.same(JSON.parse(answer.body), [method, '/first', SMUGGLED], method)
    }
    t.notOk(
      origin.requests.some(({ url }) => url === '/smuggled'),
      'no body became a request',
    )
    t.equal(origin.requests.length, METHODS.length)
  })
}

t.test('a body of unknown length stays the body of its request over HTTP/2', async (t) => {
  const origin = await originFor(t, answerWithBody)
  const edge = await routedEdgeFor(t, origin.port)
  const session = await edge.openH2()
  for (const method of METHODS) {
    const answer = await h2Exchange(
      session,
      { ':method': method, ':path': '/first', ':authority': HOST },
      SMUGGLED,
    )
    t.same(JSON.parse(answer.body), [method, '/first', SMUGGLED], method)
  }
  t.equal(origin.requests.length, METHODS.length)
})

t.test('a Content-Length goes on as it came, also with DELETE', async (t) => {
  const origin = await originFor(t, answerWithBody)
  const edge = await routedEdgeFor(t, origin.port)
  const head = `DELETE /first HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n`
  const answer = await edge.send(head + SMUGGLED)
  t.same(JSON.parse(answer.body), ['DELETE', '/first', SMUGGLED])
  t.equal(origin.requests[0]?.headers['content-length'], String(SMUGGLED.length))
  t.equal(origin.requests.length, 1)
})

t.test('a body that the VM did not wait for never starts the next request', async (t) => {
  const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
  const vm = await rawOriginFor(t, (socket, received) => {
    if (received.endsWith('\r\n\r\n')) socket.write(ok)
  })
  const edge = await routedEdgeFor(t, vm.port)
  const socket = await edge.open('plain')
  const head = `POST /first HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n`
  await exchange(socket, head, isWhole)
  socket.write(SMUGGLED)
  await edge.send(`GET /second HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  t.notMatch(vm.received.join('\n'), /smuggled/)
  t.equal(vm.received.length, 2, 'the connection with the open body was not used again')
})
