/** The responder's TCP side (RFC 7766): few connections, for a short time each; the oldest one makes room. */

import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Endpoint } from '../../lib/address-text.ts'
import type { Log } from '../../lib/log.ts'
import { type Answerer, MAX_QUERY_BYTES } from './answerer.ts'
import type { DnsCounts } from './udp.ts'
import { frameMessage } from './wire.ts'

/** More in one piece are a flood: 64 KiB of the smallest queries would hold the thread for 10 ms. */
const MAX_PIPELINED = 100

export interface TcpDeps {
  readonly answerer: Answerer
  readonly counts: DnsCounts
  readonly log: Log
}

export interface TcpSettings {
  readonly listen: Endpoint
  /** Open at once, and of one address. */
  readonly connections: number
  readonly connectionsOfAddress: number
  /** Without a byte from the client. */
  readonly idleMs: number
  /** Whatever the client does: a query that trickles in byte by byte ends here. */
  readonly lifeMs: number
}

/** @throws Node's errors when the address cannot be bound */
export async function startTcp(
  deps: TcpDeps,
  settings: TcpSettings,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    makeRoom(open, { socket, ...settings })
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    serve(deps, { socket, ...settings })
  })
  const { host, port } = settings.listen
  server.listen(port, host)
  await once(server, 'listening')
  server.on('error', (err) => deps.log.warn({ err }, 'the DNS responder had an error on TCP'))
  return { port: portOf(server), [Symbol.asyncDispose]: () => close(server, open) }
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function close(server: Server, open: ReadonlySet<Socket>): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  for (const socket of open) socket.destroy()
  await closed
}

interface Arrival extends Pick<TcpSettings, 'connections' | 'connectionsOfAddress' | 'idleMs' | 'lifeMs'> {
  readonly socket: Socket
}

/** A transaction takes milliseconds, so the oldest connection is the one that is only held. */
function makeRoom(open: ReadonlySet<Socket>, { socket, connections, connectionsOfAddress }: Arrival): void {
  const same = [...open].filter(({ remoteAddress }) => remoteAddress === socket.remoteAddress)
  if (same.length >= connectionsOfAddress) same[0]?.destroy()
  else if (open.size >= connections) open.values().next().value?.destroy()
}

function serve({ answerer, counts, log }: TcpDeps, { socket, idleMs, lifeMs }: Arrival): void {
  let rest: Buffer = Buffer.alloc(0)
  const life = setTimeout(() => socket.destroy(), lifeMs)
  socket.once('close', () => clearTimeout(life))
  socket.setTimeout(idleMs, () => socket.destroy())
  socket.on('error', (err) => log.debug({ err }, 'a DNS connection broke'))
  // One that does not read its answers is not read from.
  socket.on('drain', () => socket.resume())
  socket.on('data', (chunk: Buffer) => {
    const split = splitFrames(Buffer.concat([rest, chunk]))
    const answers = split?.frames.map((query) => answerer.answer(query, 'tcp'))
    if (split === undefined || answers === undefined || answers.includes(undefined)) {
      counts.dropped += 1
      socket.destroy()
      return
    }
    rest = split.rest
    counts.answeredOverTcp += answers.length
    const bytes = Buffer.concat(answers.flatMap((answer) => (answer ? [frameMessage(answer)] : [])))
    if (bytes.length > 0 && !socket.write(bytes)) socket.pause()
  })
}

/** Undefined as soon as a length is more than any query has, or they are too many. */
function splitFrames(
  bytes: Buffer,
): { readonly frames: readonly Buffer[]; readonly rest: Buffer } | undefined {
  const frames: Buffer[] = []
  let at = 0
  while (bytes.length - at >= 2) {
    const length = bytes.readUInt16BE(at)
    if (length > MAX_QUERY_BYTES || frames.length === MAX_PIPELINED) return undefined
    if (bytes.length - at < 2 + length) break
    frames.push(bytes.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  return { frames, rest: bytes.subarray(at) }
}
