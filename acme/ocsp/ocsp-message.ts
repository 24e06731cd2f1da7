/** The messages of OCSP (RFC 6960): the question for one certificate, and the answer once it has been proven. */

import { createHash, type KeyObject, verify, type X509Certificate } from 'node:crypto'
import { type CertificateParts, readCertificate } from '../certificate-parts.ts'
import {
  contextTag,
  type DerElement,
  readBits,
  readChildren,
  readDer,
  readOid,
  readSequence,
  readTagged,
  readTime,
  TAGS,
  toDer,
  toOid,
} from '../der.ts'

/** Unix milliseconds. */
export interface OcspAnswer {
  readonly status: 'good' | 'revoked' | 'unknown'
  readonly thisUpdateMs: number
  readonly nextUpdateMs: number
}

/** The certificate that is asked about, and the one that issued it. */
export interface OcspSubject {
  readonly leaf: CertificateParts
  readonly issuer: CertificateParts
}

/** An answer that proves nothing. */
export class OcspError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'OcspError'
  }
}

const SHA1 = toDer(TAGS.sequence, toOid('1.3.14.3.2.26'), Buffer.from([0x05, 0]))
const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1'
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9'
/** Clocks differ. */
const CLOCK_SKEW_MS = 5 * 60_000
const MAX_LIFE_MS = 31 * 86_400_000
/** By the tag of CertStatus. */
const STATUSES: Readonly<Record<number, OcspAnswer['status']>> = {
  128: 'good',
  161: 'revoked',
  130: 'unknown',
}

/** By object identifier; null where the key says which digest. SHA-1 proves nothing any more. */
const DIGESTS: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
}

/** Without a nonce, so that responders may answer from stock (RFC 5019). */
export function createOcspRequest(subject: OcspSubject): Buffer {
  const request = toDer(TAGS.sequence, toCertId(subject))
  return toDer(TAGS.sequence, toDer(TAGS.sequence, toDer(TAGS.sequence, request)))
}

/** @throws OcspError, UnusualKeyError, DerError */
export function readOcspResponse(bytes: Buffer, subject: OcspSubject, nowMs: number): OcspAnswer {
  const [status, body] = readSequence(readDer(bytes))
  const code = readTagged(status, TAGS.enumerated).value[0]
  if (code !== 0) throw new OcspError(`the responder gives status ${code}`)
  const [outer] = readChildren(readTagged(body, contextTag(0)))
  const [type, content] = readSequence(outer)
  if (readOid(type) !== BASIC_RESPONSE) throw new OcspError('the answer is of another kind')
  const basic = readDer(readTagged(content, TAGS.octetString).value)
  const [data, algorithm, signature, certificates] = readSequence(basic)
  const signed = readTagged(data, TAGS.sequence)
  const { responder, answers } = readData(signed)
  const digest = readDigest(algorithm)
  const key = findSigner({ responder, certificates, issuer: subject.issuer }, nowMs)
  if (!verify(digest, signed.raw, key, readBits(signature))) throw new OcspError('the signature is wrong')
  return checkTimes(getAnswer(answers, subject), nowMs)
}

/** The three elements that follow the optional version; those after them say nothing that counts here. */
function readData(signed: DerElement): {
  readonly responder: DerElement | undefined
  readonly answers: readonly DerElement[]
} {
  const fields = readChildren(signed)
  const [responder, , list] = fields[0]?.tag === contextTag(0) ? fields.slice(1) : fields
  return { responder, answers: readSequence(list) }
}

function readDigest(algorithm: DerElement | undefined): string | null {
  const digest = DIGESTS[readOid(readSequence(algorithm)[0])]
  if (digest === undefined) throw new OcspError('the signature is of a kind that does not count')
  return digest
}

interface Signers {
  readonly responder: DerElement | undefined
  readonly certificates: DerElement | undefined
  readonly issuer: CertificateParts
}

/** RFC 6960 section 4.2.2.2: the issuer itself, or one to whom the issuer has given this task and no other. */
function findSigner({ responder, certificates, issuer }: Signers, nowMs: number): KeyObject {
  if (isNamed(responder, issuer)) return issuer.certificate.publicKey
  const list = certificates === undefined ? [] : readChildren(readTagged(certificates, contextTag(0)))
  const [chain] = list
  const delegates = chain === undefined ? [] : readSequence(chain)
  // A hostile answer may bring many; none needs more than a few.
  for (const { raw } of delegates.slice(0, 5)) {
    const delegate = readCertificate(raw)
    if (isNamed(responder, delegate) && isDelegate(delegate.certificate, issuer.certificate, nowMs))
      return delegate.certificate.publicKey
  }
  throw new OcspError('the answer is signed by somebody else')
}

function isNamed(responder: DerElement | undefined, { subject, keyBits }: CertificateParts): boolean {
  if (responder?.tag === contextTag(1)) return responder.value.equals(subject)
  const id = readDer(readTagged(responder, contextTag(2)).value)
  return readTagged(id, TAGS.octetString).value.equals(sha1(keyBits))
}

function isDelegate(delegate: X509Certificate, issuer: X509Certificate, nowMs: number): boolean {
  // Node calls the extended key usage so.
  const isMeant = delegate.keyUsage?.includes(OCSP_SIGNING) === true
  const isCurrent = delegate.validFromDate.getTime() <= nowMs && nowMs < delegate.validToDate.getTime()
  if (!isMeant || !isCurrent || !delegate.checkIssued(issuer)) return false
  return delegate.verify(issuer.publicKey)
}

/** @throws OcspError when it does not speak of the certificate */
function getAnswer(answers: readonly DerElement[], subject: OcspSubject): OcspAnswer {
  const wanted = toCertId(subject)
  for (const answer of answers.slice(0, 10)) {
    const [certId, choice, thisUpdate, next] = readChildren(answer)
    if (certId === undefined || !isSameId(certId, wanted)) continue
    const status = STATUSES[choice?.tag ?? 0]
    if (status === undefined) throw new OcspError('the answer has no status')
    if (next?.tag !== contextTag(0)) throw new OcspError('the answer does not say how long it is good')
    return {
      status,
      thisUpdateMs: readTime(thisUpdate),
      nextUpdateMs: readTime(readDer(next.value)),
    }
  }
  throw new OcspError('the answer is about another certificate')
}

/** Some responders leave the NULL of the digest's parameters out. */
function isSameId(certId: DerElement, wanted: Buffer): boolean {
  const [algorithm, ...rest] = readChildren(certId)
  const [wantedAlgorithm, ...wantedRest] = readChildren(readDer(wanted))
  if (readDigestOid(algorithm) !== readDigestOid(wantedAlgorithm) || rest.length !== wantedRest.length)
    return false
  return rest.every(({ raw }, index) => wantedRest[index]?.raw.equals(raw))
}

function readDigestOid(algorithm: DerElement | undefined): string {
  return readOid(readSequence(algorithm)[0])
}

function checkTimes(answer: OcspAnswer, nowMs: number): OcspAnswer {
  const { thisUpdateMs, nextUpdateMs } = answer
  if (thisUpdateMs > nowMs + CLOCK_SKEW_MS) throw new OcspError('the answer is not valid yet')
  if (nextUpdateMs <= nowMs) throw new OcspError('the answer has run out')
  if (nextUpdateMs - thisUpdateMs > MAX_LIFE_MS) throw new OcspError('the answer lives too long')
  return answer
}

function toCertId({ leaf, issuer }: OcspSubject): Buffer {
  return toDer(
    TAGS.sequence,
    ...[SHA1, toDer(TAGS.octetString, sha1(leaf.issuer)), toDer(TAGS.octetString, sha1(issuer.keyBits))],
    toDer(TAGS.integer, leaf.serial),
  )
}

function sha1(bytes: Buffer): Buffer {
  return createHash('sha1').update(bytes).digest()
}
