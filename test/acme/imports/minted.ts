/** Certificates of every kind, good and bad, made in this process. */

import 'reflect-metadata'
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

export type KeyKind =
  | 'P-256'
  | 'P-384'
  | 'P-521'
  | 'rsa-1024'
  | 'rsa-2048'
  | 'rsa-4096'
  | 'rsa-5120'
  | 'ed25519'

export interface Minted {
  readonly subject: string
  readonly key: KeyObject
  readonly kind: KeyKind
  readonly pem: string
  readonly der: Buffer
  readonly keyPem: string
}

export interface Mint {
  readonly subject?: string
  /** Signs itself when absent. */
  readonly issuer?: Minted
  readonly kind?: KeyKind
  readonly key?: KeyObject
  /** DNS names; absent: no extension. */
  readonly names?: readonly string[]
  readonly isAuthority?: boolean
  /** OIDs of the extended key usage. */
  readonly uses?: readonly string[]
  readonly keyUsage?: number
  readonly extensions?: readonly Extension[]
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly hash?: string
}

export const NOW = Date.parse('2026-06-15T12:00:00Z')
const DAY_MS = 86_400_000
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const keys = new Map<string, KeyObject>()

export const daysFromNow = (days: number) => new Date(NOW + days * DAY_MS)

export function newKey(kind: KeyKind): KeyObject {
  if (kind === 'ed25519') return generateKeyPairSync('ed25519').privateKey
  const bits = /^rsa-(\d+)$/.exec(kind)?.[1]
  if (bits) return generateKeyPairSync('rsa', { modulusLength: Number(bits) }).privateKey
  return generateKeyPairSync('ec', { namedCurve: kind }).privateKey
}

/** RSA keys take long to make: one of each kind is enough. */
function keyOf(kind: KeyKind): KeyObject {
  if (!kind.startsWith('rsa')) return newKey(kind)
  const key = keys.get(kind) ?? newKey(kind)
  keys.set(kind, key)
  return key
}

export async function mint(wanted: Mint = {}): Promise<Minted> {
  const { kind = 'P-256', isAuthority = false, hash = 'SHA-256', issuer } = wanted
  const subject =
    wanted.subject ?? (isAuthority ? `CN=Authority ${randomBytes(4).toString('hex')}` : 'CN=leaf')
  const key = wanted.key ?? keyOf(kind)
  const [signingKey, signingKind] = issuer ? [issuer.key, issuer.kind] : [key, kind]
  const certificate = await X509CertificateGenerator.create({
    serialNumber: `40${randomBytes(8).toString('hex')}`,
    subject,
    issuer: issuer?.subject ?? subject,
    notBefore: wanted.notBefore ?? daysFromNow(-10),
    notAfter: wanted.notAfter ?? daysFromNow(80),
    publicKey: await toPublic(key, kind),
    signingKey: await toSigning(signingKey, signingKind, hash),
    signingAlgorithm: toAlgorithm(signingKind, hash) as never,
    extensions: extensionsOf(wanted, isAuthority),
  })
  const der = Buffer.from(certificate.rawData)
  const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { subject, key, kind, pem: `${certificate.toString('pem')}\n`, der, keyPem }
}

function extensionsOf({ names, uses, keyUsage, extensions = [] }: Mint, isAuthority: boolean): Extension[] {
  const alternatives = names?.map((value) => ({ type: 'dns' as const, value }))
  return [
    new BasicConstraintsExtension(isAuthority, undefined, true),
    ...(isAuthority ? [new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true)] : []),
    ...(keyUsage === undefined ? [] : [new KeyUsagesExtension(keyUsage, true)]),
    ...(alternatives ? [new SubjectAlternativeNameExtension(alternatives)] : []),
    ...(uses ? [new ExtendedKeyUsageExtension([...uses])] : []),
    ...extensions,
  ]
}

/** `value` is DER in hexadecimal. */
export function extension(oid: string, value: string, isCritical = false): Extension {
  return new Extension(oid, isCritical, Buffer.from(value, 'hex'))
}

function toAlgorithm(kind: KeyKind, hash: string) {
  if (kind === 'ed25519') return { name: 'Ed25519' }
  if (kind.startsWith('rsa')) return { name: 'RSASSA-PKCS1-v1_5', hash }
  return { name: 'ECDSA', namedCurve: kind, hash }
}

function toSigning(key: KeyObject, kind: KeyKind, hash: string): Promise<webcrypto.CryptoKey> {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  return webcrypto.subtle.importKey('pkcs8', der, toAlgorithm(kind, hash), false, ['sign'])
}

async function toPublic(key: KeyObject, kind: KeyKind): Promise<webcrypto.CryptoKey> {
  const der = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return webcrypto.subtle.importKey('spki', der, toAlgorithm(kind, 'SHA-256'), true, ['verify'])
}

export interface Chain {
  readonly root: Minted
  readonly intermediate: Minted
  readonly leaf: Minted
}

/** A root, an intermediate and a leaf for `www.shop.example`. */
export async function mintChain(wanted: Mint = {}): Promise<Chain> {
  const root = await mint({ isAuthority: true, notAfter: daysFromNow(3_000) })
  const intermediate = await mint({ isAuthority: true, issuer: root, notAfter: daysFromNow(900) })
  const leaf = await mint({
    names: ['www.shop.example'],
    uses: [SERVER_AUTH],
    ...wanted,
    issuer: intermediate,
  })
  return { root, intermediate, leaf }
}

export function pkcs1Of(keyPem: string): string {
  return createPrivateKey(keyPem).export({ type: 'pkcs1', format: 'pem' }).toString()
}

export function sec1Of(keyPem: string): string {
  return createPrivateKey(keyPem).export({ type: 'sec1', format: 'pem' }).toString()
}

export const DIGITAL_SIGNATURE = KeyUsageFlags.digitalSignature
export const KEY_ENCIPHERMENT = KeyUsageFlags.keyEncipherment
