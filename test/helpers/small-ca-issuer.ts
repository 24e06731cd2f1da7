/** What a small CA signs: a root, an intermediate, and real leaves for the requests that it is sent. */

import 'reflect-metadata'
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { keyIdentifier } from '../../acme/x509.ts'

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const DAY_MS = 86_400_000
/** RFC 7633: status_request (5) is a must. */
const MUST_STAPLE = { oid: '1.3.6.1.5.5.7.1.24', value: Buffer.from([0x30, 0x03, 0x02, 0x01, 0x05]) }
const SAN = '2.5.29.17'

interface Authority {
  readonly key: KeyObject
  readonly subject: string
  readonly pem: string
}

export interface LeafDemand {
  /** DER. */
  readonly csr: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
  readonly isMustStaple?: boolean
  /** Instead of a random one; hexadecimal. */
  readonly serial?: string
}

export interface SmallIssuer {
  readonly rootPem: string
  readonly intermediatePem: string
  /** The leaf in PEM. */
  issue(demand: LeafDemand): Promise<string>
}

/** @throws Error when the request's signature is wrong */
export async function readRequest(csr: Buffer): Promise<{ readonly names: readonly string[] }> {
  const request = new Pkcs10CertificateRequest(csr)
  if (!(await request.verify())) throw new Error('the signature of the request is wrong')
  const names = request.getExtension(SAN)
  const list = names === null ? [] : new SubjectAlternativeNameExtension(names.rawData).names.items
  return { names: list.map(({ value }) => value.toLowerCase()) }
}

export async function createIssuer(): Promise<SmallIssuer> {
  const root = await createAuthority('CN=Small Root')
  const intermediate = await createAuthority('CN=Small Intermediate', root)
  return {
    rootPem: root.pem,
    intermediatePem: intermediate.pem,
    issue: (demand) => createLeaf(intermediate, demand),
  }
}

async function createAuthority(subject: string, signer?: Authority): Promise<Authority> {
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = await X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '4'),
    subject,
    issuer: signer?.subject ?? subject,
    publicKey: spkiOf(key),
    signingKey: signingKeyOf(signer?.key ?? key),
    signingAlgorithm: SIGNING,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + 3_650 * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new SubjectKeyIdentifierExtension(keyIdentifier(key)),
      ...(signer ? [new AuthorityKeyIdentifierExtension(keyIdentifier(signer.key))] : []),
    ],
  })
  return { key, subject, pem: `${certificate.toString('pem')}\n` }
}

async function createLeaf(signer: Authority, demand: LeafDemand): Promise<string> {
  const request = new Pkcs10CertificateRequest(demand.csr)
  const { names } = await readRequest(demand.csr)
  const certificate = await X509CertificateGenerator.create({
    // A first byte above 0x7f, so that the DER has a leading zero (RFC 9773 section 4.1).
    serialNumber: demand.serial ?? `8${randomBytes(8).toString('hex').slice(1)}`,
    subject: '',
    issuer: signer.subject,
    publicKey: request.publicKey.rawData,
    signingKey: signingKeyOf(signer.key),
    signingAlgorithm: SIGNING,
    notBefore: demand.notBefore,
    notAfter: demand.notAfter,
    extensions: [
      new SubjectAlternativeNameExtension(
        names.map((value) => ({ type: 'dns' as const, value })),
        true,
      ),
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new AuthorityKeyIdentifierExtension(keyIdentifier(signer.key)),
      ...(demand.isMustStaple ? [new Extension(MUST_STAPLE.oid, false, MUST_STAPLE.value)] : []),
    ],
  })
  return `${certificate.toString('pem')}\n`
}

function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' })
}

function signingKeyOf(key: KeyObject): CryptoKey {
  return key.toCryptoKey(SIGNING, false, ['sign'])
}
