/** The certificate that answers tls-alpn-01 (RFC 8737 section 3): self-signed, for one name and one key authorization. */

import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { DAY_MS, HOUR_MS } from '../../lib/durations.ts'
import { contextTag, TAGS, toBitString, toDer, toOid } from '../der.ts'

export interface AlpnDemand {
  /** Lower case. */
  readonly name: string
  readonly keyAuthorization: string
  readonly nowMs: number
}

export interface AlpnCertificate {
  readonly certificateDer: Buffer
  readonly key: KeyObject
}

const ECDSA_WITH_SHA256 = toDer(TAGS.sequence, toOid('1.2.840.10045.4.3.2'))
const SUBJECT_ALT_NAME = toOid('2.5.29.17')
const COMMON_NAME = toOid('2.5.4.3')
const ACME_IDENTIFIER = toOid('1.3.6.1.5.5.7.1.31')
const VERSION_3 = toDer(contextTag(0), toDer(TAGS.integer, Buffer.from([2])))
/** Not the host name, which may be longer than the 64 characters that a common name may have. */
const NAME = toDer(0x31, toDer(TAGS.sequence, COMMON_NAME, toDer(0x0c, Buffer.from('ACME challenge'))))
const DNS_NAME = 0x82
const LIFE_MS = 7 * DAY_MS

/** In the caller's turn, because a handshake waits for it: 0.2 ms, key included. */
export function createAlpnCertificate({ name, keyAuthorization, nowMs }: AlpnDemand): AlpnCertificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const digest = createHash('sha256').update(keyAuthorization).digest()
  const extensions = toDer(
    TAGS.sequence,
    toExtension(SUBJECT_ALT_NAME, toDer(TAGS.sequence, toDer(DNS_NAME, Buffer.from(name)))),
    toExtension(ACME_IDENTIFIER, toDer(TAGS.octetString, digest), CRITICAL),
  )
  const subject = toDer(TAGS.sequence, NAME)
  const signed = toDer(
    TAGS.sequence,
    ...[VERSION_3, toDer(TAGS.integer, createSerial()), ECDSA_WITH_SHA256, subject],
    toDer(TAGS.sequence, toTime(nowMs - HOUR_MS), toTime(nowMs + LIFE_MS)),
    ...[subject, createPublicKey(privateKey).export({ type: 'spki', format: 'der' })],
    toDer(contextTag(3), extensions),
  )
  const signature = toBitString(sign('sha256', signed, privateKey))
  return { certificateDer: toDer(TAGS.sequence, signed, ECDSA_WITH_SHA256, signature), key: privateKey }
}

const CRITICAL = toDer(TAGS.boolean, Buffer.from([0xff]))

function toExtension(oid: Buffer, value: Buffer, critical: Buffer = Buffer.alloc(0)): Buffer {
  return toDer(TAGS.sequence, oid, critical, toDer(TAGS.octetString, value))
}

/** UTCTime, as RFC 5280 section 4.1.2.5 asks until 2049. */
function toTime(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')
  return toDer(TAGS.utcTime, Buffer.from(text.slice(2)))
}

/** Positive, and with no leading zero byte. */
function createSerial(): Buffer {
  const bytes = randomBytes(16)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0)
  return bytes
}
