/** WebSocket frames on a bare stream (RFC 6455 section 5), for tunnels that no library opens. */

import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'

export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

export interface Message {
  readonly opcode: number
  readonly payload: Buffer
}

/** One whole frame as a client sends it. */
export function clientFrame(opcode: number, data: Buffer | string): Buffer {
  const payload = Buffer.from(data)
  const mask = randomBytes(4)
  for (let at = 0; at < payload.length; at += 1) payload[at] = (payload[at] ?? 0) ^ (mask[at & 3] ?? 0)
  return Buffer.concat([headOf(opcode, payload.length), mask, payload])
}

/** The payload of a close frame. */
export function closeWith(code: number, reason: string): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code)
  payload.write(reason, 2)
  return payload
}

/** Collects the server's frames, continuation frames joined, from now on. */
export function messagesOf(stream: Duplex): Message[] {
  const messages: Message[] = []
  let chunks: Buffer[] = []
  let held = 0
  let needed = 2
  let parts: Message[] = []
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    held += chunk.length
    while (held >= needed) {
      const bytes = Buffer.concat(chunks)
      const { headBytes, payloadBytes } = lengthsOf(bytes)
      needed = headBytes + payloadBytes
      chunks = [bytes]
      if (held < needed) return
      parts.push({ opcode: bytes.readUInt8(0) & 15, payload: Buffer.from(bytes.subarray(headBytes, needed)) })
      if ((bytes.readUInt8(0) & 0x80) !== 0) {
        messages.push(join(parts))
        parts = []
      }
      chunks = [bytes.subarray(needed)]
      held -= needed
      needed = 2
    }
  })
  return messages
}

function join(parts: readonly Message[]): Message {
  return { opcode: parts[0]?.opcode ?? 0, payload: Buffer.concat(parts.map(({ payload }) => payload)) }
}

/** Asks for the longest head while the length is not there yet. */
function lengthsOf(bytes: Buffer): { headBytes: number; payloadBytes: number } {
  const short = bytes.readUInt8(1) & 127
  if (short < 126) return { headBytes: 2, payloadBytes: short }
  const headBytes = short === 126 ? 4 : 10
  if (bytes.length < headBytes) return { headBytes, payloadBytes: 0 }
  return { headBytes, payloadBytes: short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2)) }
}

function headOf(opcode: number, length: number): Buffer {
  if (length < 126) return Buffer.from([0x80 | opcode, 0x80 | length])
  const isShort = length < 65_536
  const head = Buffer.alloc(isShort ? 4 : 10)
  head.writeUInt8(0x80 | opcode, 0)
  head.writeUInt8(0x80 | (isShort ? 126 : 127), 1)
  if (isShort) head.writeUInt16BE(length, 2)
  else head.writeBigUInt64BE(BigInt(length), 2)
  return head
}
