/** Streams of every kind to a private VM through one edge, and how and when each of them ended. */

import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectH2, constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import { upgradeRequest } from '../helpers/scripted-vm.ts'
import { tlsFor } from '../helpers/tls-dial.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'
import { CLOSE, type Message, messagesOf } from '../helpers/ws-frames.ts'
import { openWsOverH2 } from '../helpers/ws-over-h2.ts'
import type { EdgeProcess } from './edge-process.ts'
import { SSH_PORT, VM_HOST } from './private-fleet.ts'

export type StreamKind = 'websocket' | 'websocket-h2' | 'events' | 'events-h2' | 'tunnel'

export interface OpenStream {
  readonly kind: StreamKind
  /** When it ended, of performance.now(); undefined while it is open. */
  readonly endedAt: () => number | undefined
  /** What is wrong with the way in which it ended; empty when nothing is. */
  readonly findFault: () => string
  readonly destroy: () => void
}

/** Names in lower case. */
export type Fields = Readonly<Record<string, string>>

export interface StreamSource {
  /** Resolves once something has come from the VM. */
  open(kind: StreamKind, fields: Fields): Promise<OpenStream>
}

/** What a close frame with 4401 holds. */
const ENDED: Message = { opcode: CLOSE, payload: Buffer.from('\x11\x31access ended', 'latin1') }
const LAST_CHUNK = /\r\n0\r\n\r\n$/

/** `edge`: where they are opened; those over HTTP/2 share a session, which must outlive them. */
export async function streamSourceFor(t: Test, edge: EdgeProcess): Promise<StreamSource> {
  const target = { ...edge, httpsPort: edge.httpsPort }
  const dial = () => tlsFor(t, target, { servername: VM_HOST })
  const socket = await tlsFor(t, target, { servername: VM_HOST, ALPNProtocols: ['h2'] })
  const session = connectH2(`https://${VM_HOST}`, { createConnection: () => socket })
  t.teardown(() => session.destroy())
  session.on('error', () => {})
  await once(session, 'remoteSettings')
  return {
    open: async (kind, fields) => {
      if (kind === 'websocket-h2') return openWebSocketOverH2(t, session, fields)
      if (kind === 'events-h2') return openEventsOverH2(session, fields)
      return openOnSocket(kind, await dial(), fields)
    },
  }
}

function openOnSocket(kind: StreamKind, socket: TLSSocket, fields: Fields): Promise<OpenStream> {
  if (kind === 'websocket') return openWebSocket(socket, fields)
  return kind === 'tunnel' ? openTunnel(socket, fields) : openEvents(socket, fields)
}

async function openWebSocket(socket: TLSSocket, fields: Fields): Promise<OpenStream> {
  socket.write(upgradeRequest(VM_HOST, linesOf(fields)))
  const [head] = (await once(socket, 'data')) as [Buffer]
  if (!head.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(head.toString('latin1'))
  const messages = messagesOf(socket)
  return watch('websocket', socket, () => faultOf(messages))
}

async function openWebSocketOverH2(
  t: Test,
  session: ClientHttp2Session,
  fields: Fields,
): Promise<OpenStream> {
  const { stream, status, messages } = await openWsOverH2(t, session, { ':authority': VM_HOST, ...fields })
  if (status !== 200) throw new Error(`WebSocket over HTTP/2: ${status}`)
  return watch('websocket-h2', stream, () => faultOf(messages))
}

async function openEvents(socket: TLSSocket, fields: Fields): Promise<OpenStream> {
  const heard = transcriptOf(socket)
  socket.write(`GET /events HTTP/1.1\r\nHost: ${VM_HOST}\r\n${linesOf(fields)}\r\n`)
  await heard.has('tick')
  return watch('events', socket, () => (LAST_CHUNK.test(heard.text) ? 'as if the answer were whole' : ''))
}

async function openEventsOverH2(session: ClientHttp2Session, fields: Fields): Promise<OpenStream> {
  const stream = session.request({ ':path': '/events', ':authority': VM_HOST, ...fields })
  stream.on('error', () => {})
  const heard = transcriptOf(stream)
  await heard.has('tick')
  const { NGHTTP2_CANCEL } = constants
  return watch('events-h2', stream, () =>
    stream.rstCode === NGHTTP2_CANCEL ? '' : `reset with ${stream.rstCode}`,
  )
}

async function openTunnel(socket: TLSSocket, fields: Fields): Promise<OpenStream> {
  const authority = `${VM_HOST}:${SSH_PORT}`
  const heard = transcriptOf(socket)
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${linesOf(fields)}\r\n`)
  await heard.has('\r\n\r\n')
  if (!heard.text.startsWith('HTTP/1.1 200')) throw new Error(heard.text)
  return watch('tunnel', socket, () => '')
}

/** A stream is over for its client when it says so, whether in order or not. */
function watch(kind: StreamKind, stream: Duplex, findFault: () => string): OpenStream {
  let endedAt: number | undefined
  const end = () => {
    endedAt ??= performance.now()
  }
  stream.once('end', end).once('close', end)
  return { kind, endedAt: () => endedAt, findFault, destroy: () => void stream.destroy() }
}

function faultOf(messages: readonly Message[]): string {
  const [first, ...more] = messages
  const isRight = first?.opcode === CLOSE && first.payload.equals(ENDED.payload) && more.length === 0
  return isRight ? '' : `heard ${JSON.stringify(messages)}`
}

function linesOf(fields: Fields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
}

/** Milliseconds from `since` to the end of each, none below 0. Waits for all of them. */
export async function untilEnded(
  streams: readonly OpenStream[],
  since: number,
  deadlineMs = 10_000,
): Promise<number[]> {
  const open = () => streams.filter((stream) => stream.endedAt() === undefined).map(({ kind }) => kind)
  await until(() => open().length === 0, 'all streams end', deadlineMs).catch((cause: unknown) => {
    throw new Error(`still open: ${open().join(', ')}`, { cause })
  })
  return streams.map((stream) => Math.max(0, (stream.endedAt() ?? 0) - since))
}
