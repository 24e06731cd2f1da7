/** What an edge meters of each pool: requests and bytes of its VMs' answers, as they go out, over every protocol. */

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange } from '../helpers/raw-client.ts'
import { putTestRoute } from '../helpers/route.ts'
import { scriptedVmFor, VM_OK } from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'
import { TEXT } from '../helpers/ws-frames.ts'
import { wsOriginFor } from '../helpers/ws-origin.ts'
import { openWsOverH2 } from '../helpers/ws-over-h2.ts'

const HOST = 'app.localhost'
const POOL = 'web'
const MIB = 1_048_576
/** The shortest that a setting allows. */
const FLUSH_MS = 1_000

interface Metered {
  readonly requests: number
  readonly egressBytes: number
}

interface MeteredEdge extends TestEdge {
  /** What is in the store by now. */
  used(pool?: string): Promise<Metered>
  /** Waits until the store has as many requests, and says what it has then. */
  uses(requests: number): Promise<Metered>
  /** Ends the edge, which writes all that it counted. */
  ends(): Promise<Metered>
}

async function meteredEdgeFor(
  t: Test,
  upstream: number,
  pool: string | undefined = POOL,
): Promise<MeteredEdge> {
  const edge = await edgeFor(t, {
    LANDFALL_USAGE_FLUSH_MS: String(FLUSH_MS),
    LANDFALL_CONNECT_TIMEOUT_MS: '500',
  })
  await edge.route('ready.localhost', upstream)
  await putTestRoute(edge.store, {
    hostname: HOST,
    visibility: 'public',
    upstream: { host: '127.0.0.1', port: upstream },
    ...(pool !== '' && { pool }),
  })
  await edge.route('ready.localhost', upstream)
  const used = async (name = POOL) => {
    const { documents } = await edge.store.list(`usage/${name}/`)
    const counts = documents.map(({ value }) => value.counts as Metered)
    return {
      requests: counts.reduce((sum, { requests }) => sum + requests, 0),
      egressBytes: counts.reduce((sum, { egressBytes }) => sum + egressBytes, 0),
    }
  }
  const uses = async (requests: number) => {
    await until(async () => (await used()).requests >= requests, `${requests} requests in the store`)
    return used()
  }
  const ends = async () => {
    await edge[Symbol.asyncDispose]()
    return used()
  }
  return { ...edge, used, uses, ends }
}

/** Of a raw answer as it was sent: without the fields that belong to the connection and not to the answer. */
function headBytesOf(text: string): number {
  const end = text.indexOf('\r\n\r\n')
  const lines = text
    .slice(0, end)
    .split('\r\n')
    .filter((line) => !/^(connection|keep-alive|transfer-encoding):/i.test(line))
  return lines.join('\r\n').length + 4
}

/** A VM that sends none gets one from Node, which is not counted. */
const DATE = 'date: Sun, 01 Mar 2026 12:00:00 GMT'
const GET = `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`

t.test('counts a request, and its head and body to the byte', async (t) => {
  const vm = await scriptedVmFor(
    t,
    `HTTP/1.1 201 Made it\r\n${DATE}\r\nx-color: blue\r\ncontent-length: 5\r\n\r\nhello`,
  )
  const edge = await meteredEdgeFor(t, vm.port)
  const { text } = await exchange(await edge.dialPlain(), GET)
  t.strictSame(await edge.ends(), { requests: 1, egressBytes: headBytesOf(text) + 5 })
})

t.test('an answer with hints and trailers costs the same over HTTP/1.1 and HTTP/2', async (t) => {
  const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n'
  const head = `HTTP/1.1 200 OK\r\n${DATE}\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n`
  const vm = await scriptedVmFor(t, `${hints}${head}7\r\nchunked\r\n0\r\nx-sum: 1\r\n\r\n`)
  const edge = await meteredEdgeFor(t, vm.port)
  const { text } = await exchange(await edge.dialPlain(), GET)
  t.ok(text.startsWith(hints))
  const first = await edge.uses(1)
  const egressBytes = hints.length + headBytesOf(text.slice(hints.length)) + 'chunkedx-sum: 1\r\n'.length
  t.strictSame(first, { requests: 1, egressBytes })
  await h2Exchange(await edge.h2(HOST), { ':path': '/', ':authority': HOST, ':scheme': 'https' })
  t.strictSame(await edge.ends(), { requests: 2, egressBytes: 2 * egressBytes })
})

t.test('what an HTTP/1.0 client cannot be told is not counted', async (t) => {
  const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n'
  const vm = await scriptedVmFor(t, `${hints}HTTP/1.1 200 OK\r\n${DATE}\r\ncontent-length: 2\r\n\r\nok`)
  const edge = await meteredEdgeFor(t, vm.port)
  const { text } = await exchange(await edge.dialPlain(), GET.replace('HTTP/1.1', 'HTTP/1.0'))
  t.strictSame(await edge.ends(), { requests: 1, egressBytes: headBytesOf(text) + 2 })
})

for (const way of ['h1', 'h2'] as const) {
  t.test(`counts a download of 50 MB over ${way}`, async (t) => {
    const bytes = 50_000_000
    const origin = await originFor(t, (_request, response) => {
      response.setHeader('content-length', bytes)
      response.end(Buffer.alloc(bytes, 'x'))
    })
    const edge = await meteredEdgeFor(t, origin.port)
    t.equal(await download(edge, way), bytes)
    const { requests, egressBytes } = await edge.ends()
    t.equal(requests, 1)
    const head = egressBytes - bytes
    t.ok(head > 50 && head < 500, `a head of ${head} bytes`)
  })
}

async function download(edge: TestEdge, way: 'h1' | 'h2'): Promise<number> {
  let got = 0
  if (way === 'h2') {
    const stream = (await edge.h2(HOST)).request({ ':path': '/', ':authority': HOST })
    for await (const chunk of stream) got += (chunk as Buffer).length
    return got
  }
  const socket = await edge.dial(HOST)
  socket.write(GET)
  let head = 0
  for await (const chunk of socket) {
    if (head === 0) head = (chunk as Buffer).indexOf('\r\n\r\n') + 4
    got += (chunk as Buffer).length
  }
  return got - head
}

t.test('HEAD and 304 cost their heads', async (t) => {
  const origin = await originFor(t, (request, response) => {
    if (request.method === 'HEAD') response.setHeader('content-length', 10 * MIB)
    else response.statusCode = 304
    response.end()
  })
  const edge = await meteredEdgeFor(t, origin.port)
  const head = await exchange(await edge.dialPlain(), GET.replace('GET', 'HEAD'))
  const notModified = await exchange(await edge.dialPlain(), GET)
  t.strictSame([head.status, notModified.status], [200, 304])
  const egressBytes = headBytesOf(head.text) + headBytesOf(notModified.text)
  t.strictSame(await edge.ends(), { requests: 2, egressBytes })
})

t.test('an answer that goes on is counted as it goes', async (t) => {
  const answers: ServerResponse[] = []
  const origin = await originFor(t, (_request, response) => {
    answers.push(response)
    response.write('x'.repeat(100_000))
  })
  const edge = await meteredEdgeFor(t, origin.port)
  const socket = await edge.dialPlain()
  socket.resume()
  socket.write(GET)
  const first = await edge.uses(1)
  await until(async () => (await edge.used()).egressBytes >= 100_000, 'the first bytes')
  answers[0]?.write('x'.repeat(50_000))
  await until(async () => (await edge.used()).egressBytes >= 150_000, 'more bytes while the answer is open')
  t.equal(first.requests, 1)
  t.equal((await edge.used()).requests, 1)
  t.notOk(socket.destroyed)
})

t.test('a WebSocket that stays open is counted as it talks', async (t) => {
  const edge = await meteredEdgeFor(t, (await wsOriginFor(t)).port)
  const options = { ca: edge.ca, servername: HOST, headers: { host: HOST }, perMessageDeflate: false }
  const socket = new WebSocket(`wss://127.0.0.1:${edge.httpsPort}/`, options)
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  const { egressBytes: handshake } = await edge.uses(1)
  t.ok(handshake > 100 && handshake < 1_000, `a handshake of ${handshake} bytes`)
  socket.send(Buffer.alloc(300_000))
  await once(socket, 'message')
  // A frame of this size has a head of ten bytes (RFC 6455 section 5.2); what the client sends is not counted.
  await until(async () => (await edge.used()).egressBytes >= handshake + 300_010, 'the echo is in the store')
  t.strictSame(await edge.used(), { requests: 1, egressBytes: handshake + 300_010 })
  t.equal(socket.readyState, WebSocket.OPEN)
})

t.test('a WebSocket over HTTP/2 as well', async (t) => {
  const edge = await meteredEdgeFor(t, (await wsOriginFor(t)).port)
  const socket = await openWsOverH2(t, await edge.h2(HOST), { ':authority': HOST })
  const { egressBytes: handshake } = await edge.uses(1)
  socket.send(TEXT, 'x'.repeat(1_000))
  await until(() => socket.messages.length === 1, 'the echo')
  await until(async () => (await edge.used()).egressBytes > handshake, 'the echo is in the store')
  t.strictSame(await edge.used(), { requests: 1, egressBytes: handshake + 1_004 })
})

t.test('of a client that leaves in the middle only what was sent is counted', async (t) => {
  const origin = await originFor(t, (_request, response) => {
    response.setHeader('content-length', 50 * MIB)
    response.write(Buffer.alloc(MIB))
  })
  const edge = await meteredEdgeFor(t, origin.port)
  const socket = await edge.dialPlain()
  const heard = transcriptOf(socket)
  socket.write(GET)
  await until(() => heard.text.length > MIB, 'a MiB and the head')
  await until(() => heard.text.length === headLength(heard.text) + MIB, 'all that was sent')
  socket.destroy()
  await until(() => edge.accessLog.length === 1, 'the end of the exchange')
  t.strictSame(await edge.ends(), { requests: 1, egressBytes: headBytesOf(heard.text) + MIB })
})

function headLength(text: string): number {
  return text.indexOf('\r\n\r\n') + 4
}

t.test('of a client that reads nothing and leaves only what the connection took is counted', async (t) => {
  const bytes = 200 * MIB
  const origin = await originFor(t, (_request, response) => {
    response.setHeader('content-length', bytes)
    response.end(Buffer.alloc(bytes))
  })
  const edge = await meteredEdgeFor(t, origin.port)
  const socket = await edge.dialPlain()
  socket.pause()
  socket.write(GET)
  const held = await edge.uses(1)
  socket.destroy()
  await until(() => edge.accessLog.length === 1, 'the end of the exchange')
  const { egressBytes } = await edge.ends()
  t.ok(egressBytes < 20 * MIB, `${egressBytes} bytes, ${held.egressBytes} before`)
})

t.test('what the edge answers itself costs nothing', async (t) => {
  const vm = await scriptedVmFor(t, (socket) => socket.destroy())
  const edge = await meteredEdgeFor(t, vm.port)
  await putTestRoute(edge.store, {
    hostname: 'private.localhost',
    pool: POOL,
    upstream: { host: '127.0.0.1', port: vm.port },
  })
  await putTestRoute(edge.store, {
    hostname: 'off.localhost',
    pool: POOL,
    upstream: { host: '127.0.0.1', port: vm.port },
    visibility: 'public',
    state: 'stopped',
  })
  await edge.route('ready.localhost', vm.port)
  const ask = async (host: string, path = '/') =>
    (await exchange(await edge.dialPlain(), GET.replace(HOST, host).replace('/ ', `${path} `))).status
  t.equal(await ask(HOST), 502)
  t.equal(await ask('private.localhost'), 401)
  t.equal(await ask('off.localhost'), 503)
  t.equal(await ask('nobody.localhost'), 404)
  t.equal(await ask(HOST, '/.landfall/errors'), 200)
  t.strictSame(await edge.ends(), { requests: 0, egressBytes: 0 })
})

t.test('a route without a pool is not metered, nor is the admin API', async (t) => {
  const vm = await scriptedVmFor(t, VM_OK)
  const edge = await meteredEdgeFor(t, vm.port, '')
  t.equal((await exchange(await edge.dialPlain(), GET)).status, 200)
  const admin = GET.replace(HOST, 'admin.localhost').replace('/ ', '/v1/openapi.json ')
  t.equal((await exchange(await edge.dialPlain(), admin)).status, 200)
  await edge.ends()
  t.strictSame((await edge.store.list('usage/')).documents, [])
})

t.test('the end of an edge writes what is not written yet', async (t) => {
  const vm = await scriptedVmFor(t, VM_OK)
  const edge = await meteredEdgeFor(t, vm.port)
  for (let n = 0; n < 10; n += 1) await exchange(await edge.dialPlain(), GET)
  t.equal((await edge.ends()).requests, 10)
})
