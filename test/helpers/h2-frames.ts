/** HTTP/2 frames made by hand (RFC 9113, RFC 7541), for requests that no HTTP/2 library agrees to send. */

import type { Socket } from 'node:net'
import { until } from './until.ts'

export interface RawH2Answer {
  /** The edge answered the stream with a header block. */
  readonly isAnswered: boolean
  /** The code of RST_STREAM on the stream, undefined when there was none. */
  readonly resetCode: number | undefined
  /** The edge gave up the whole connection. */
  readonly isGone: boolean
}

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const TYPE = { headers: 1, reset: 3, settings: 4, goAway: 7 } as const
const END_STREAM_AND_HEADERS = 5

/** Sends one request without a body on stream 1 of a TLS connection that chose h2, and waits for its end. */
export async function sendRawH2(socket: Socket, fields: readonly [string, string][]): Promise<RawH2Answer> {
  const answer: { -readonly [Key in keyof RawH2Answer]: RawH2Answer[Key] } = {
    isAnswered: false,
    resetCode: undefined,
    isGone: false,
  }
  let pending: Buffer = Buffer.alloc(0)
  socket.on('close', () => {
    answer.isGone = true
  })
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
      const length = pending.readUIntBE(0, 3)
      const type = pending[3]
      const isStream = pending.readUInt32BE(5) === 1
      if (isStream && type === TYPE.headers) answer.isAnswered = true
      if (isStream && type === TYPE.reset) answer.resetCode = pending.readUInt32BE(9)
      if (type === TYPE.goAway) answer.isGone = true
      pending = pending.subarray(9 + length)
    }
  })
  const block = Buffer.concat(fields.map(([name, value]) => literal(name, value)))
  socket.write(
    Buffer.concat([
      Buffer.from(PREFACE),
      frame(TYPE.settings, 0, { stream: 0, payload: Buffer.alloc(0) }),
      frame(TYPE.headers, END_STREAM_AND_HEADERS, { stream: 1, payload: block }),
    ]),
  )
  await until(
    () => answer.isAnswered || answer.resetCode !== undefined || answer.isGone,
    'an end of the hand-made stream',
  )
  return answer
}

function frame(type: number, flags: number, rest: { stream: number; payload: Buffer }): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(rest.payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(rest.stream, 5)
  return Buffer.concat([head, rest.payload])
}

/** RFC 7541 section 6.2.2: a literal without indexing, with a new name, without Huffman. */
function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  if (bytes.length >= 127) throw new Error('longer texts need a longer length prefix')
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}
