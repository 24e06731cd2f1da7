/** The program that runs in the development VM `hello`: a web server that shows what reaches it. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answer } from './hello-answers.ts'
import { CLOSE } from './hello-frames.ts'
import { acceptWebSocket, type EchoSocket } from './hello-websocket.ts'

const GUEST_PORT = 8_000
/** Longer than an edge keeps idle connections, so that it is the edge that closes them. */
const KEEP_ALIVE_MS = 300_000
/** Requests under way may take this long to end after a request to stop. */
const DRAIN_MS = 2_000

export interface HelloServer extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number
}

/** Listens on a free port of the loopback address; disposal ends every connection. */
export async function startHello(): Promise<HelloServer> {
  const server = createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_MS,
      // No limit on a whole request: an upload may take as long as it likes.
      requestTimeout: 0,
      // Room for an edge's own fields beside all that it lets through.
      maxHeaderSize: 131_072,
      // Other upgrades, as h2c, are answered as if they had not been asked for (RFC 9110 section 7.8).
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
    },
    serve,
  )
  const endSockets = serveWebSockets(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      endSockets()
      await close(server)
    },
  }
}

/** Keeps count of the sockets taken over; the function it answers ends them all. */
function serveWebSockets(server: Server): () => void {
  const open = new Set<EchoSocket>()
  server.on('upgrade', (request, socket, head) => {
    const echo = acceptWebSocket(request, socket, head)
    if (!echo) return
    open.add(echo)
    socket.once('close', () => open.delete(echo))
  })
  return () => {
    for (const echo of open) echo.close(CLOSE.goingAway)
  }
}

async function close(server: Server): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS)
  server.close()
  server.closeIdleConnections()
  await once(server, 'close')
  clearTimeout(timer)
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const { path, query } = parseTarget(request.url ?? '/')
  answer({ request, response, path, query, signal: gone.signal }).catch((error: unknown) => {
    // A client that has gone away is not worth a line.
    if (!gone.signal.aborted) process.stderr.write(`${request.method} ${request.url}: ${String(error)}\n`)
    response.destroy()
  })
}

/** Cut at the first question mark; nothing is decoded or normalised, so what is shown is what was sent. */
function parseTarget(target: string): { path: string; query: URLSearchParams } {
  const cut = target.indexOf('?')
  if (cut < 0) return { path: target, query: new URLSearchParams() }
  return { path: target.slice(0, cut), query: new URLSearchParams(target.slice(cut + 1)) }
}

async function main(): Promise<void> {
  // The channel closes when the parent dies, however it dies: nothing may be left behind.
  process.once('disconnect', () => process.exit(0))
  if (process.connected === false) process.exit(0)
  const hello = await startHello()
  const stop = () => {
    hello[Symbol.asyncDispose]().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.once('SIGTERM', stop)
  process.stdout.write(`process ${process.pid} listens on 127.0.0.1:${hello.port}\n`)
  process.send?.({ ports: { [GUEST_PORT]: hello.port } })
}

if (import.meta.main) await main()
