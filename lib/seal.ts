/** Seals secrets for places that others can read: AES-256-GCM, each value bound to where it is kept. */

import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'

const ALGORITHM = 'aes-256-gcm'
export const KEY_BYTES = 32
/** 96 bits at random: NIST SP 800-38D section 8.3 allows 2^32 seals with one key. */
const NONCE_BYTES = 12
const TAG_BYTES = 16
const KEY_ID_CHARACTERS = 8

/** A JSON object; `data` is nonce, ciphertext and tag in base64url. */
export interface Sealed {
  readonly sealed: 'v1'
  /** Which key: the first 8 characters of its SHA-256 in base64url. */
  readonly keyId: string
  readonly data: string
}

export interface Sealer {
  /** `boundTo` says where the value is kept (a record's key): elsewhere it cannot be opened. */
  seal(plain: Buffer | string, boundTo: string): Sealed
  /** @throws SealError */
  open(sealed: unknown, boundTo: string): Buffer
}

/** A key that cannot be one, or a value that was altered, moved, or sealed with a key that is not known. */
export class SealError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SealError'
  }
}

/**
 * The first key seals, all of them open. A text holds one key a line, 32 bytes in base64.
 * @throws SealError when a key is not 32 bytes, or when there is none
 */
export function createSealer(keys: string | Buffer | readonly Buffer[]): Sealer {
  const list = typeof keys === 'string' ? parseSealKeys(keys) : Buffer.isBuffer(keys) ? [keys] : keys
  const known = new Map(list.map((key) => [toKeyId(key), checked(key)]))
  const [first] = known.keys()
  if (first === undefined) throw new SealError('there is no key')
  return {
    seal: (plain, boundTo) => ({
      sealed: 'v1',
      keyId: first,
      data: encrypt(plain, { key: getKey(known, first), about: aboutOf(first, boundTo) }),
    }),
    open: (value, boundTo) => {
      if (!isSealed(value)) throw new SealError('the value is not a sealed one')
      return decrypt(value.data, { key: getKey(known, value.keyId), about: aboutOf(value.keyId, boundTo) })
    },
  }
}

/** Keys for one purpose alone (RFC 5869): what is sealed with them says nothing of the others, and wears none of them out. */
export function deriveSealKeys(keys: readonly Buffer[], purpose: string): readonly Buffer[] {
  return keys.map((key) => Buffer.from(hkdfSync('sha256', key, '', purpose, KEY_BYTES)))
}

/** @throws SealError */
export function parseSealKeys(text: string): readonly Buffer[] {
  const lines = text.split('\n').map((line) => line.trim())
  return lines.filter((line) => line !== '').map((line) => checked(parseKey(line)))
}

function parseKey(line: string): Buffer {
  // Buffer.from skips what is not base64, and would make a weaker key of a mistyped one.
  const isBase64 = /^[A-Za-z0-9+/]{43}=?$/.test(line) || /^[A-Za-z0-9_-]{43}$/.test(line)
  if (!isBase64) throw new SealError('a key is not 32 bytes in base64')
  return Buffer.from(line, 'base64')
}

function checked(key: Buffer): Buffer {
  if (key.length !== KEY_BYTES) throw new SealError(`a key has ${key.length} bytes, not ${KEY_BYTES}`)
  return key
}

function toKeyId(key: Buffer): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, KEY_ID_CHARACTERS)
}

function getKey(known: ReadonlyMap<string, Buffer>, keyId: string): Buffer {
  const key = known.get(keyId)
  if (key === undefined) throw new SealError(`the key ${keyId.slice(0, KEY_ID_CHARACTERS)} is not known`)
  return key
}

/** What the tag vouches for besides the value. A key's id has no NUL, so the parts cannot run into each other. */
function aboutOf(keyId: string, boundTo: string): Buffer {
  return Buffer.from(`v1\0${keyId}\0${boundTo}`)
}

interface KeyAndAbout {
  readonly key: Buffer
  readonly about: Buffer
}

function encrypt(plain: Buffer | string, { key, about }: KeyAndAbout): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(about)
  const text = typeof plain === 'string' ? Buffer.from(plain) : plain
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString(
    'base64url',
  )
}

function decrypt(data: string, { key, about }: KeyAndAbout): Buffer {
  const bytes = Buffer.from(data, 'base64url')
  if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new SealError('the value is too short to be a sealed one')
  const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(about)
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  } catch (cause) {
    throw new SealError('the value was altered, or moved from where it was sealed for', { cause })
  }
}

function isSealed(value: unknown): value is Sealed {
  if (typeof value !== 'object' || value === null) return false
  const { sealed, keyId, data } = value as Partial<Record<string, unknown>>
  return sealed === 'v1' && typeof keyId === 'string' && typeof data === 'string'
}
