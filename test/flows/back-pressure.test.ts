/** Whoever does not read holds up whoever writes: the edge keeps no more than its buffers, in either direction. */

import { once } from 'node:events'
import type { Duplex, Writable } from 'node:stream'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const TOTAL = 96 * 1_048_576
/** The kernel's socket buffers on the two loopback connections, a few MiB each, and a little of ours. */
const MOST_HELD = 32 * 1_048_576
const BLOCK = Buffer.alloc(65_536)

type Version = 'h1' | 'h2'

for (const version of ['h1', 'h2'] as const) {
  t.test(`a client that stops reading over ${version} stops the VM`, async (t) => {
    const edge = await edgeFor(t)
    const sent = { bytes: 0 }
    const origin = await originFor(t, (_request, response) => {
      response.writeHead(200, { 'content-length': TOTAL })
      write(response, sent).catch(() => {})
    })
    await edge.route(HOST, origin.port)
    const client = await openDownload(t, edge, version)
    await isStill(sent)
    t.ok(sent.bytes < MOST_HELD, `the VM could send ${sent.bytes >> 20} MiB`)
    t.ok(sent.bytes > 0)
    let received = 0
    client.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    await until(() => received >= TOTAL, 'all of it comes once the client reads again', 30_000)
  })

  t.test(`a VM that stops reading stops a client over ${version}`, async (t) => {
    const edge = await edgeFor(t)
    const gate = Promise.withResolvers<void>()
    const origin = await originFor(t, (request, response) => {
      let received = 0
      gate.promise.then(() => request.on('data', (chunk: Buffer) => (received += chunk.length)), t.fail)
      request.on('end', () => response.end(`got ${received}`))
    })
    await edge.route(HOST, origin.port)
    const sent = { bytes: 0 }
    const client = await openUpload(t, edge, version)
    let answer = ''
    client.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1')
    })
    const writing = write(client, sent, version === 'h1' ? 'stays open' : 'ends')
    await isStill(sent)
    t.ok(sent.bytes < MOST_HELD, `the client could send ${sent.bytes >> 20} MiB`)
    gate.resolve()
    await writing
    await until(() => answer.includes(`got ${TOTAL}`), 'all of it reaches the VM once it reads', 30_000)
  })
}

/** Writes `TOTAL` bytes as fast as they are taken, counting what was. */
async function write(to: Writable, sent: { bytes: number }, then = 'ends'): Promise<void> {
  while (sent.bytes < TOTAL) {
    const hasRoom = to.write(BLOCK)
    if (!hasRoom) await once(to, 'drain')
    sent.bytes += BLOCK.length
  }
  if (then === 'ends') to.end()
}

/** Waits until nothing has moved for a while. */
async function isStill(sent: { readonly bytes: number }): Promise<void> {
  let last = -1
  let since = performance.now()
  await until(() => {
    if (sent.bytes !== last) since = performance.now()
    last = sent.bytes
    return performance.now() - since > 700
  }, 'the writer is held up')
}

async function openDownload(t: Test, edge: TestEdge, version: Version): Promise<Duplex> {
  if (version === 'h2') {
    const stream = (await edge.h2(HOST)).request({ ':path': '/' })
    t.teardown(() => stream.destroy())
    await once(stream, 'response')
    return stream
  }
  const socket = await edge.dial(HOST)
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await once(socket, 'readable')
  return socket
}

async function openUpload(t: Test, edge: TestEdge, version: Version): Promise<Duplex> {
  if (version === 'h2') {
    const session = await edge.h2(HOST)
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false })
    t.teardown(() => stream.destroy())
    return stream
  }
  const socket = await edge.dial(HOST)
  socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${TOTAL}\r\n\r\n`)
  return socket
}
