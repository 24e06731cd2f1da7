/** A tunnel holds no more than its buffers, whichever end stops reading and whichever version the client speaks. */

import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { until } from '../helpers/until.ts'
import { BINARY, clientFrame } from '../helpers/ws-frames.ts'
import { wsOriginFor } from '../helpers/ws-origin.ts'
import { openWsOverH2 } from '../helpers/ws-over-h2.ts'

const HOST = 'app.localhost'
const MESSAGE = Buffer.alloc(65_536)
const MESSAGES = 1_024
/** The kernel's socket buffers on the two loopback connections, a few MiB each, and a little of ours. */
const MOST_HELD = 32 * 1_048_576

for (const version of ['h1', 'h2'] as const) {
  t.test(`a client that stops reading over ${version} stops the VM`, async (t) => {
    const edge = await edgeFor(t)
    const origin = await wsOriginFor(t, () => {})
    await edge.route(HOST, origin.port)
    const client = await openFor(t, edge, version)
    client.pause()
    const [inside] = origin.sockets
    for (let count = 0; count < MESSAGES; count += 1) inside?.send(MESSAGE)
    const held = await stillAt(() => MESSAGES * MESSAGE.length - (inside?.bufferedAmount ?? 0))
    t.ok(held < MOST_HELD, `the VM could send ${held >> 20} MiB`)
    client.resume()
    await until(() => inside?.bufferedAmount === 0, 'all of it is taken once the client reads', 30_000)
  })

  t.test(`a VM that stops reading stops a client over ${version}`, async (t) => {
    const edge = await edgeFor(t)
    let received = 0
    const origin = await wsOriginFor(t, (socket) => {
      socket.pause()
      socket.on('message', () => {
        received += 1
      })
    })
    await edge.route(HOST, origin.port)
    const client = await openFor(t, edge, version)
    for (let count = 0; count < MESSAGES; count += 1) client.send()
    const held = await stillAt(() => MESSAGES * MESSAGE.length - client.buffered())
    t.ok(held < MOST_HELD, `the client could send ${held >> 20} MiB`)
    origin.sockets[0]?.resume()
    await until(() => received === MESSAGES, 'all of it arrives once the VM reads', 30_000)
  })
}

/** Waits until `value` has not changed for a while, and returns it. */
async function stillAt(value: () => number): Promise<number> {
  let last = value()
  let since = performance.now()
  await until(() => {
    if (value() !== last) since = performance.now()
    last = value()
    return performance.now() - since > 700
  }, 'the sender is held up')
  return last
}

interface Client {
  pause(): void
  resume(): void
  /** Sends one `MESSAGE`. */
  send(): void
  /** Bytes that were sent and have not left. */
  buffered(): number
}

async function openFor(t: Test, edge: TestEdge, version: 'h1' | 'h2'): Promise<Client> {
  if (version === 'h2') {
    const { stream } = await openWsOverH2(t, await edge.h2(HOST))
    return clientOf(stream)
  }
  const options = { ca: edge.ca, servername: HOST, headers: { host: HOST }, perMessageDeflate: false }
  const socket = new WebSocket(`wss://127.0.0.1:${edge.httpsPort}/`, options)
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  return {
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    send: () => socket.send(MESSAGE),
    buffered: () => socket.bufferedAmount,
  }
}

function clientOf(stream: Duplex): Client {
  return {
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    send: () => void stream.write(clientFrame(BINARY, MESSAGE)),
    buffered: () => stream.writableLength,
  }
}
