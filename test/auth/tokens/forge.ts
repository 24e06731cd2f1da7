/** Makes tokens by hand, so that every part of them can be wrong. */

import { createHmac, generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import type { SshKeyRow } from '../../../auth/access.ts'

/** An object, or the text to take as it is. */
export type Part = Readonly<Record<string, unknown>> | string

export function encode(part: Part): string {
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
}

/** ECDSA signs as JWS has it (RFC 7518 section 3.4), Ed25519 by itself. */
export function signBytes(key: KeyObject, text: string): Buffer {
  if (key.asymmetricKeyType === 'ed25519') return sign(null, Buffer.from(text), key)
  return sign(digestFor(key), Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
}

function digestFor(key: KeyObject): string {
  const curve = key.asymmetricKeyDetails?.namedCurve
  return curve === 'secp521r1' ? 'sha512' : curve === 'secp384r1' ? 'sha384' : 'sha256'
}

export function forge(header: Part, claims: Part, key: KeyObject): string {
  const text = `${encode(header)}.${encode(claims)}`
  return `${text}.${signBytes(key, text).toString('base64url')}`
}

export function forgeWithSecret(header: Part, claims: Part, secret: string | Buffer): string {
  const text = `${encode(header)}.${encode(claims)}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

const CURVES = { nistp256: 'P-256', nistp384: 'P-384', nistp521: 'P-521' } as const

export interface SshKey {
  readonly row: SshKeyRow
  readonly privateKey: KeyObject
  /** As `ssh-keygen -l` prints it. */
  readonly kid: string
}

export function makeSshKey(user: string, curve: keyof typeof CURVES | 'ed25519' = 'ed25519'): SshKey {
  const made =
    curve === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: CURVES[curve] })
  const { x = '', y = '' } = made.publicKey.export({ format: 'jwk' })
  const type = curve === 'ed25519' ? 'ssh-ed25519' : `ecdsa-sha2-${curve}`
  const point = [Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]
  const parts =
    curve === 'ed25519' ? [type, point[0] ?? ''] : [type, curve, Buffer.concat([Buffer.of(4), ...point])]
  const blob = Buffer.concat(parts.flatMap(toSshString))
  const id = hash('sha256', blob, 'base64url')
  const kid = `SHA256:${Buffer.from(id, 'base64url').toString('base64').replace(/=+$/, '')}`
  return { row: { id, user, type, publicKey: blob.toString('base64') }, privateKey: made.privateKey, kid }
}

/** RFC 4251 section 5. */
function toSshString(part: string | Buffer): Buffer[] {
  const bytes = Buffer.from(part)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return [length, bytes]
}
