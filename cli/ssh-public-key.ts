/** Public SSH keys (RFC 5656 section 3.1, RFC 8709 section 4) and what JWTs call them. */

import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { WireError, WireReader, wireString } from './ssh-wire.ts'

/** What OpenSSH, JOSE (RFC 7518 section 3.4, RFC 8037 section 3.1) and Node call one kind of key. */
export interface KeyType {
  readonly name: string
  readonly alg: string
  /** Absent for Ed25519. */
  readonly curve?: CurveNames
}

export interface CurveNames {
  readonly ssh: string
  readonly jwk: string
  readonly openssl: string
  readonly digest: string
  /** Of one coordinate, and of each half of a signature. */
  readonly bytes: number
}

export interface SshPublicKey {
  readonly type: KeyType
  /** As it stands in base64 in a line of a .pub file. */
  readonly blob: Buffer
  readonly key: KeyObject
  /** `SHA256:…`, as ssh-keygen prints it. */
  readonly fingerprint: string
}

const ED25519: KeyType = { name: 'ssh-ed25519', alg: 'EdDSA' }
const P256 = { ssh: 'nistp256', jwk: 'P-256', openssl: 'prime256v1', digest: 'sha256', bytes: 32 }
const P384 = { ssh: 'nistp384', jwk: 'P-384', openssl: 'secp384r1', digest: 'sha384', bytes: 48 }
const P521 = { ssh: 'nistp521', jwk: 'P-521', openssl: 'secp521r1', digest: 'sha512', bytes: 66 }
const KEY_TYPES: readonly KeyType[] = [
  ED25519,
  { name: 'ecdsa-sha2-nistp256', alg: 'ES256', curve: P256 },
  { name: 'ecdsa-sha2-nistp384', alg: 'ES384', curve: P384 },
  { name: 'ecdsa-sha2-nistp521', alg: 'ES512', curve: P521 },
]
export const ED25519_BYTES = 32
const UNCOMPRESSED = 4

/** @throws WireError when it is not a whole key of a type that can sign tokens */
export function parsePublicBlob(blob: Buffer): SshPublicKey {
  const reader = new WireReader(blob)
  const type = getKeyType(reader.readName())
  const key = type.curve === undefined ? readEd25519(reader) : readPoint(reader, type.curve)
  reader.checkEnd()
  return { type, blob, key, fingerprint: fingerprintOf(blob) }
}

/** @throws WireError for keys that are neither Ed25519 nor on one of the three curves */
export function toSshPublicKey(privateKey: KeyObject): SshPublicKey {
  const { name, curve } = typeOf(privateKey)
  const { x = '', y = '' } = createPublicKey(privateKey).export({ format: 'jwk' })
  const point = [x, y].map((text) => Buffer.from(text, 'base64url'))
  const parts =
    curve === undefined
      ? point.slice(0, 1)
      : [curve.ssh, Buffer.concat([Buffer.from([UNCOMPRESSED]), ...point])]
  return parsePublicBlob(Buffer.concat([name, ...parts].map((part) => wireString(part))))
}

/** Judged before its point is asked for: Node has no JWK for other keys. */
function typeOf({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): KeyType {
  if (asymmetricKeyType === 'ed25519') return ED25519
  const { namedCurve = '' } = asymmetricKeyDetails
  const type = KEY_TYPES.find(({ curve }) => curve?.openssl === namedCurve)
  if (type !== undefined) return type
  throw new WireError(`it is of the type ${[asymmetricKeyType, namedCurve].join(' ').trim()}`)
}

/** @throws WireError */
export function getKeyType(name: string): KeyType {
  const type = KEY_TYPES.find((known) => known.name === name)
  if (type === undefined) throw new WireError(`it is of the type ${name}`)
  return type
}

function fingerprintOf(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}

function readEd25519(reader: WireReader): KeyObject {
  const point = reader.readString()
  if (point.length !== ED25519_BYTES) throw new WireError('its point has not 32 bytes')
  return toKey({ kty: 'OKP', crv: 'Ed25519', x: point.toString('base64url') })
}

function readPoint(reader: WireReader, { ssh, jwk, bytes }: CurveNames): KeyObject {
  if (reader.readName() !== ssh) throw new WireError('its type and its curve differ')
  const point = reader.readString()
  if (point.length !== 1 + 2 * bytes || point[0] !== UNCOMPRESSED)
    throw new WireError('its point is not a whole one')
  const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)]
  return toKey({ kty: 'EC', crv: jwk, x: x.toString('base64url'), y: y.toString('base64url') })
}

function toKey(jwk: Readonly<Record<string, string>>): KeyObject {
  try {
    return createPublicKey({ key: { ...jwk }, format: 'jwk' })
  } catch (cause) {
    throw new WireError('its point is not on its curve', { cause })
  }
}
