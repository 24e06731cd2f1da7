/** Where WebSocket frames end in a stream (RFC 6455 section 5.2), so that the edge can say something between two of them. */

/** The first byte of a frame: the last of its message, and the opcode in its low half. */
const FIN = 0x80
const OPCODES = 0x0f
const CLOSE = 8
/** The second byte: whether a mask follows, and the length, or which length follows. */
const MASKED = 0x80
const SHORT_LENGTHS = 0x7f
const EXTENDED_LENGTH_BYTES: ReadonlyMap<number, number> = new Map([
  [126, 2],
  [127, 8],
])
const MASK_BYTES = 4

/** Unmasked as servers send (RFC 6455 section 5.5.1; codes from 4000 on are private). */
export const ACCESS_ENDED_FRAME = closeFrame(4401, 'access ended')

/** Follows the bytes of one direction. */
export class FrameEnds {
  /** Bytes of the head that were seen; 0 between frames and in a payload. */
  #headSeen = 0
  #lengthBytes = 0
  #maskBytes = 0
  /** Of the payload; while the length is read, what is known of it. */
  #left = 0
  #hasClose = false

  /** All frames so far are whole. */
  get isBetween(): boolean {
    return this.#headSeen === 0 && this.#left === 0
  }

  /** A close frame has begun: no other may follow it. */
  get hasClose(): boolean {
    return this.#hasClose
  }

  /** Reads to the end of `chunk`. */
  skip(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) at = this.next(chunk, at)
  }

  /** Reads from `start` to where the frame under way ends, or to the end of `chunk`; `isBetween` tells which it was. */
  next(chunk: Buffer, start: number): number {
    let at = start
    while (at < chunk.length) {
      if (this.#headSeen === 0 && this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at)
        this.#left -= taken
        at += taken
      } else {
        this.#readHead(chunk[at] ?? 0)
        at += 1
      }
      if (this.isBetween) return at
    }
    return at
  }

  #readHead(byte: number): void {
    this.#headSeen += 1
    if (this.#headSeen === 1) {
      if ((byte & OPCODES) === CLOSE) this.#hasClose = true
    } else if (this.#headSeen === 2) this.#readLength(byte)
    // Above 2^53 this is not exact, and no stream is so long.
    else if (this.#headSeen <= 2 + this.#lengthBytes) this.#left = this.#left * 256 + byte
    if (this.#headSeen >= 2 && this.#headSeen === 2 + this.#lengthBytes + this.#maskBytes) this.#headSeen = 0
  }

  #readLength(byte: number): void {
    const short = byte & SHORT_LENGTHS
    this.#lengthBytes = EXTENDED_LENGTH_BYTES.get(short) ?? 0
    this.#maskBytes = (byte & MASKED) === 0 ? 0 : MASK_BYTES
    this.#left = this.#lengthBytes === 0 ? short : 0
  }
}

function closeFrame(code: number, reason: string): Buffer {
  const frame = Buffer.alloc(4 + Buffer.byteLength(reason))
  frame.writeUInt8(FIN | CLOSE, 0)
  frame.writeUInt8(frame.length - 2, 1)
  frame.writeUInt16BE(code, 2)
  frame.write(reason, 4)
  return frame
}
