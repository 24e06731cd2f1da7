/** A client that does nothing but handshakes: connect, TLS, close, the next one; in a process of its own. */

import { connect, type TLSSocket } from 'node:tls'
import { readInput, tell } from '../table/task-side.ts'
import { ALPN, createClientContext, hasName } from './client-context.ts'
import { busyOf, createDraw, type Draw, nameOfRank } from './names.ts'

export interface HandshakeInput {
  /** Connections under way at once. */
  readonly connections: number
}

/** What the parent says. `prime` asks for each busy name once, and keeps its session for `resumed` ones. */
export type HandshakeOrder = {
  readonly port: number
  readonly names: number
} & (
  | { readonly kind: 'prime' }
  | {
      readonly kind: 'run'
      readonly mode: 'full' | 'resumed'
      readonly draw: Draw
      readonly seconds: number
      /** Where `each` name's turn begins. */
      readonly start: number
    }
)

export type HandshakeAnswer =
  | { readonly handshakes: number; readonly seconds: number }
  | { readonly failure: string }

/** The name is looked at in every so many handshakes: a look takes longer than all the rest. */
const LOOK_EVERY = 64

const { connections } = readInput<HandshakeInput>()
const secureContext = createClientContext()
/** Of the server that was primed last, by rank. */
const sessions = new Map<number, Buffer>()

process.on('message', (order: HandshakeOrder) => {
  obey(order).then(tell, (error: Error) => tell({ failure: error.message }))
})

async function obey(order: HandshakeOrder): Promise<HandshakeAnswer> {
  const startedAt = performance.now()
  const handshakes = order.kind === 'prime' ? await prime(order) : await run(order)
  return { handshakes, seconds: (performance.now() - startedAt) / 1_000 }
}

/** Sessions come after the handshake, in the server's next message. */
async function prime({ port, names }: HandshakeOrder): Promise<number> {
  sessions.clear()
  const count = busyOf(names)
  let next = 0
  await inLanes(async () => {
    while (next < count) {
      const rank = next++
      const socket = open(port, nameOfRank(rank, names))
      socket.once('session', (session) => {
        sessions.set(rank, session)
        socket.end()
      })
      await closed(socket)
      if (!sessions.has(rank)) throw new Error(`${nameOfRank(rank, names)} got no session`)
    }
  })
  return count
}

async function run({ port, names, ...order }: HandshakeOrder): Promise<number> {
  if (order.kind !== 'run') return 0
  const { mode, draw, seconds, start } = order
  const drawRank = createDraw(draw, { names, start })
  const stopAt = performance.now() + seconds * 1_000
  let handshakes = 0
  await inLanes(async () => {
    while (performance.now() < stopAt) {
      const rank = drawRank()
      const mustLook = mode === 'full' && handshakes % LOOK_EVERY === 0
      await shake(port, nameOfRank(rank, names), {
        session: mode === 'resumed' ? sessions.get(rank) : undefined,
        isResumed: mode === 'resumed',
        mustLook,
      })
      handshakes += 1
    }
  })
  return handshakes
}

function inLanes(lane: () => Promise<void>): Promise<unknown> {
  return Promise.all(Array.from({ length: connections }, lane))
}

interface Expected {
  readonly session: Buffer | undefined
  readonly isResumed: boolean
  readonly mustLook: boolean
}

/** Closed in turn by the server, which so has read all of the handshake. */
async function shake(port: number, name: string, { session, isResumed, mustLook }: Expected): Promise<void> {
  const socket = open(port, name, session)
  let failure: string | undefined
  socket.once('secureConnect', () => {
    if (socket.isSessionReused() !== isResumed) failure = `${name} was ${isResumed ? 'not ' : ''}resumed`
    if (mustLook && !hasName(socket, name)) failure = `${name} got another certificate`
    socket.end()
  })
  await closed(socket)
  if (failure !== undefined) throw new Error(failure)
}

function open(port: number, servername: string, session?: Buffer): TLSSocket {
  const socket = connect({
    ...{ port, host: '127.0.0.1', servername, secureContext, ALPNProtocols: ALPN },
    // The context trusts nobody; names are looked at above.
    rejectUnauthorized: false,
    ...(session !== undefined && { session }),
  })
  return socket.resume()
}

async function closed(socket: TLSSocket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let hasEnded = false
  socket.once('end', () => {
    hasEnded = true
  })
  socket.once('error', reject)
  socket.once('close', () => {
    if (hasEnded) resolve()
    else reject(new Error('a connection was cut'))
  })
  return promise
}
