/** The metadata service where guests have addresses of their own: one request a connection. */

import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Log } from '../../lib/log.ts'
import { SidecarError } from '../errors.ts'
import { BAD_REQUEST, formatAnswer } from './answer-text.ts'
import type { Asker, Metadata } from './metadata.ts'
import { RequestReader } from './request-reader.ts'

/** The nft table lets 20 connections a second of a guest through; these bound what it keeps of them. */
const MAX_CONNECTIONS_PER_GUEST = 8
const TIME_LIMIT_MS = 5_000

interface ListenerDeps {
  readonly log: Log
  readonly metadata: Metadata
  /** Whose address it is. Guests cannot send from any other: the caller has seen to it. */
  readonly findKey: (address: string) => string | undefined
}

export interface MetadataListener extends AsyncDisposable {
  readonly port: number
}

/** Listens on a free port of `host`. @throws SidecarError network_failed */
export async function startMetadataListener(deps: ListenerDeps, host: string): Promise<MetadataListener> {
  const sockets = new Map<Socket, Asker>()
  const countOf = (key: string) => [...sockets.values()].filter((asker) => asker.key === key).length
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const address = socket.remoteAddress ?? ''
    const key = deps.findKey(address)
    if (key === undefined || countOf(key) >= MAX_CONNECTIONS_PER_GUEST) {
      socket.destroy()
      return
    }
    const asker = { key, address }
    sockets.set(socket, asker)
    socket.once('close', () => sockets.delete(socket))
    // A guest that breaks a connection off harms nobody.
    socket.on('error', () => undefined)
    serve(socket, deps.metadata, asker)
  })
  server.on('error', (error) => deps.log.error({ error }, 'the metadata service'))
  server.listen(0, host)
  await once(server, 'listening').catch((cause: unknown) => {
    throw new SidecarError('network_failed', { cause, detail: `metadata on ${host}: ${String(cause)}` })
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets.keys()) socket.destroy()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** What comes behind the first request is read and dropped: an unread byte would turn the end into a reset. */
function serve(socket: Socket, metadata: Metadata, asker: Asker): void {
  const timer = setTimeout(() => socket.destroy(), TIME_LIMIT_MS)
  socket.once('close', () => clearTimeout(timer))
  const reader = new RequestReader({ isShared: false })
  let isWhole = false
  const take = (chunk: string) => {
    const reading = reader.read(chunk)
    if (reading === 'more') return
    isWhole = true
    socket.off('data', take).resume()
    if (reading === 'over') socket.end(BAD_REQUEST)
    else void metadata.answer(reading, asker).then((answer) => socket.end(formatAnswer(answer)))
  }
  socket.setEncoding('latin1').on('data', take)
  socket.once('end', () => {
    if (!isWhole) socket.destroy()
  })
}
