/** Makes the two kinds of X.509 certificate (RFC 5280) that a local authority needs: its own and a server's. */

import 'reflect-metadata'
import { createHash, createPublicKey, type KeyObject, randomBytes } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export interface Dates {
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface Signer {
  /** An EC P-256 private key. */
  readonly key: KeyObject
  /** The distinguished name, as `CN=…`. */
  readonly subject: string
}

/** RFC 5280 section 4.2.1.2 (1): SHA-1 of the public key's bits, in hexadecimal. */
export function keyIdentifier(key: KeyObject): string {
  // A P-256 point is the last 65 bytes of its SubjectPublicKeyInfo.
  return createHash('sha1').update(publicKeyOf(key).subarray(-65)).digest('hex')
}

/** A self-signed authority that may sign servers only, no further authority. Answers PEM. */
export async function createAuthorityCertificate(signer: Signer, validity: Dates): Promise<string> {
  return sign(signer, {
    subject: signer.subject,
    key: signer.key,
    validity,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new SubjectKeyIdentifierExtension(keyIdentifier(signer.key)),
    ],
  })
}

export interface ServerCertificateRequest {
  /** Host names, lower case; `*.` may lead. */
  readonly names: readonly string[]
  readonly key: KeyObject
  readonly validity: Dates
}

/** A certificate for a TLS server. Answers PEM. */
export async function createServerCertificate(
  signer: Signer,
  { names, key, validity }: ServerCertificateRequest,
): Promise<string> {
  const alternatives = names.map((value) => ({ type: 'dns' as const, value }))
  return sign(signer, {
    subject: '',
    key,
    validity,
    extensions: [
      // Critical because the subject is empty (RFC 5280 section 4.2.1.6); clients read no common name (RFC 9525).
      new SubjectAlternativeNameExtension(alternatives, true),
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new AuthorityKeyIdentifierExtension(keyIdentifier(signer.key)),
      new SubjectKeyIdentifierExtension(keyIdentifier(key)),
    ],
  })
}

interface Draft {
  readonly subject: string
  readonly key: KeyObject
  readonly validity: Dates
  readonly extensions: Extension[]
}

async function sign(signer: Signer, { subject, key, validity, extensions }: Draft): Promise<string> {
  const certificate = await X509CertificateGenerator.create({
    serialNumber: createSerial(),
    subject,
    issuer: signer.subject,
    publicKey: publicKeyOf(key),
    signingKey: signer.key.toCryptoKey(SIGNING, false, ['sign']),
    signingAlgorithm: SIGNING,
    ...validity,
    extensions,
  })
  return `${certificate.toString('pem')}\n`
}

/** 16 random bytes, positive and with no leading zero byte (RFC 5280 section 4.1.2.2). */
function createSerial(): string {
  const bytes = randomBytes(16)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0)
  return bytes.toString('hex')
}

function publicKeyOf(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  return publicKey.export({ type: 'spki', format: 'der' })
}
