/** Upstreams that cannot be connected to: a port that refuses until told otherwise, and one whose queue is full. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, type Server, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import type { Test } from 'tap'

/** Lets `server` listen on `port` as soon as one connection of this process was refused there. */
export function listenAfterRefusal(t: Test, server: Server, port: number): { readonly refusals: number } {
  const seen = { refusals: 0 }
  const watch = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    socket.once('error', (error: NodeJS.ErrnoException & { port?: number }) => {
      if (error.code !== 'ECONNREFUSED' || error.port !== port) return
      seen.refusals += 1
      if (!server.listening) server.listen(port, '127.0.0.1')
    })
  }
  subscribe('net.client.socket', watch)
  t.teardown(() => {
    unsubscribe('net.client.socket', watch)
    server.close()
  })
  return seen
}

/** The thread stops for ever once it listens, so nothing is taken from the queue. */
const STUCK_LISTENER = `
const { createServer } = require('node:net')
const { parentPort } = require('node:worker_threads')
const server = createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
})`
const FILLERS = 8
const FILL_MS = 300

/** A port on which the kernel drops every further connection attempt, as a host that is gone does. */
export async function fullPortFor(t: Test): Promise<number> {
  const worker = new Worker(STUCK_LISTENER, { eval: true })
  t.teardown(() => worker.terminate())
  const [port] = (await once(worker, 'message')) as [number]
  const fillers = Array.from({ length: FILLERS }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => {
    for (const filler of fillers) filler.destroy()
  })
  // The queue is full once one of them has had no answer for a while.
  const opened = fillers.map((filler) => once(filler, 'connect'))
  await Promise.race([Promise.all(opened), new Promise((resolve) => setTimeout(resolve, FILL_MS))])
  if (fillers.every((filler) => !filler.connecting)) throw new Error('the queue of the port is not full')
  return port
}
