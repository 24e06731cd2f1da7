/** A server of QMP on a unix socket that answers what a test tells it, protocol or not. */

import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { readLines } from '../../../sidecar/lines.ts'

export interface Command {
  readonly execute: string
  readonly arguments: Readonly<Record<string, unknown>>
  readonly id: number
}

export const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 } }, capabilities: ['oob'] },
}

export interface Script {
  /** Said to a new connection; a greeting when absent. */
  readonly greeting?: string
  /** Called for each command but `qmp_capabilities`, which is answered. */
  readonly onCommand: (say: (message: unknown) => void, command: Command, socket: Socket) => void
}

export async function scriptedQmpFor(t: Test, path: string, { greeting, onCommand }: Script): Promise<void> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    const say = (message: unknown) => socket.write(`${JSON.stringify(message)}\r\n`)
    socket.write(greeting ?? `${JSON.stringify(GREETING)}\r\n`)
    readLines(socket, (line) => {
      const command: Command = JSON.parse(line)
      if (command.execute === 'qmp_capabilities') say({ return: {}, id: command.id })
      else onCommand(say, command, socket)
    })
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
}
