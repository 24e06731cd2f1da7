/** Reads the head of small HTTP/1.1 requests (RFC 9112) from a guest, which may send anything. */

import type { MetadataRequest } from './metadata.ts'

/** A whole head; no honest guest comes near it. */
const MAX_HEAD_CHARACTERS = 8_192
const MAX_HEADERS = 32
const HEAD_END = /\r?\n\r?\n/
const LONGEST_END = 4
const REQUEST_LINE = /^([A-Z]{1,16}) (\/[\x21-\x7e]*) HTTP\/1\.[01]$/
/** As above, behind what another connection left unfinished. */
const LATE_REQUEST_LINE = /[A-Z]{1,16} \/[\x21-\x7e]* HTTP\/1\.[01]$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/

/** `more`: nothing is whole yet; `over`: that was no request, or too long a one, and is forgotten. */
export type Reading = 'more' | 'over' | MetadataRequest

export interface ReaderSettings {
  /**
   * True where the connections of a guest come as one stream, with no sign of where one ends: a request may follow
   * upon a part of another.
   */
  readonly isShared: boolean
}

export class RequestReader {
  readonly #isShared: boolean
  #text = ''

  constructor({ isShared }: ReaderSettings) {
    this.#isShared = isShared
  }

  /** The first request of what came by now; the others are read by `read('')`. */
  read(chunk: string): Reading {
    const from = Math.max(0, chunk === '' ? 0 : this.#text.length - LONGEST_END)
    this.#text += chunk
    const end = HEAD_END.exec(this.#text.slice(from))
    const length = end ? from + end.index : this.#text.length
    if (length > MAX_HEAD_CHARACTERS) {
      this.clear()
      return 'over'
    }
    if (!end) return 'more'
    const head = this.#text.slice(0, length)
    this.#text = this.#text.slice(length + end[0].length)
    return parseHead(this.#isShared ? findLastHead(head) : head) ?? 'over'
  }

  /** What was not read yet is forgotten. */
  clear(): void {
    this.#text = ''
  }
}

/** From the last request line on; the rest belongs to a connection that was given up. */
function findLastHead(head: string): string {
  const lines = head.split(/\r?\n/)
  const at = lines.findLastIndex((line) => LATE_REQUEST_LINE.test(line))
  const first = LATE_REQUEST_LINE.exec(lines[at] ?? '')?.[0] ?? ''
  return [first, ...lines.slice(at + 1)].join('\n')
}

function parseHead(head: string): MetadataRequest | undefined {
  const [first = '', ...lines] = head.split(/\r?\n/)
  const [, method, target] = REQUEST_LINE.exec(first) ?? []
  if (method === undefined || target === undefined || lines.length > MAX_HEADERS) return undefined
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? []
    // A name that is there twice may have been put there by somebody else than the one who wrote the first.
    if (name === undefined || value === undefined || headers.has(name.toLowerCase())) return undefined
    headers.set(name.toLowerCase(), value.trimEnd())
  }
  return { method, target, headers }
}

/** What follows such a head is not the next request. */
export function hasBody({ headers }: MetadataRequest): boolean {
  return headers.has('transfer-encoding') || !['0', undefined].includes(headers.get('content-length'))
}
