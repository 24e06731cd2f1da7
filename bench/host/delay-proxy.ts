/** A network that is far away, on loopback: a TCP proxy that holds back all bytes for the same time, each way. */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { BenchError } from '../frame/benchmark.ts'
import { findFreePorts } from '../frame/free-ports.ts'

export interface DelaySettings {
  readonly targetPort: number
  readonly oneWayMs: number
}

export interface DelayProxy extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number
  /** Sent so far by those who connected. */
  countBytes(): Promise<number>
}

/** What the thread is started with. */
export interface DelayInput extends DelaySettings {
  readonly port: number
}

const MESSAGE = Buffer.alloc(28)

/** In a thread of its own, which spins while bytes are on their way: timers of Node have steps of 1 ms. */
export async function startDelayProxy(settings: DelaySettings): Promise<DelayProxy> {
  const [port = 0] = await findFreePorts(1)
  const input: DelayInput = { ...settings, port }
  const worker = new Worker(fileURLToPath(new URL('delay-thread.ts', import.meta.url)), { workerData: input })
  await once(worker, 'message')
  return {
    port,
    async countBytes() {
      worker.postMessage('count')
      const [bytes] = await once(worker, 'message')
      return Number(bytes)
    },
    [Symbol.asyncDispose]: async () => void (await worker.terminate()),
  }
}

/** Milliseconds from a message as long as an NBD request to its echo, of each round. @throws BenchError when it is another */
export async function measureRoundTrips(oneWayMs: number, rounds: number): Promise<number[]> {
  await using echo = createServer((socket) => socket.setNoDelay(true).pipe(socket)).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const address = echo.address()
  const targetPort = typeof address === 'object' && address !== null ? address.port : 0
  await using proxy = await startDelayProxy({ targetPort, oneWayMs })
  const socket = connect({ port: proxy.port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const times: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now()
    socket.write(MESSAGE)
    const [answer] = await once(socket, 'data')
    times.push(performance.now() - startedAt)
    if (!MESSAGE.equals(answer as Buffer)) throw new BenchError('the delaying proxy changed a message')
  }
  socket.destroy()
  return times
}
