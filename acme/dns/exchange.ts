/** One DNS message to a server over TCP, and its answer, within a time limit. */

import { connect, type Socket } from 'node:net'
import type { Endpoint } from '../../lib/address-text.ts'
import { frameMessage, HEADER_BYTES } from './wire.ts'

export interface ExchangeSettings {
  readonly server: Endpoint
  /** For all of it. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** The answer with the same number. @throws Error that says why there is none */
export async function exchange(
  message: Buffer,
  { server, timeoutMs, signal }: ExchangeSettings,
): Promise<Buffer> {
  signal.throwIfAborted()
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  const socket = connect({ host: server.host, port: server.port })
  const end = () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`))
  limit.addEventListener('abort', end, { once: true })
  try {
    socket.write(frameMessage(message))
    return await readAnswer(socket, message.readUInt16BE(0))
  } finally {
    limit.removeEventListener('abort', end)
    socket.destroy()
  }
}

async function readAnswer(socket: Socket, id: number): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0)
  // At most 65,535 and one piece of what comes, whoever answers.
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk as Buffer])
    const length = bytes.length < 2 ? 0 : bytes.readUInt16BE(0)
    if (bytes.length < 2 || bytes.length < 2 + length) continue
    const answer = bytes.subarray(2, 2 + length)
    if (length >= HEADER_BYTES && answer.readUInt16BE(0) === id && answer.readUInt8(2) >= 0x80) return answer
    throw new Error('the server answered something else')
  }
  throw new Error('the server closed the connection')
}
