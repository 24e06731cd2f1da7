/** Certificates that strangers made, and the parts of them that `X509Certificate` does not give: exact bytes. */

import { X509Certificate } from 'node:crypto'
import { type DerElement, DerError, readBits, readDer, readSequence, readTagged, TAGS } from './der.ts'
import { toCertPem } from './pem.ts'
import { findAlgorithm, isUsualKey } from './public-keys.ts'

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

/** A certificate whose key it would cost too much to read, or to verify with. */
export class UnusualKeyError extends Error {
  constructor() {
    super('the certificate has a key of a kind that is not taken here')
    this.name = 'UnusualKeyError'
  }
}

const VERSION = 0xa0

/** @throws UnusualKeyError; DerError, or Node's error, when it is no certificate */
export function readCertificate(der: Buffer): CertificateParts {
  const [signed] = readSequence(readDer(der))
  const fields = readSequence(signed)
  const [serial, , issuer, , subject, publicKey] = fields[0]?.tag === VERSION ? fields.slice(1) : fields
  const [algorithm, bits] = readSequence(publicKey)
  // Before node:crypto reads it.
  if (findAlgorithm(algorithm) === undefined) throw new UnusualKeyError()
  // SAFETY: given DER, node:crypto first looks for PEM anywhere in it, which would be another certificate.
  const certificate = new X509Certificate(toCertPem(der.toString('base64')))
  if (!isUsualKey(certificate.publicKey)) throw new UnusualKeyError()
  return {
    certificate,
    serial: readTagged(serial, TAGS.integer).value,
    issuer: rawOf(issuer),
    subject: rawOf(subject),
    keyBits: readBits(bits),
  }
}

function rawOf(element: DerElement | undefined): Buffer {
  if (element === undefined) throw new DerError('a certificate ends early')
  return element.raw
}
