/** Writes and reads DER (ITU-T X.690), where the exact bytes matter: what is signed, hashed or compared. */

export const TAGS = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** One element; `raw` is all of it, `value` what is inside. */
export interface DerElement {
  readonly tag: number
  readonly raw: Buffer
  readonly value: Buffer
}

/** Bytes that are not DER. */
export class DerError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'DerError'
  }
}

/** The tag of `[number]`, constructed. */
export function contextTag(number: number): number {
  return 0xa0 | number
}

export function toDer(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([tag]), toLength(value.length), value])
}

/** `text` is dotted decimal. */
export function toOid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  return toDer(TAGS.oid, Buffer.from([first * 40 + second, ...rest].flatMap(toBase128)))
}

/** `value` is not negative. */
export function toInteger(value: bigint): Buffer {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  // The first bit says that a number is negative.
  const isNegative = bytes.readUInt8(0) >= 128
  return toDer(TAGS.integer, ...(isNegative ? [Buffer.alloc(1)] : []), bytes)
}

/** With `unused` bits at its end. */
export function toBitString(bytes: Buffer, unused = 0): Buffer {
  return toDer(TAGS.bitString, Buffer.from([unused]), bytes)
}

/** Exactly one element. @throws DerError */
export function readDer(bytes: Buffer): DerElement {
  const element = readFirst(bytes)
  if (element.raw.length !== bytes.length) throw new DerError('bytes follow the element')
  return element
}

/** What is inside a constructed element. @throws DerError */
export function readChildren(parent: DerElement): readonly DerElement[] {
  const children: DerElement[] = []
  for (let rest = parent.value; rest.length > 0; ) {
    const child = readFirst(rest)
    children.push(child)
    rest = rest.subarray(child.raw.length)
  }
  return children
}

/** @throws DerError when there is none, or it has another tag */
export function readTagged(element: DerElement | undefined, tag: number): DerElement {
  if (element?.tag !== tag) throw new DerError(`there is no element with the tag 0x${tag.toString(16)}`)
  return element
}

/** What is inside a SEQUENCE. @throws DerError */
export function readSequence(element: DerElement | undefined): readonly DerElement[] {
  return readChildren(readTagged(element, TAGS.sequence))
}

/** @throws DerError, also for a negative one */
export function readInteger(element: DerElement | undefined): bigint {
  const { value } = readTagged(element, TAGS.integer)
  const [first = 0xff] = value
  if (first >= 128) throw new DerError('an integer is negative, or empty')
  return BigInt(`0x${value.toString('hex')}`)
}

/** In dotted decimal. @throws DerError */
export function readOid(element: DerElement | undefined): string {
  const { value } = readTagged(element, TAGS.oid)
  const parts: number[] = []
  let part = 0
  for (const byte of value) {
    part = part * 128 + (byte & 0x7f)
    if (part > 0xffff_ffff) throw new DerError('an object identifier is too large')
    if (byte < 128) {
      parts.push(part)
      part = 0
    }
  }
  const [first = 0, ...rest] = parts
  const root = Math.min(2, Math.floor(first / 40))
  return [root, first - root * 40, ...rest].join('.')
}

/** A BIT STRING of whole bytes. @throws DerError */
export function readBits(element: DerElement | undefined): Buffer {
  const { value } = readTagged(element, TAGS.bitString)
  if (value[0] !== 0) throw new DerError('a bit string is not of whole bytes')
  return value.subarray(1)
}

/** GeneralizedTime as in RFC 5280 section 4.1.2.5.2; Unix milliseconds. @throws DerError */
export function readTime(element: DerElement | undefined): number {
  const text = readTagged(element, TAGS.generalizedTime).value.toString('latin1')
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  const [, year, month, day, hour, minute, second] = match ?? []
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  if (match === null || Number.isNaN(ms)) throw new DerError('a time cannot be read')
  return ms
}

function readFirst(bytes: Buffer): DerElement {
  const [tag, short] = bytes
  if (tag === undefined || short === undefined) throw new DerError('the bytes end early')
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag is too large')
  const { start, length } = short < 128 ? { start: 2, length: short } : readLongLength(bytes, short & 0x7f)
  if (start + length > bytes.length) throw new DerError('the bytes end early')
  const end = start + length
  return { tag, raw: bytes.subarray(0, end), value: bytes.subarray(start, end) }
}

/** Three bytes of it are 16 MiB. */
function readLongLength(bytes: Buffer, count: number): { readonly start: number; readonly length: number } {
  if (count === 0 || count > 3 || bytes.length < 2 + count) throw new DerError('a length cannot be read')
  return { start: 2 + count, length: bytes.readUIntBE(2, count) }
}

function toLength(length: number): Buffer {
  if (length < 128) return Buffer.from([length])
  const bytes = length < 0x100 ? 1 : length < 0x1_0000 ? 2 : 3
  const encoded = Buffer.alloc(1 + bytes, 0x80 | bytes)
  encoded.writeUIntBE(length, 1, bytes)
  return encoded
}

function toBase128(part: number): number[] {
  const bytes = [part & 0x7f]
  for (let rest = Math.floor(part / 128); rest > 0; rest = Math.floor(rest / 128))
    bytes.unshift((rest & 0x7f) | 0x80)
  return bytes
}
