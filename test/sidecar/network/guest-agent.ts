/** A program in a namespace that does over the network what a test tells it: the guest, or somebody outside. */

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

interface ConnectArgs {
  readonly host: string
  readonly port: number
  readonly from?: string
  readonly timeoutMs?: number
}

export type Outcome = 'open' | 'refused' | 'timeout' | 'unreachable'

/** What works may take long on a busy machine; what is dropped is given up sooner. */
const PATIENCE_MS = 8_000
const GIVE_UP_MS = 600
const sockets: Socket[] = []
const servers: { close(): unknown }[] = []
const datagrams: { readonly port: number; readonly from: string; readonly bytes: number }[] = []

async function dial({ host, port, from, timeoutMs = PATIENCE_MS }: ConnectArgs) {
  const socket = connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) })
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  socket.on('error', (error) => {
    const code = 'code' in error ? error.code : ''
    resolve(code === 'ECONNREFUSED' ? 'refused' : code === 'ETIMEDOUT' ? 'timeout' : 'unreachable')
  })
  socket.once('connect', () => resolve('open'))
  const outcome = await Promise.race([promise, sleep(timeoutMs, 'timeout' as const)])
  if (outcome !== 'open') socket.destroy()
  return { socket, outcome }
}

async function readLine(socket: Socket, timeoutMs = PATIENCE_MS): Promise<string> {
  const late = sleep(timeoutMs, [Buffer.from('timeout')])
  const [data] = await Promise.race([once(socket, 'data').catch(() => [Buffer.from('ended')]), late])
  return String(data).trim()
}

interface EchoArgs {
  readonly id: number
  readonly text: string
  readonly timeoutMs: number
}

async function echo({ id, text, timeoutMs }: EchoArgs): Promise<string> {
  const socket = sockets[id]
  if (!socket) return 'unknown'
  socket.write(text)
  return readLine(socket, timeoutMs)
}

/** What a test may ask for; each answers with something that JSON holds. */
export const ACTIONS = {
  /** Tells who connects under which address it is seen, then sends back what comes. */
  listen: async ({ port }: { port: number }) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.write(`${socket.remoteAddress}\n`)
      socket.pipe(socket)
    })
    servers.push(server)
    server.listen(port, '0.0.0.0')
    await once(server, 'listening')
    return 'listening'
  },
  /** The outcome, who the other side takes us for, and a number for `echo`. */
  connect: async (args: ConnectArgs) => {
    const { socket, outcome } = await dial(args)
    if (outcome !== 'open') return { outcome, seenAs: '', id: -1 }
    return { outcome, seenAs: await readLine(socket), id: sockets.push(socket) - 1 }
  },
  /** Likewise, for a connection that is not expected to come about. */
  tryConnect: async (args: ConnectArgs) => {
    const { socket, outcome } = await dial({ timeoutMs: GIVE_UP_MS, ...args })
    socket.destroy()
    return { outcome }
  },
  echo: async ({ id, text }: { id: number; text: string }) => echo({ id, text, timeoutMs: PATIENCE_MS }),
  /** Likewise, for a connection that is expected to be cut. */
  tryEcho: async ({ id, text }: { id: number; text: string }) => echo({ id, text, timeoutMs: GIVE_UP_MS }),
  /** How many of so many connections, all at once and all kept, come about. */
  connectMany: async ({ count, ...args }: ConnectArgs & { count: number }) => {
    const dialled = await Promise.all(Array.from({ length: count }, () => dial(args)))
    sockets.push(...dialled.map(({ socket }) => socket))
    return dialled.filter(({ outcome }) => outcome === 'open').length
  },
  /** All that one raw request is answered with; the outcome of the connection when there is none. */
  request: async ({ text, ...args }: ConnectArgs & { text: string }) => {
    const { socket, outcome } = await dial(args)
    if (outcome !== 'open') return outcome
    socket.write(text)
    let answer = ''
    socket.on('data', (data) => {
      answer += String(data)
    })
    await Promise.race([once(socket, 'close').catch(() => undefined), sleep(args.timeoutMs ?? 3_000)])
    socket.destroy()
    return answer
  },
  listenDatagrams: async ({ port }: { port: number }) => {
    const socket = createSocket('udp4')
    socket.on('message', (message, { address }) => {
      datagrams.push({ port, from: address, bytes: message.length })
    })
    servers.push(socket)
    socket.bind(port, '0.0.0.0')
    await once(socket, 'listening')
    return 'listening'
  },
  datagrams: async (_: object) => datagrams.slice(),
  /** Ends all that is open, as at the program's end. */
  reset: async (_: object) => {
    for (const server of servers.splice(0)) server.close()
    for (const socket of sockets.splice(0)) socket.destroy()
    datagrams.length = 0
    return 'reset'
  },
  sendDatagram: async ({ host, port, from = '0.0.0.0', bytes = 10 }: ConnectArgs & { bytes?: number }) => {
    const socket = createSocket('udp4')
    socket.bind(0, from)
    await once(socket, 'listening')
    const { promise, resolve } = Promise.withResolvers<string>()
    socket.send(Buffer.alloc(bytes, 'x'), port, host, (error) => resolve(error ? error.message : 'sent'))
    const outcome = await promise
    socket.close()
    return outcome
  },
} as const

export type Actions = typeof ACTIONS

interface Command {
  readonly id: number
  readonly action: keyof Actions
  readonly args: never
}

if (import.meta.main) {
  process.on('message', ({ id, action, args }: Command) => {
    const work: (args: never) => Promise<unknown> = ACTIONS[action]
    work(args).then(
      (result) => process.send?.({ id, result }),
      (error: unknown) => process.send?.({ id, error: String(error) }),
    )
  })
  process.once('disconnect', () => process.exit())
  process.send?.({ id: 0, result: 'ready' })
}
