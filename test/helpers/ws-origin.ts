/** An upstream that speaks WebSocket through the package `ws`: echoes, or does what the test says. */

import type { IncomingMessage } from 'node:http'
import type { Test } from 'tap'
import { type WebSocket, WebSocketServer } from 'ws'
import { originFor } from './origin.ts'

export interface WsOrigin {
  readonly port: number
  /** Open and closed ones, in the order of their arrival. */
  readonly sockets: WebSocket[]
  readonly requests: IncomingMessage[]
}

export async function wsOriginFor(t: Test, onSocket: (socket: WebSocket) => void = echo): Promise<WsOrigin> {
  const origin = await originFor(t)
  const sockets: WebSocket[] = []
  const requests: IncomingMessage[] = []
  const protocols = (offered: Set<string>) => [...offered].at(-1) ?? false
  const webSockets = new WebSocketServer({ server: origin.server, handleProtocols: protocols })
  webSockets.on('connection', (socket, request) => {
    requests.push(request)
    sockets.push(socket)
    socket.on('error', () => {})
    onSocket(socket)
  })
  t.teardown(() => {
    for (const socket of sockets) socket.terminate()
    webSockets.close()
  })
  return { port: origin.port, sockets, requests }
}

function echo(socket: WebSocket): void {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
}
