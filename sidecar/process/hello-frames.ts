/** WebSocket frames (RFC 6455 section 5), read strictly as a server must and written as a server may. */

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** RFC 6455 section 7.4.1. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  noCode: 1005,
  invalidText: 1007,
  tooBig: 1009,
} as const

const KNOWN_OPCODES: ReadonlySet<number> = new Set(Object.values(OPCODE))
const MAX_CONTROL_BYTES = 125

export interface Frame {
  readonly isFinal: boolean
  readonly opcode: number
  /** Unmasked. */
  readonly payload: Buffer
}

/** The peer broke the protocol; the connection is to be closed with this code. */
export class FrameError extends Error {
  readonly closeCode: number

  constructor(closeCode: number, reason: string) {
    super(reason)
    this.name = 'FrameError'
    this.closeCode = closeCode
  }
}

interface Header {
  readonly isFinal: boolean
  readonly opcode: number
  readonly bytes: number
  readonly payloadBytes: number
}

/** Turns bytes, cut anywhere, into a client's frames. Holds at most one frame. */
export class FrameReader {
  readonly #maxPayloadBytes: number
  #chunks: Buffer[] = []
  #heldBytes = 0
  /** Fewer bytes than this cannot complete a frame, so they are not even joined. */
  #neededBytes = 2

  constructor(maxPayloadBytes: number) {
    this.#maxPayloadBytes = maxPayloadBytes
  }

  /** The frames that `chunk` completes, lazily: each is parsed when the one before has been dealt with. @throws FrameError */
  *read(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk)
    this.#heldBytes += chunk.length
    while (this.#heldBytes >= this.#neededBytes) {
      const frame = this.#next(this.#join())
      if (frame) yield frame
    }
  }

  #next(held: Buffer): Frame | undefined {
    this.#neededBytes = headerBytes(held)
    if (held.length < this.#neededBytes) return undefined
    const header = parseHeader(held, this.#maxPayloadBytes)
    this.#neededBytes = header.bytes + header.payloadBytes
    if (held.length < this.#neededBytes) return undefined
    const payload = unmask(held, header)
    this.#keep(held.subarray(this.#neededBytes))
    this.#neededBytes = 2
    return { isFinal: header.isFinal, opcode: header.opcode, payload }
  }

  #join(): Buffer {
    const [only] = this.#chunks
    const held = this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks)
    this.#keep(held)
    return held
  }

  #keep(bytes: Buffer): void {
    this.#chunks = [bytes]
    this.#heldBytes = bytes.length
  }
}

/** First two bytes, extended length and mask. */
function headerBytes(held: Buffer): number {
  const shortLength = held.readUInt8(1) & 0x7f
  const extendedBytes = shortLength === 126 ? 2 : shortLength === 127 ? 8 : 0
  return 2 + extendedBytes + 4
}

function parseHeader(held: Buffer, maxPayloadBytes: number): Header {
  const first = held.readUInt8(0)
  const opcode = first & 0x0f
  const isFinal = (first & 0x80) !== 0
  check((first & 0x70) === 0, 'reserved bits are set')
  check(KNOWN_OPCODES.has(opcode), 'the opcode is unknown')
  check((held.readUInt8(1) & 0x80) !== 0, 'the frame is not masked')
  const payloadBytes = parseLength(held)
  check(
    opcode < OPCODE.close || (isFinal && payloadBytes <= MAX_CONTROL_BYTES),
    'the control frame is cut or too long',
  )
  if (payloadBytes > maxPayloadBytes) throw new FrameError(CLOSE.tooBig, `more than ${maxPayloadBytes} bytes`)
  return { isFinal, opcode, bytes: headerBytes(held), payloadBytes }
}

/** RFC 6455 section 5.2: in the shortest form, the 64-bit form's highest bit zero. */
function parseLength(held: Buffer): number {
  const shortLength = held.readUInt8(1) & 0x7f
  if (shortLength < 126) return shortLength
  const length = shortLength === 126 ? BigInt(held.readUInt16BE(2)) : held.readBigUInt64BE(2)
  check(length >= (shortLength === 126 ? 126n : 65_536n), 'the length is not in its shortest form')
  check(length < 1n << 63n, 'the length is negative')
  return Number(length)
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new FrameError(CLOSE.protocolError, otherwise)
}

/** A copy, so that the held bytes can go. */
function unmask(held: Buffer, { bytes, payloadBytes }: Header): Buffer {
  const mask = held.subarray(bytes - 4, bytes)
  const payload = Buffer.from(held.subarray(bytes, bytes + payloadBytes))
  for (let index = 0; index < payload.length; index += 1) {
    payload[index] = (payload[index] ?? 0) ^ (mask[index & 3] ?? 0)
  }
  return payload
}

/** One whole, unmasked frame (RFC 6455 section 5.1: a server never masks). */
export function toFrame(opcode: number, payload: Buffer): Buffer {
  return Buffer.concat([toHeader(opcode, payload.length), payload])
}

function toHeader(opcode: number, payloadBytes: number): Buffer {
  const first = 0x80 | opcode
  if (payloadBytes < 126) return Buffer.from([first, payloadBytes])
  if (payloadBytes < 65_536) return Buffer.from([first, 126, payloadBytes >> 8, payloadBytes & 0xff])
  const header = Buffer.alloc(10)
  header.writeUInt8(first, 0)
  header.writeUInt8(127, 1)
  header.writeBigUInt64BE(BigInt(payloadBytes), 2)
  return header
}

export function toCloseFrame(code: number, reason = ''): Buffer {
  if (code === CLOSE.noCode) return toFrame(OPCODE.close, Buffer.alloc(0))
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code, 0)
  payload.write(reason, 2)
  return toFrame(OPCODE.close, payload)
}

/** The code that a close frame carries, `noCode` when it carries none (RFC 6455 sections 5.5.1 and 7.4). @throws FrameError */
export function parseClose(payload: Buffer): number {
  if (payload.length === 0) return CLOSE.noCode
  check(payload.length >= 2, 'the close code is cut')
  const code = payload.readUInt16BE(0)
  const isDefined =
    (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999)
  check(isDefined, 'the close code may not be sent')
  return code
}
