/** Node's own HTTP client as a judge: what it makes of the bytes of a response. */

import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { Duplex } from 'node:stream'
import { type Asked, emptyOutcome, type Head, type Outcome } from './response-outcome.ts'

/** Above every limit of our parser, so that Node does not refuse for the size of a header alone. */
const MAX_HEADER_BYTES = 1_048_576

/** An upgrade that was not asked for, or a second response to one request: Node closes without an error. */
const CUT = { kind: 'refused', code: 'cut', detail: 'Node closed the connection' } as const

/** Reads `bytes`, then the end of the stream, as the response to `asked`. */
export async function readWithNode(bytes: Buffer, asked: Asked): Promise<Outcome> {
  const outcome = emptyOutcome()
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const ask = request({
    method: asked.method,
    createConnection: () => socket,
    maxHeaderSize: MAX_HEADER_BYTES,
    headers: asked.isUpgrade
      ? { connection: 'Upgrade', upgrade: 'websocket' }
      : { connection: 'keep-alive', 'content-length': '0' },
  })
  let response: IncomingMessage | undefined
  ask.shouldKeepAlive = true
  ask.on('information', ({ statusCode, rawHeaders }) =>
    outcome.informs.push({ status: statusCode, headers: rawHeaders }),
  )
  ask.on('response', (message) => {
    message.on('error', () => {})
    response = message
  })
  if (asked.isUpgrade)
    ask.on('upgrade', (message, _socket, rest) => {
      outcome.upgrade = { head: headOf(message), rest: rest.toString('latin1') }
      outcome.isComplete = true
    })
  ask.on('error', (error: NodeJS.ErrnoException) => {
    outcome.failure ??= toFailure(error)
  })
  const isReady = once(ask, 'socket')
  ask.end()
  await isReady
  // Node's client reads by a 'data' listener: called here, so that everything happens in this turn.
  if (bytes.length > 0) socket.emit('data', bytes)
  if (socket.destroyed) outcome.failure ??= CUT
  if (outcome.failure === undefined && outcome.upgrade === undefined) socket.emit('end')
  if (response !== undefined) readMessage(outcome, response)
  outcome.keepAlive = ask.shouldKeepAlive
  ask.destroy()
  socket.destroy()
  return outcome
}

function readMessage(outcome: Outcome, message: IncomingMessage): void {
  outcome.head = headOf(message)
  for (let part = message.read(); part !== null; part = message.read())
    outcome.body += (part as Buffer).toString('latin1')
  outcome.trailers = message.rawTrailers
  outcome.isComplete = message.complete
  if (!message.complete)
    outcome.failure ??= { kind: 'incomplete', code: 'ECONNRESET', detail: 'the stream ended' }
}

function headOf({ statusCode, statusMessage, rawHeaders }: IncomingMessage): Head {
  return { status: statusCode ?? 0, reason: statusMessage ?? '', headers: rawHeaders }
}

function toFailure(error: NodeJS.ErrnoException) {
  const code = error.code ?? error.name
  const isRefused = code.startsWith('HPE_')
  return { kind: isRefused ? 'refused' : 'incomplete', code, detail: error.message } as const
}
