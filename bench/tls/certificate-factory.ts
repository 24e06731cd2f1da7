/** Makes leaf certificates by the hundred thousand, below an intermediate of a CA of its own: EC P-256 all through. */

import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { contextTag, TAGS, toBitString, toDer, toOid } from '../../acme/der.ts'

export interface Leaf {
  readonly name: string
  /** DER, the leaf first, without the root. */
  readonly chain: readonly [Buffer, Buffer]
  /** PKCS#8 in DER. */
  readonly key: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface CertificateFactory {
  /** The root: what a client has to trust. */
  readonly caPem: string
  /** About 0.1 ms each. Names of 64 characters at most. */
  make(name: string): Leaf
}

interface Authority {
  readonly name: Buffer
  readonly key: KeyObject
  readonly keyId: Buffer
}

interface Subject {
  readonly name: Buffer
  readonly publicKey: Buffer
  readonly extensions: readonly Buffer[]
}

interface LeafKey {
  readonly publicKey: Buffer
  readonly pkcs8: Buffer
}

/** To make one takes ten times as long as a signature, and no server asks whether two certificates share one. */
const LEAF_KEYS = 100
const HOUR_MS = 3_600_000
const LIFE_MS = 2_160 * HOUR_MS
const ECDSA_SHA256 = sequence(toOid('1.2.840.10045.4.3.2'))
const OIDS = {
  commonName: '2.5.4.3',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  alternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const
const TRUE = toDer(TAGS.boolean, Buffer.from([0xff]))
const FOR_AUTHORITIES = [
  extension('basicConstraints', sequence(TRUE), 'critical'),
  // keyCertSign and cRLSign.
  extension('keyUsage', toBitString(Buffer.from([0x06]), 1), 'critical'),
]
const FOR_SERVERS = [
  extension('basicConstraints', sequence(), 'critical'),
  // digitalSignature.
  extension('keyUsage', toBitString(Buffer.from([0x80]), 7), 'critical'),
  extension('extendedKeyUsage', sequence(toOid(OIDS.serverAuth))),
]

export function createCertificateFactory(): CertificateFactory {
  const notBefore = new Date(Date.now() - HOUR_MS)
  const notAfter = new Date(Date.now() + LIFE_MS)
  const validity = sequence(utcTime(notBefore), utcTime(notAfter))
  const root = createAuthority('Landfall bench root')
  const middle = createAuthority('Landfall bench intermediate')
  const rootDer = certify(toSubject(root), root, validity)
  const middleDer = certify(toSubject(middle), root, validity)
  const keys = Array.from({ length: LEAF_KEYS }, createLeafKey)
  let made = 0
  return {
    caPem: toPem('CERTIFICATE', rootDer),
    make(name) {
      const { publicKey, pkcs8 } = keys[made++ % LEAF_KEYS] as LeafKey
      const alternatives = sequence(toDer(0x82, Buffer.from(name)))
      const extensions = [extension('alternativeName', alternatives), ...FOR_SERVERS]
      const leaf = certify({ name: toName(name), publicKey, extensions }, middle, validity)
      return { name, chain: [leaf, middleDer], key: pkcs8, notBefore, notAfter }
    },
  }
}

/** The chain, then the key: what nginx and HAProxy both read. */
export function toLeafPem({ chain, key }: Pick<Leaf, 'chain' | 'key'>): string {
  return [...chain.map((part) => toPem('CERTIFICATE', part)), toPem('PRIVATE KEY', key)].join('')
}

function toPem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').replaceAll(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`
}

function createAuthority(commonName: string): Authority {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { name: toName(commonName), key: privateKey, keyId: toKeyId(publicKeyOf(privateKey)) }
}

function toSubject({ name, key }: Authority): Subject {
  return { name, publicKey: publicKeyOf(key), extensions: FOR_AUTHORITIES }
}

function createLeafKey(): LeafKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { publicKey: publicKeyOf(privateKey), pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }) }
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return toDer(TAGS.sequence, ...parts)
}

/** Years 1950 to 2049 (RFC 5280 section 4.1.2.5.1). */
function utcTime(moment: Date): Buffer {
  const digits = moment.toISOString().replaceAll(/[-:T]/g, '').slice(2, 14)
  return toDer(TAGS.utcTime, Buffer.from(`${digits}Z`))
}

/** RFC 5280 section 4.1. */
function certify({ name, publicKey, extensions }: Subject, issuer: Authority, validity: Buffer): Buffer {
  const identifiers = [
    extension('authorityKeyId', sequence(toDer(0x80, issuer.keyId))),
    extension('subjectKeyId', toDer(TAGS.octetString, toKeyId(publicKey))),
  ]
  const version3 = toDer(contextTag(0), toDer(TAGS.integer, Buffer.from([2])))
  const body = sequence(
    ...[version3, toDer(TAGS.integer, createSerial()), ECDSA_SHA256, issuer.name, validity, name, publicKey],
    toDer(contextTag(3), sequence(...extensions, ...identifiers)),
  )
  return sequence(body, ECDSA_SHA256, toBitString(sign('sha256', body, issuer.key)))
}

function extension(kind: keyof typeof OIDS, value: Buffer, weight?: 'critical'): Buffer {
  return sequence(toOid(OIDS[kind]), ...(weight === undefined ? [] : [TRUE]), toDer(TAGS.octetString, value))
}

function toName(commonName: string): Buffer {
  return sequence(
    toDer(TAGS.set, sequence(toOid(OIDS.commonName), toDer(TAGS.utf8, Buffer.from(commonName)))),
  )
}

/** RFC 5280 section 4.2.1.2 (1); a P-256 point is the last 65 bytes of its SubjectPublicKeyInfo. */
function toKeyId(publicKey: Buffer): Buffer {
  return createHash('sha1').update(publicKey.subarray(-65)).digest()
}

/** Positive, with no leading zero byte. */
function createSerial(): Buffer {
  const bytes = randomBytes(16)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0)
  return bytes
}

function publicKeyOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' })
}
