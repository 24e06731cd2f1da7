/** The parts of a certificate that OCSP asks with: exact bytes, which `X509Certificate` does not give. */

import { createHash, X509Certificate } from 'node:crypto'
import { type DerElement, DerError, readBits, readChildren, readDer, readTagged, TAGS } from '../der.ts'

export interface CertificateParts {
  readonly certificate: X509Certificate
  /** The INTEGER's bytes. */
  readonly serial: Buffer
  /** Names in DER. */
  readonly issuer: Buffer
  readonly subject: Buffer
  /** The bits of the public key, without its algorithm. */
  readonly keyBits: Buffer
}

const VERSION = 0xa0
/** id-ad-ocsp (RFC 5280 section 4.2.2.1), encoded. */
const OCSP_METHOD = Buffer.from('06082b06010505073001', 'hex')

/** @throws DerError, or Node's error, when it is no certificate */
export function readCertificate(der: Buffer): CertificateParts {
  const certificate = new X509Certificate(der)
  const [signed] = readChildren(readTagged(readDer(der), TAGS.sequence))
  const fields = readChildren(readTagged(signed, TAGS.sequence))
  const [serial, , issuer, , subject, publicKey] = fields[0]?.tag === VERSION ? fields.slice(1) : fields
  return {
    certificate,
    serial: readTagged(serial, TAGS.integer).value,
    issuer: rawOf(issuer),
    subject: rawOf(subject),
    keyBits: readBits(readChildren(readTagged(publicKey, TAGS.sequence))[1]),
  }
}

/** A quick look, before anything is read: a certificate without these bytes names no responder. */
export function mayNameResponder(der: Buffer): boolean {
  return der.includes(OCSP_METHOD)
}

/** The first `http:` URL of its responders. */
export function findResponder({ infoAccess }: X509Certificate): string | undefined {
  return /^OCSP - URI:(http:\/\/[^\s"]{1,1000})$/im.exec(infoAccess ?? '')?.[1]
}

export function sha1(bytes: Buffer): Buffer {
  return createHash('sha1').update(bytes).digest()
}

function rawOf(element: DerElement | undefined): Buffer {
  if (element === undefined) throw new DerError('a certificate ends early')
  return element.raw
}
