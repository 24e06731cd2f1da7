/** Reads a chunked body (RFC 9112 section 7.1) and refuses everything that section does not name. */

import { upstreamInvalid } from './errors.ts'
import { parseFieldLines } from './field-lines.ts'

const MAX_SIZE_LINE_BYTES = 1_024
const MAX_TRAILER_BYTES = 16_384
/** Extensions are dropped but must have the form of RFC 9112 section 7.1.1, without blanks, as Node has it. */
const SIZE_LINE =
  /^([0-9A-Fa-f]{1,12})(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*$/
const EMPTY = Buffer.alloc(0)

type State = 'size' | 'data' | 'data-end' | 'trailers'

export class ChunkedDecoder {
  #state: State = 'size'
  #remaining = 0
  #pending: Buffer = EMPTY
  /** Names and values, alternating; complete once `feed` returned bytes. */
  trailers: readonly string[] = []

  /**
   * Hands body bytes to `data`. Returns what follows the body once it is complete, undefined before.
   * @throws RelayError upstream_invalid
   */
  feed(chunk: Buffer, data: (bytes: Buffer) => void): Buffer | undefined {
    let rest = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    this.#pending = EMPTY
    while (this.#state !== 'trailers') {
      if (this.#state === 'data') {
        rest = this.#readData(rest, data)
        if (this.#remaining > 0) return undefined
      }
      const line = this.#takeLine(rest)
      if (line === undefined) return undefined
      rest = rest.subarray(line.length + 2)
      this.#acceptLine(line)
    }
    return this.#readTrailers(rest)
  }

  #readData(bytes: Buffer, data: (bytes: Buffer) => void): Buffer {
    const taken = Math.min(this.#remaining, bytes.length)
    if (taken > 0) data(bytes.subarray(0, taken))
    this.#remaining -= taken
    if (this.#remaining === 0) this.#state = 'data-end'
    return bytes.subarray(taken)
  }

  #acceptLine(line: string): void {
    if (this.#state === 'data-end') {
      if (line !== '') throw upstreamInvalid('chunk longer than its size')
      this.#state = 'size'
      return
    }
    const match = SIZE_LINE.exec(line)
    if (match === null) throw upstreamInvalid('chunk size')
    this.#remaining = Number.parseInt(match[1] ?? '', 16)
    this.#state = this.#remaining === 0 ? 'trailers' : 'data'
  }

  /** The line up to CRLF, or undefined when it is not there yet. */
  #takeLine(bytes: Buffer): string | undefined {
    const end = bytes.indexOf(10)
    if (end > 0 && bytes[end - 1] === 13 && end <= MAX_SIZE_LINE_BYTES)
      return bytes.toString('latin1', 0, end - 1)
    if (end >= 0 || bytes.length > MAX_SIZE_LINE_BYTES) throw upstreamInvalid('chunk line')
    if (this.#state === 'data-end' && bytes.length > 0 && bytes[0] !== 13)
      throw upstreamInvalid('chunk longer than its size')
    this.#pending = Buffer.from(bytes)
    return undefined
  }

  #readTrailers(bytes: Buffer): Buffer | undefined {
    if (bytes.length >= 2 && bytes[0] === 13 && bytes[1] === 10) return bytes.subarray(2)
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0) {
      if (bytes.length > MAX_TRAILER_BYTES + 3) throw upstreamInvalid('trailers too large')
      this.#pending = Buffer.from(bytes)
      return undefined
    }
    if (end > MAX_TRAILER_BYTES) throw upstreamInvalid('trailers too large')
    this.trailers = parseTrailers(bytes.toString('latin1', 0, end))
    return bytes.subarray(end + 4)
  }
}

/** RFC 9110 section 6.5.1: a trailer that frames a message would be read differently by different parsers. */
function parseTrailers(text: string): readonly string[] {
  const { headers, names } = parseFieldLines(text, 0)
  if (names.includes('content-length') || names.includes('transfer-encoding'))
    throw upstreamInvalid('framing field in the trailers')
  return headers
}
