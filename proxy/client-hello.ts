/** Reads server name and protocols out of a ClientHello that comes in any number of pieces; believes no length. */

/** What a client asks for with its first message (RFC 8446 section 4.1.2). */
export interface ClientHello {
  /** Bytes of the name as latin1 text, lower case (RFC 6066 section 3). */
  readonly serverName: string | undefined
  /** Application protocols in the client's order, as latin1 text (RFC 7301). */
  readonly protocols: readonly string[]
}

const HANDSHAKE_RECORD = 22
const CLIENT_HELLO = 1
const RECORD_HEADER_BYTES = 5
const MESSAGE_HEADER_BYTES = 4
/** Browsers stay below 2 KiB, even with post-quantum key shares. */
const MAX_MESSAGE_BYTES = 16_384
/** RFC 8446 section 5.1: at most this much in a record, so that more records than a few are a game. */
const MAX_RECORD_BYTES = 16_384
const MAX_RECORDS = 8
const VERSION_AND_RANDOM_BYTES = 34
const SERVER_NAME = 0
const PROTOCOLS = 16
const HOST_NAME = 0
const EMPTY = Buffer.alloc(0)

/** What is left to read of a vector; every reading beyond its end says undefined. */
class Cursor {
  readonly #bytes: Buffer
  #at: number
  readonly #end: number

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end
  }

  /** A number of `size` bytes. */
  uint(size: number): number | undefined {
    if (this.#at + size > this.#end) return undefined
    const value = this.#bytes.readUIntBE(this.#at, size)
    this.#at += size
    return value
  }

  skip(size: number): boolean {
    this.#at += size
    return this.#at <= this.#end
  }

  /** A vector behind its length in `size` bytes. */
  vector(size: number): Cursor | undefined {
    const length = this.uint(size)
    if (length === undefined || this.#at + length > this.#end) return undefined
    const start = this.#at
    this.#at += length
    return new Cursor(this.#bytes, start, this.#at)
  }

  text(): string {
    return this.#bytes.toString('latin1', this.#at, this.#end)
  }
}

/**
 * The first message of `bytes`, which are all that a client has sent so far: `more` when it is not complete yet,
 * `unreadable` when it is no ClientHello or larger than any real one.
 */
export function parseClientHello(bytes: Buffer): ClientHello | 'more' | 'unreadable' {
  const parts = readRecords(bytes)
  if (parts === undefined) return 'unreadable'
  const [first = EMPTY] = parts
  const start = parts.length === 1 ? first : Buffer.concat(parts)
  const needed = neededBytes(start)
  if (needed === undefined || needed > MAX_MESSAGE_BYTES) return 'unreadable'
  if (start.length >= needed) return readMessage(start.subarray(0, needed)) ?? 'unreadable'
  return parts.length < MAX_RECORDS ? 'more' : 'unreadable'
}

/** What the records hold, the last perhaps in part; mostly there is one. Undefined when they are no handshake. */
function readRecords(bytes: Buffer): readonly Buffer[] | undefined {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length && parts.length < MAX_RECORDS; ) {
    if (bytes[at] !== HANDSHAKE_RECORD) return undefined
    const start = at + RECORD_HEADER_BYTES
    if (start > bytes.length) break
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || length > MAX_RECORD_BYTES) return undefined
    parts.push(bytes.subarray(start, start + length))
    at = start + length
  }
  return parts
}

/** Of the message that begins here, as far as it is known yet. Undefined when it is no ClientHello. */
function neededBytes(start: Buffer): number | undefined {
  if (start.length > 0 && start[0] !== CLIENT_HELLO) return undefined
  return MESSAGE_HEADER_BYTES + (start.length < MESSAGE_HEADER_BYTES ? 1 : start.readUIntBE(1, 3))
}

function readMessage(message: Buffer): ClientHello | undefined {
  const cursor = new Cursor(message)
  const isReadable =
    cursor.skip(MESSAGE_HEADER_BYTES + VERSION_AND_RANDOM_BYTES) &&
    cursor.vector(1) !== undefined &&
    cursor.vector(2) !== undefined &&
    cursor.vector(1) !== undefined
  if (!isReadable) return undefined
  // RFC 5246 section 7.4.1.2: TLS 1.2 allows a hello without extensions.
  if (cursor.isAtEnd) return { serverName: undefined, protocols: [] }
  const extensions = cursor.vector(2)
  return extensions === undefined ? undefined : readExtensions(extensions)
}

function readExtensions(extensions: Cursor): ClientHello | undefined {
  let serverName: string | undefined
  let protocols: readonly string[] = []
  while (!extensions.isAtEnd) {
    const type = extensions.uint(2)
    const content = extensions.vector(2)
    if (content === undefined) return undefined
    if (type === SERVER_NAME) serverName = readServerName(content)
    else if (type === PROTOCOLS) protocols = readProtocols(content)
  }
  return { serverName, protocols }
}

/** The one host name; a list of several is OpenSSL's to refuse. */
function readServerName(content: Cursor): string | undefined {
  const list = content.vector(2)
  const type = list?.uint(1)
  const name = list?.vector(2)
  return type === HOST_NAME && name !== undefined ? name.text().toLowerCase() : undefined
}

function readProtocols(content: Cursor): readonly string[] {
  const list = content.vector(2)
  const protocols: string[] = []
  while (list !== undefined && !list.isAtEnd) {
    const name = list.vector(1)
    if (name === undefined) return []
    protocols.push(name.text())
  }
  return protocols
}
