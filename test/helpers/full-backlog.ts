/** A port on which a connect neither succeeds nor fails: the listener is stopped and its queue of connections is full. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import { until } from './until.ts'

const LISTENER = `
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 })
  server.on('listening', () => console.log(server.address().port))
`
/** A connect on the loopback takes less than a millisecond; after this long it hangs. */
const HANGS_MS = 300

export async function fullBacklogFor(t: Test): Promise<{ readonly port: number }> {
  const listener = spawn(process.execPath, ['-e', LISTENER], { stdio: ['ignore', 'pipe', 'inherit'] })
  const filling: Socket[] = []
  t.teardown(() => {
    for (const socket of filling) socket.destroy()
    listener.kill('SIGKILL')
  })
  const [line] = await once(listener.stdout, 'data')
  const port = Number(String(line))
  listener.kill('SIGSTOP')
  await until(async () => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    filling.push(socket)
    return !(await connects(socket))
  }, 'the queue is full')
  return { port }
}

function connects(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), HANGS_MS)
    socket.once('connect', () => {
      clearTimeout(timer)
      resolve(true)
    })
  })
}
