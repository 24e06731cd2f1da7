/** Clients that are old, say goodbye early, or ask for several things at once. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { originFor, rawOriginFor } from '../helpers/origin.ts'
import { exchange } from '../helpers/raw-client.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const get = (path: string, fields = '') => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${fields}\r\n`

t.test('an HTTP/1.0 client gets a chunked answer as bytes up to the end of the connection', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (_request, response) => {
    response.write('one ')
    response.end('two')
  })
  await edge.route(HOST, origin.port)
  const answer = await exchange(await edge.dial(HOST), `GET / HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`)
  t.match(answer, { status: 200, body: 'one two' })
  t.equal(answer.headers['transfer-encoding'], undefined)
  t.equal(origin.requests[0]?.httpVersion, '1.1', 'to the VM the edge speaks its own version')
})

t.test('an HTTP/1.0 client that asks for it keeps its connection', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  const request = `GET / HTTP/1.0\r\nHost: ${HOST}\r\nConnection: keep-alive\r\n\r\n`
  socket.write(request)
  await heard.has('hello')
  t.match(heard.text, /\r\nconnection: keep-alive\r\n/i)
  socket.write(request)
  await until(() => heard.text.split('hello').length === 3, 'the second answer')
})

t.test('a client that closes its sending side still gets a prompt answer, plain and over TLS', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (_request, response) => {
    setTimeout(() => response.end('late but here'), 100)
  })
  await edge.route(HOST, origin.port)
  for (const socket of [await edge.dialPlain(), await edge.dial(HOST)]) {
    const heard = transcriptOf(socket)
    socket.end(get('/'))
    await heard.has('late but here')
    await heard.ends()
  }
})

t.test('a client that closes its sending side after an upload still gets its answer', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (request, response) => {
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    request.on('end', () => response.end(`got ${bytes}`))
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dialPlain()
  const heard = transcriptOf(socket)
  socket.write(`PUT / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 300000\r\n\r\n`)
  socket.end(Buffer.alloc(300_000))
  await heard.has('got 300000')
})

t.test('a client that closes its sending side gets a long answer whole', async (t) => {
  const edge = await edgeFor(t)
  const size = 32 * 1_048_576
  const origin = await originFor(t, (_request, response) => response.end(Buffer.alloc(size, 'x')))
  await edge.route(HOST, origin.port)
  const socket = await edge.dialPlain()
  const heard = { bytes: 0, isEnded: false }
  socket.on('end', () => {
    heard.isEnded = true
  })
  socket.end(get('/'))
  // Slowly enough that the answer takes longer than the edge waits for a client that is gone.
  socket.on('data', (chunk: Buffer) => {
    heard.bytes += chunk.length
    socket.pause()
    setTimeout(() => socket.resume(), 4)
  })
  await until(() => heard.isEnded, 'the end')
  t.ok(heard.bytes > size, `${heard.bytes} bytes came`)
})

t.test('pipelined requests are answered in their order, whichever the VM finishes first', async (t) => {
  const edge = await edgeFor(t)
  const finished: string[] = []
  const origin = await originFor(t, (request, response) => {
    const finish = () => {
      finished.push(request.url ?? '')
      response.end(`answer to ${request.url};${'.'.repeat(200_000)}`)
    }
    setTimeout(finish, request.url === '/1' ? 200 : 0)
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(get('/1') + get('/2') + get('/3', 'Connection: close\r\n'))
  await heard.ends()
  t.same(heard.text.match(/answer to [^;]+/g), ['answer to /1', 'answer to /2', 'answer to /3'])
  t.equal(heard.text.split('.'.repeat(200_000)).length, 4, 'each body is whole')
})

t.test('a request pipelined behind a body is not taken for a part of it', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, answerWithBody)
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  const post = `POST /1 HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 5\r\n\r\nhello`
  const chunked = `POST /2 HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n`
  socket.write(post + chunked + get('/3', 'Connection: close\r\n'))
  await heard.ends()
  t.same(heard.text.match(/\[.*?\]/g), ['[/1 hello]', '[/2 world]', '[/3 ]'])
})

t.test('a refusal in the middle of a pipeline comes in its place', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (request, response) => {
    setTimeout(() => response.end(`[${request.url}]`), 50)
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  const refused = `GET /2 HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n`
  socket.write(get('/1') + refused + get('/3', 'Connection: close\r\n'))
  await heard.ends()
  t.same(heard.text.match(/HTTP\/1\.1 \d+|\[.*?\]/g), [
    'HTTP/1.1 200',
    '[/1]',
    'HTTP/1.1 421',
    'HTTP/1.1 200',
    '[/3]',
  ])
})

t.test(
  'a connection that stays open serves one request after the other from one VM connection',
  async (t) => {
    const edge = await edgeFor(t)
    const origin = await rawOriginFor(t, (socket, received) => {
      if (received.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
    await edge.route(HOST, origin.port)
    const socket = await edge.dial(HOST)
    const heard = transcriptOf(socket)
    for (let count = 1; count <= 5; count += 1) {
      socket.write(get(`/${count}`))
      await until(() => heard.text.split('\r\n\r\nok').length === count + 1, `answer ${count}`)
    }
    t.equal(origin.sockets.length, 1)
    t.equal(origin.received[0]?.match(/GET \/\d/g)?.length, 5)
  },
)

function answerWithBody(request: IncomingMessage, response: ServerResponse): void {
  let body = ''
  request.on('data', (chunk: Buffer) => {
    body += chunk.toString('latin1')
  })
  request.on('end', () => response.end(`[${request.url} ${body}]`))
}
