/** The data types of SSH (RFC 4251 section 5) as keys and agents use them, read strictly. */

/** What is read is not of the form that it has to have; the message says how, in lower case. */
export class WireError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'WireError'
  }
}

const LENGTH_BYTES = 4

/** Reads from the start of some bytes; each method throws WireError where they end too early. */
export class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  readBytes(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new WireError('it ends too early')
    const bytes = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return bytes
  }

  readUint32(): number {
    return this.readBytes(LENGTH_BYTES).readUInt32BE()
  }

  readString(): Buffer {
    return this.readBytes(this.readUint32())
  }

  /** A name such as `ssh-ed25519`: visible ASCII. */
  readName(): string {
    const text = this.readString().toString('latin1')
    if (!/^[\x21-\x7e]{0,100}$/.test(text)) throw new WireError('a name in it is not plain')
    return text
  }

  /** A positive whole number of at most so many bytes, in exactly that many; other spellings of it are refused. */
  readPositive(bytes: number): Buffer {
    const text = this.readString()
    const [first = 0, second = 0] = text
    const isCanonical = first === 0 ? text.length > 1 && second >= 0x80 : first < 0x80
    const digits = first === 0 ? text.subarray(1) : text
    if (!isCanonical || digits.length > bytes) throw new WireError('a number in it is not in canonical form')
    return Buffer.concat([Buffer.alloc(bytes - digits.length), digits])
  }

  /** What has not been read. */
  readRest(): Buffer {
    return this.readBytes(this.#bytes.length - this.#at)
  }

  checkEnd(): void {
    if (!this.isAtEnd) throw new WireError('it has bytes too many')
  }
}

/** With its length in front. */
export function wireString(text: Buffer | string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([wireUint32(bytes.length), bytes])
}

export function wireUint32(value: number): Buffer {
  const bytes = Buffer.alloc(LENGTH_BYTES)
  bytes.writeUInt32BE(value)
  return bytes
}
