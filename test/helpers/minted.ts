/** Certificates of every kind, good and bad, made in this process. */

import 'reflect-metadata'
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
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
  /** Says whose key it has and whose has signed it, as public authorities do. Without that the names alone lead to the issuer. */
  readonly hasKeyIds?: boolean
  /** Instead of a random one; hexadecimal. */
  readonly serial?: string
}

export const NOW = Date.parse('2026-06-15T12:00:00Z')
const DAY_MS = 86_400_000
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const keys = new Map<string, KeyObject>()

/** For those who do not live at `NOW`. */
export function lifeFromToday(days: number): Pick<Mint, 'notBefore' | 'notAfter'> {
  return { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + days * DAY_MS) }
}

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
  const { kind = 'P-256', isAuthority = false } = wanted
  const subject =
    wanted.subject ?? (isAuthority ? `CN=Authority ${randomBytes(4).toString('hex')}` : 'CN=leaf')
  const key = wanted.key ?? keyOf(kind)
  const signer = wanted.issuer ?? { key, kind, subject }
  const signed = await sign({ ...wanted, subject }, { publicKey: await toPublic(key, kind), signer })
  return { subject, key, kind, keyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(), ...signed }
}

/** For a key of which the public part alone is known, in SubjectPublicKeyInfo. Answers PEM. */
export async function mintFor(
  publicKey: ArrayBuffer,
  wanted: Mint & { readonly subject: string; readonly issuer: Minted },
): Promise<string> {
  return (await sign(wanted, { publicKey, signer: wanted.issuer })).pem
}

interface Keys {
  readonly publicKey: webcrypto.CryptoKey | ArrayBuffer
  readonly signer: Pick<Minted, 'key' | 'kind' | 'subject'>
}

async function sign(
  wanted: Mint & { readonly subject: string },
  { publicKey, signer }: Keys,
): Promise<Pick<Minted, 'pem' | 'der'>> {
  const { subject, hash = 'SHA-256', serial = `40${randomBytes(8).toString('hex')}` } = wanted
  const certificate = await X509CertificateGenerator.create({
    ...{ serialNumber: serial, subject, issuer: signer.subject, publicKey },
    notBefore: wanted.notBefore ?? daysFromNow(-10),
    notAfter: wanted.notAfter ?? daysFromNow(80),
    signingKey: await toSigning(signer.key, signer.kind, hash),
    signingAlgorithm: toAlgorithm(signer.kind, hash) as never,
    extensions: [
      ...extensionsOf(wanted),
      ...(wanted.hasKeyIds ? await keyIdsOf(publicKey, createPublicKey(signer.key)) : []),
    ],
  })
  return { pem: `${certificate.toString('pem')}\n`, der: Buffer.from(certificate.rawData) }
}

function extensionsOf(wanted: Mint & { readonly subject: string }): Extension[] {
  const { isAuthority = false, names, uses, keyUsage, extensions = [], subject } = wanted
  const alternatives = names?.map((value) => ({ type: 'dns' as const, value }))
  return [
    new BasicConstraintsExtension(isAuthority, undefined, true),
    ...(isAuthority ? [new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true)] : []),
    ...(keyUsage === undefined ? [] : [new KeyUsagesExtension(keyUsage, true)]),
    // RFC 5280 section 4.1.2.6: critical where nothing else names the subject.
    ...(alternatives ? [new SubjectAlternativeNameExtension(alternatives, subject === '')] : []),
    ...(uses ? [new ExtendedKeyUsageExtension([...uses])] : []),
    ...extensions,
  ]
}

async function keyIdsOf(publicKey: Keys['publicKey'], issuer: KeyObject): Promise<Extension[]> {
  const own =
    publicKey instanceof ArrayBuffer ? publicKey : await webcrypto.subtle.exportKey('spki', publicKey)
  const digestOf = (spki: ArrayBuffer | Buffer) =>
    createHash('sha1').update(new Uint8Array(spki)).digest('hex')
  return [
    new SubjectKeyIdentifierExtension(digestOf(own)),
    new AuthorityKeyIdentifierExtension(digestOf(issuer.export({ type: 'spki', format: 'der' }))),
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
