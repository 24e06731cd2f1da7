/** Upstreams for tests: an HTTP server with a handler, and a raw TCP server that writes exactly what it is told. */

import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface Origin {
  readonly port: number
  readonly server: Server
  /** Requests in the order of their arrival. */
  readonly requests: IncomingMessage[]
}

export async function originFor(t: Test, listener: RequestListener = answerHello): Promise<Origin> {
  const requests: IncomingMessage[] = []
  const server = createHttpServer({ requireHostHeader: false })
  server.on('request', (request, response) => {
    requests.push(request)
    listener(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { port: (server.address() as AddressInfo).port, server, requests }
}

function answerHello(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  response.end('hello')
}

export interface RawOrigin {
  readonly port: number
  /** All bytes received, by connection, as latin1 text. */
  readonly received: string[]
  readonly sockets: Socket[]
}

/** `onData` is called for each read with the socket, everything that the connection has sent, and its number. */
export async function rawOriginFor(
  t: Test,
  onData: (socket: Socket, received: string, connection: number) => void,
): Promise<RawOrigin> {
  const received: string[] = []
  const sockets: Socket[] = []
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    const connection = sockets.push(socket) - 1
    received.push('')
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received[connection] += chunk.toString('latin1')
      onData(socket, received[connection] ?? '', connection)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port, received, sockets }
}
