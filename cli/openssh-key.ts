/** Private keys as OpenSSH writes them itself: `openssh-key-v1`, which its PROTOCOL.key describes. */

import { createECDH, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import {
  type CurveNames,
  ED25519_BYTES,
  getKeyType,
  parsePublicBlob,
  type SshPublicKey,
} from './ssh-public-key.ts'
import { WireError, WireReader } from './ssh-wire.ts'

export interface OpensshKey {
  readonly publicKey: SshPublicKey
  /** Undefined for one that is encrypted with a passphrase. */
  readonly privateKey: KeyObject | undefined
}

const ARMOUR =
  /^-----BEGIN OPENSSH PRIVATE KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END OPENSSH PRIVATE KEY-----\s*$/
const MAGIC = 'openssh-key-v1\0'
const PLAIN = 'none'
/** The cipher `none` pads to blocks of 8 bytes. */
const BLOCK_BYTES = 8

/** @throws WireError for anything that is not exactly one key of a type that can sign tokens */
export function parseOpensshKey(text: string): OpensshKey {
  const reader = new WireReader(decode(text))
  if (reader.readBytes(MAGIC.length).toString('latin1') !== MAGIC)
    throw new WireError('it is of another version')
  const [cipher, kdf, kdfOptions] = [reader.readName(), reader.readName(), reader.readString()]
  if (reader.readUint32() !== 1) throw new WireError('it does not hold one key')
  const publicKey = parsePublicBlob(reader.readString())
  const secret = reader.readString()
  if (cipher !== PLAIN) return { publicKey, privateKey: undefined }
  reader.checkEnd()
  if (kdf !== PLAIN || kdfOptions.length > 0) throw new WireError('its cipher and its key derivation differ')
  return { publicKey, privateKey: parseSecret(secret, publicKey) }
}

function decode(text: string): Buffer {
  const [, body = ''] = ARMOUR.exec(text) ?? []
  const base64 = body.replaceAll(/[\r\n]/g, '')
  const bytes = Buffer.from(base64, 'base64')
  if (base64 === '' || bytes.toString('base64') !== base64) throw new WireError('it is not whole')
  return bytes
}

function parseSecret(secret: Buffer, publicKey: SshPublicKey): KeyObject {
  const reader = new WireReader(secret)
  const [check, again] = [reader.readUint32(), reader.readUint32()]
  if (check !== again) throw new WireError('its check numbers differ')
  const type = getKeyType(reader.readName())
  if (type !== publicKey.type) throw new WireError('its halves are of two types')
  const privateKey = type.curve === undefined ? readEd25519(reader) : readEcdsa(reader, type.curve)
  reader.readString()
  checkPadding(reader.readRest(), secret.length)
  // Signing with one key and naming another would only be found out where the token is used.
  if (!createPublicKey(privateKey).equals(publicKey.key))
    throw new WireError('its halves do not belong together')
  return privateKey
}

/** RFC 8032 section 5.1.5: the seed, behind which OpenSSH repeats the public key. */
function readEd25519(reader: WireReader): KeyObject {
  const point = reader.readString()
  const both = reader.readString()
  const [seed, repeated] = [both.subarray(0, ED25519_BYTES), both.subarray(ED25519_BYTES)]
  if (seed.length !== ED25519_BYTES || !repeated.equals(point)) throw new WireError('its halves differ')
  const [x, d] = [point.toString('base64url'), seed.toString('base64url')]
  return toKey({ kty: 'OKP', crv: 'Ed25519', x, d })
}

function readEcdsa(reader: WireReader, { ssh, jwk, openssl, bytes }: CurveNames): KeyObject {
  if (reader.readName() !== ssh) throw new WireError('its type and its curve differ')
  const point = reader.readString()
  const d = reader.readPositive(bytes)
  if (!derivePoint(openssl, d).equals(point)) throw new WireError('its halves do not belong together')
  const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)]
  return toKey({
    kty: 'EC',
    crv: jwk,
    x: x.toString('base64url'),
    y: y.toString('base64url'),
    d: d.toString('base64url'),
  })
}

function derivePoint(curve: string, d: Buffer): Buffer {
  const ecdh = createECDH(curve)
  try {
    ecdh.setPrivateKey(d)
  } catch (cause) {
    throw new WireError('its number is out of range', { cause })
  }
  return ecdh.getPublicKey()
}

function toKey(jwk: Readonly<Record<string, string>>): KeyObject {
  try {
    return createPrivateKey({ key: { ...jwk }, format: 'jwk' })
  } catch (cause) {
    throw new WireError('its halves do not belong together', { cause })
  }
}

/** 1, 2, 3, … up to a whole block. */
function checkPadding(padding: Buffer, length: number): void {
  const isCounting = padding.every((byte, at) => byte === at + 1)
  if (!isCounting || padding.length >= BLOCK_BYTES || length % BLOCK_BYTES !== 0)
    throw new WireError('its padding is wrong')
}
