/** An HTTP/2 connection that a test drives frame by frame (RFC 9113), allowed to break every rule. */

import type { Socket } from 'node:net'
import { until } from './until.ts'

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export type Field = readonly [string, string]

/** What the edge has said so far. */
export class H2Wire {
  readonly frames: Frame[] = []
  readonly socket: Socket
  #pending: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => {})
  }

  /** Sends the preface and acknowledges the edge's settings. */
  async start(): Promise<this> {
    this.socket.write(PREFACE)
    this.send(FRAME.settings, 0, 0)
    await until(() => this.of(FRAME.settings).length > 0, "the edge's settings")
    this.send(FRAME.settings, FLAG.ack, 0)
    return this
  }

  send(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): void {
    if (this.socket.writable) this.socket.write(encodeFrame({ type, flags, stream, payload }))
  }

  of(type: number, stream?: number): Frame[] {
    return this.frames.filter((frame) => frame.type === type && (stream ?? frame.stream) === frame.stream)
  }

  /** The error code of RST_STREAM on `stream`. */
  resetCode(stream: number): number | undefined {
    return this.of(FRAME.reset, stream)[0]?.payload.readUInt32BE(0)
  }

  /** The error code of GOAWAY. */
  goAwayCode(): number | undefined {
    return this.of(FRAME.goAway).at(-1)?.payload.readUInt32BE(4)
  }

  /** The status that the edge answered on `stream`; all of our statuses arrive as indexed or literal digits. */
  isAnswered(stream: number): boolean {
    return this.of(FRAME.headers, stream).length > 0
  }

  get isOver(): boolean {
    return this.socket.destroyed || this.socket.readableEnded
  }

  /** The stream has an answer or a reset, or the connection is over. */
  isSettled(stream: number): boolean {
    return this.isAnswered(stream) || this.resetCode(stream) !== undefined || this.isOver
  }

  body(stream: number): string {
    return Buffer.concat(this.of(FRAME.data, stream).map(({ payload }) => payload)).toString('latin1')
  }

  #read(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk])
    while (this.#pending.length >= 9) {
      const length = this.#pending.readUIntBE(0, 3)
      if (this.#pending.length < 9 + length) return
      this.frames.push({
        type: this.#pending.readUInt8(3),
        flags: this.#pending.readUInt8(4),
        stream: this.#pending.readUInt32BE(5) & 0x7fffffff,
        payload: Buffer.from(this.#pending.subarray(9, 9 + length)),
      })
      this.#pending = this.#pending.subarray(9 + length)
    }
  }
}

export function encodeFrame({ type, flags, stream, payload }: Frame): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A header block of literals, without index and without Huffman (RFC 7541 section 6.2.2). */
export function encodeFields(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.from([0]), encodeText(name), encodeText(value)]),
  )
}

export function uint32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, at) => {
    bytes.writeUInt32BE(value, at * 4)
  })
  return bytes
}

/** RFC 7541 section 5.1 and 5.2: a length of 7 bits and its continuation, then the bytes. */
function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
  const length = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128)
  return Buffer.concat([Buffer.from([...length, rest]), bytes])
}

/** The fields of a good GET; `extra` follow, and a name that stands in both is taken from `extra`. */
export function requestFields(host: string, path: string, extra: readonly Field[] = []): Field[] {
  const own: Field[] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', host],
    [':path', path],
  ]
  const given = new Set(extra.map(([name]) => name))
  const pseudo = extra.filter(([name]) => name.startsWith(':'))
  const regular = extra.filter(([name]) => !name.startsWith(':'))
  return [...own.filter(([name]) => !given.has(name)), ...pseudo, ...regular]
}
