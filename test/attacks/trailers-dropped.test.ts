/**
 * gRPC says how a call went in a trailer. A naive proxy deletes request trailers and drops those of the answer, so that no
 * call ends well; and one that hands a VM's Trailer field to Node for an answer that can have none throws. Trailers must
 * pass both ways between all versions.
 */

import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { accessLineFor, HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'

const CHUNKED = `POST / HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status, x-sum\r\n\r\n`
const WITH_TRAILERS =
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status, x-sum\r\n\r\n' +
  '5\r\nhello\r\n0\r\nGrpc-Status: 0\r\nx-sum: a\r\nx-sum: b\r\n\r\n'

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1')
    })
    request.on('end', () => resolve(body))
  })
}

for (const way of ['plain', 'tls', 'h2'] as const) {
  t.test(`request trailers reach the VM over ${way}`, async (t) => {
    const bodies: Promise<string>[] = []
    const origin = await originFor(t, (request, response) => {
      const body = bodyOf(request)
      bodies.push(body)
      void body.then(() => response.setHeader('content-length', 2).end('ok'))
    })
    const edge = await routedEdgeFor(t, origin.port)
    if (way === 'h2') {
      const trailers = { 'grpc-status': '0', 'x-sum': 'a' }
      const ask = { ':method': 'POST', ':path': '/', ':authority': HOST }
      const call = h2Call(await edge.openH2(), ask, { hasBody: true, trailers })
      call.stream.end('hello')
      t.equal((await call.closed).status, 200)
    } else {
      const body = '5\r\nhello\r\n0\r\nGrpc-Status: 0\r\nX-Sum: a\r\n\r\n'
      t.equal((await edge.send(CHUNKED + body, way)).status, 200)
    }
    t.equal(await bodies[0], 'hello')
    t.same({ ...origin.requests[0]?.trailers }, { 'grpc-status': '0', 'x-sum': 'a' })
  })
}

for (const way of ['plain', 'tls'] as const) {
  t.test(`response trailers reach the client over ${way}`, async (t) => {
    const vm = await scriptedVmFor(t, WITH_TRAILERS)
    const edge = await routedEdgeFor(t, vm.port)
    const answer = await edge.send(
      `GET / HTTP/1.1\r\nHost: ${HOST}\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n`,
      way,
    )
    t.equal(answer.status, 200)
    t.match(answer.body.toLowerCase(), /0\r\ngrpc-status: 0\r\nx-sum: a\r\nx-sum: b\r\n\r\n$/)
  })
}

t.test('response trailers reach the client over h2', async (t) => {
  const vm = await scriptedVmFor(t, WITH_TRAILERS)
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST, te: 'trailers' })
  t.match(answer, { status: 200, body: 'hello', resetCode: 0 })
  t.same(answer.trailers['grpc-status'], '0')
  t.match(answer.trailers['x-sum'], /^a, ?b$/)
})

t.test('an answer of trailers only, as gRPC sends for an error, passes', async (t) => {
  const vm = await scriptedVmFor(
    t,
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ngrpc-status: 5\r\ngrpc-message: none\r\n\r\n',
  )
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
  t.match(answer, {
    status: 200,
    body: '',
    resetCode: 0,
    trailers: { 'grpc-status': '5', 'grpc-message': 'none' },
  })
})

t.test('trailers that frame, route or authenticate stop at the edge in both directions', async (t) => {
  const bad = [
    'Host: evil.test',
    'Trailer: x-sum',
    'Via: 1.1 evil',
    'Authorization: Basic x',
    'Set-Cookie: a=b',
    'Connection: close',
    'X-Landfall-User: admin',
  ]
  const lines = `${bad.join('\r\n')}\r\nx-sum: a\r\n\r\n`
  const vm = await scriptedVmFor(
    t,
    `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n${lines}`,
  )
  const edge = await routedEdgeFor(t, vm.port)
  const ask = `${CHUNKED}2\r\nhi\r\n0\r\n${lines}`.replace('POST /', 'POST /x')
  const socket = await edge.open('plain')
  const got = transcriptOf(socket)
  socket.write(ask)
  await got.has('\r\n0\r\nx-sum: a\r\n')
  t.match(got.text, /0\r\nx-sum: a\r\n\r\n$/, 'to the client')
  t.match(vm.requests[0]?.body, /0\r\nx-sum: a\r\n\r\n$/i, 'to the VM')
})

/** A Trailer field is only a hint (RFC 9110 section 6.6.2); an answer that has no trailers may carry it all the same. */
const HINTED = {
  'an answer with a length': {
    answer: 'HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ncontent-length: 5\r\n\r\nhello',
    request: `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
  },
  'an answer to HEAD': {
    answer: 'HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n',
    request: `HEAD / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`,
  },
  'a 304': {
    answer: 'HTTP/1.1 304 Not Modified\r\ntrailer: x-sum\r\n\r\n',
    request: `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`,
  },
  'a chunked answer to HTTP/1.0': {
    answer: WITH_TRAILERS,
    request: `GET / HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`,
  },
}

for (const [name, { answer, request }] of Object.entries(HINTED)) {
  t.test(`a Trailer field in ${name} is no error of the edge`, async (t) => {
    const vm = await scriptedVmFor(t, answer)
    const edge = await routedEdgeFor(t, vm.port)
    const { status, body } = await edge.send(request)
    t.equal(status, name === 'a 304' ? 304 : 200)
    if (request.startsWith('GET') && status === 200) t.equal(body, 'hello')
    t.notOk('error_code' in (await accessLineFor(edge, 1)))
    await edge.checkAlive()
  })
}
