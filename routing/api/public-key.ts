/** Public SSH keys as OpenSSH writes them in one line (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4). */

import { createHash, createPublicKey } from 'node:crypto'
import { RecordInvalid } from '../errors.ts'
import type { KeyRecord } from '../records/records.ts'

export type PublicKey = Pick<KeyRecord, 'id' | 'type' | 'publicKey'> & {
  /** What follows the key in its line. */
  readonly comment: string
}

/** What Node calls the curve, and the bytes of one coordinate. */
const CURVES = {
  'ecdsa-sha2-nistp256': { name: 'nistp256', crv: 'P-256', bytes: 32 },
  'ecdsa-sha2-nistp384': { name: 'nistp384', crv: 'P-384', bytes: 48 },
  'ecdsa-sha2-nistp521': { name: 'nistp521', crv: 'P-521', bytes: 66 },
} as const
const ED25519 = 'ssh-ed25519'
const ED25519_BYTES = 32
const UNCOMPRESSED = 4
const LINE = /^([a-z0-9-]{1,40}) +([A-Za-z0-9+/]{40,400}={0,2})(?: +(\P{Cc}*))?$/u

type Curve = keyof typeof CURVES

/** `ssh-ed25519 AAAA… comment`; the comment may be missing. @throws RecordInvalid for `/publicKey` */
export function parsePublicKey(line: string): PublicKey {
  const [, type = '', publicKey = '', comment = ''] = LINE.exec(line.trim()) ?? []
  if (type === '') throw refusal('one line as in id_ed25519.pub: "ssh-ed25519 AAAA… comment"')
  const blob = Buffer.from(publicKey, 'base64')
  // Another spelling of the same bytes would be the same key under another text.
  if (blob.toString('base64') !== publicKey) throw refusal('a key in canonical base64')
  const parts = splitBlob(blob)
  if (parts[0]?.toString('latin1') !== type) throw refusal(`a key whose inside says "${type}" as well`)
  if (type !== ED25519 && !isCurve(type))
    throw refusal(`of the type ${[ED25519, ...Object.keys(CURVES)].join(', ')}`)
  const isPoint = type === ED25519 ? isEd25519(parts) : isOnCurve(type, parts)
  if (!isPoint) throw refusal(`a whole key of the type ${type}`)
  return { id: fingerprintOf(blob), type, publicKey, comment: comment.trim() }
}

/** The blob's SHA-256 in base64url: `ssh-keygen -l` prints the same in base64. */
function fingerprintOf(blob: Buffer): string {
  return createHash('sha256').update(blob).digest('base64url')
}

/** RFC 4251 section 5: each part is its length in 32 bits and then its bytes. Empty when that does not come out. */
function splitBlob(blob: Buffer): readonly Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < blob.length; ) {
    if (at + 4 > blob.length) return []
    const end = at + 4 + blob.readUInt32BE(at)
    if (end > blob.length) return []
    parts.push(blob.subarray(at + 4, end))
    at = end
  }
  return parts
}

function isCurve(type: string): type is Curve {
  return Object.hasOwn(CURVES, type)
}

function isEd25519([, point, ...more]: readonly Buffer[]): boolean {
  return point?.length === ED25519_BYTES && more.length === 0
}

function isOnCurve(type: Curve, [, name, point, ...more]: readonly Buffer[]): boolean {
  const { name: expected, crv, bytes } = CURVES[type]
  if (name?.toString('latin1') !== expected || point === undefined || more.length > 0) return false
  if (point.length !== 1 + 2 * bytes || point[0] !== UNCOMPRESSED) return false
  const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)]
  try {
    createPublicKey({
      key: { kty: 'EC', crv, x: x.toString('base64url'), y: y.toString('base64url') },
      format: 'jwk',
    })
    return true
  } catch {
    return false
  }
}

function refusal(what: string): RecordInvalid {
  return new RecordInvalid('/publicKey', `It must be ${what}.`)
}
