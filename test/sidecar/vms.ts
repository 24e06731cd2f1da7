/** VMs and clients for the tests of this folder. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, type RequestOptions, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Log } from '../../lib/log.ts'
import { startHello } from '../../sidecar/process/hello-vm.ts'
import { createListLog, type Line } from '../helpers/list-log.ts'

export const HELLO_PROGRAM = fileURLToPath(new URL('../../sidecar/process/hello-vm.ts', import.meta.url))

/** The least a VM's program does: report a port and end with its parent. */
export const REPORT = `
process.on('disconnect', () => process.exit(0))
process.send({ ports: { 8000: 40000 } })
`

export function listLog(): { log: Log; lines: Line[] } {
  const lines: Line[] = []
  return { lines, log: createListLog({ lines }) }
}

/** Whether a process with this id runs. One that has ended and is not yet reaped (a zombie) does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    // No such file: the process has ended since, or this is no Linux.
    return process.platform !== 'linux'
  }
}

export async function helloFor(t: Test): Promise<number> {
  const hello = await startHello()
  t.teardown(() => hello[Symbol.asyncDispose]())
  return hello.port
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly trailers: IncomingMessage['trailers']
  readonly body: Buffer
  readonly text: string
}

/** One request on a connection of its own. */
export async function ask(
  port: number,
  path: string,
  options: RequestOptions & { body?: Buffer | string } = {},
): Promise<Answer> {
  const { body, ...rest } = options
  const outgoing = request({ host: '127.0.0.1', port, path, agent: false, ...rest })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  const whole = Buffer.concat(chunks)
  const { statusCode = 0, headers, trailers } = response
  return { status: statusCode, headers, trailers, body: whole, text: whole.toString() }
}

/** A bare connection; `received` grows with what comes in. */
export async function rawFor(
  t: Test,
  port: number,
): Promise<{ socket: Socket; received: () => Buffer; ended: Promise<unknown> }> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => {})
  return { socket, received: () => Buffer.concat(chunks), ended: once(socket, 'close') }
}
