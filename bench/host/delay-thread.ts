/** The thread of the delaying proxy: what comes in goes out again after its time, in order. */

import { connect, createServer, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import type { DelayInput } from './delay-proxy.ts'

interface Delayed {
  readonly at: number
  readonly go: () => void
}

const { port, targetPort, oneWayMs } = workerData as DelayInput
const queue: Delayed[] = []
let bytes = 0

/** All wait for the same time, so the first one in is the first one out. */
function later(go: () => void): void {
  queue.push({ at: performance.now() + oneWayMs, go })
  if (queue.length === 1) setImmediate(turn)
}

function turn(): void {
  const now = performance.now()
  while (queue[0] !== undefined && queue[0].at <= now) queue.shift()?.go()
  if (queue.length > 0) setImmediate(turn)
}

function join(from: Socket, to: Socket, onBytes: (count: number) => void): void {
  from.setNoDelay(true)
  from.on('data', (chunk: Buffer) => {
    onBytes(chunk.length)
    later(() => void (to.writable && to.write(chunk)))
  })
  from.on('end', () => later(() => void to.end()))
  from.on('error', () => to.destroy())
}

createServer({ allowHalfOpen: true }, (near) => {
  const far = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true })
  join(near, far, (count) => {
    bytes += count
  })
  join(far, near, () => undefined)
}).listen(port, '127.0.0.1', () => parentPort?.postMessage('ready'))
parentPort?.on('message', () => parentPort?.postMessage(bytes))
