/** Chains of certificates: put in order from the leaf up, each really issued by the next, and all of them good now. */

import type { X509Certificate } from 'node:crypto'
import { readCertificate, UnusualKeyError } from '../certificate-parts.ts'
import { SKEW_MS } from '../validity.ts'
import { type CertificateFacts, EXTENSIONS, readFacts } from './certificate-facts.ts'
import { refusal, shown } from './refusal.ts'

/** A certificate, and what it says of itself. */
export interface ChainMember {
  readonly certificate: X509Certificate
  readonly facts: CertificateFacts
  /** Really signed by itself. */
  readonly isRoot: boolean
}

/** The longest public chains have four. */
const MAX_CERTIFICATES = 10
/** RFC 8017, RFC 5758: what browsers take. */
const SIGNATURES: readonly string[] = [
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
]
const WEAK_SIGNATURES: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.2': 'MD2',
  '1.2.840.113549.1.1.4': 'MD5',
  '1.2.840.113549.1.1.5': 'SHA-1',
  '1.2.840.10040.4.3': 'SHA-1',
  '1.2.840.10045.4.1': 'SHA-1',
}
const KNOWN_EXTENSIONS: readonly string[] = Object.values(EXTENSIONS)

/** @throws AcmeError `certificate_invalid` */
export function readMembers(ders: readonly Buffer[]): readonly ChainMember[] {
  if (ders.length === 0) throw refusal('There is no certificate in it.')
  if (ders.length > MAX_CERTIFICATES)
    throw refusal(`There are ${ders.length} certificates in it; a chain has ${MAX_CERTIFICATES} at most.`)
  return ders.map((der, at) => readMember(der, at + 1))
}

function readMember(der: Buffer, number: number): ChainMember {
  try {
    const { certificate } = readCertificate(der)
    return { certificate, facts: readFacts(der), isRoot: isIssuedBy(certificate, certificate) }
  } catch (cause) {
    if (cause instanceof UnusualKeyError)
      throw refusal(
        `Certificate ${number} has a key that is not taken here: it must be EC (P-256, P-384, P-521, by name), or RSA of 4096 bits at most with an exponent of at most 32 bits.`,
      )
    throw refusal(`Certificate ${number} cannot be read: it is no X.509 certificate, or damaged.`, cause)
  }
}

/**
 * From the leaf up, without roots: clients have their own. `isLeaf` tells the one that the key belongs to.
 * @throws AcmeError `certificate_invalid` when there is none, or one that does not belong to the chain
 */
export function toChain(
  members: readonly ChainMember[],
  isLeaf: (member: ChainMember) => boolean,
): readonly [ChainMember, ...ChainMember[]] {
  const leaf = members.find(isLeaf)
  if (leaf === undefined) throw refusal('The key belongs to none of the certificates.')
  const left = distinct(members).filter((member) => !isSame(member, leaf))
  const chain: [ChainMember, ...ChainMember[]] = [leaf]
  let top: ChainMember | undefined = leaf
  while (top !== undefined && !top.isRoot) {
    if (top !== leaf) chain.push(top)
    top = takeIssuer(left, top)
  }
  const stray = left.find(({ isRoot }) => !isRoot) ?? (top === undefined ? left[0] : undefined)
  if (stray) throw strayRefusal(stray, chain)
  return chain
}

/** The issuer, taken out of those that are left. */
function takeIssuer(left: ChainMember[], { certificate }: ChainMember): ChainMember | undefined {
  const at = left.findIndex((member) => isIssuedBy(certificate, member.certificate))
  return at < 0 ? undefined : left.splice(at, 1)[0]
}

/** It did not issue what the chain ends with: either it is of another chain, or one between them is missing. */
function strayRefusal({ certificate }: ChainMember, chain: readonly ChainMember[]): Error {
  const top = chain.at(-1)?.certificate
  return refusal(
    `The certificate of "${shown(certificate.subject)}" does not belong to the chain, which ends with "${shown(top?.subject ?? '')}", issued by "${shown(top?.issuer ?? '')}".`,
  )
}

/** Issuer and subject fit, and so does the signature. */
function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  if (!certificate.checkIssued(issuer)) return false
  try {
    return certificate.verify(issuer.publicKey)
  } catch {
    return false
  }
}

function distinct(members: readonly ChainMember[]): ChainMember[] {
  return members.filter((member, at) => members.findIndex((other) => isSame(member, other)) === at)
}

function isSame(one: ChainMember, other: ChainMember): boolean {
  return one.certificate.raw.equals(other.certificate.raw)
}

/** What has to hold for the leaf and for those above it. @throws AcmeError `certificate_invalid` */
export function checkMembers(chain: readonly ChainMember[], nowMs: number): void {
  for (const [at, member] of chain.entries()) {
    const what =
      at === 0 ? 'The certificate' : `The issuer's certificate of "${shown(member.certificate.subject)}"`
    checkTimes(member, what, nowMs)
    checkSignature(member, what)
    checkCritical(member, what)
    if (at > 0 && !member.certificate.ca) throw refusal(`${what} is not one of an authority (CA:TRUE).`)
  }
}

function checkTimes({ certificate }: ChainMember, what: string, nowMs: number): void {
  const { validFromDate, validToDate } = certificate
  if (validToDate.getTime() <= nowMs) throw refusal(`${what} ended at ${validToDate.toISOString()}.`)
  if (validFromDate.getTime() > nowMs + SKEW_MS)
    throw refusal(`${what} begins only at ${validFromDate.toISOString()}.`)
}

function checkSignature({ facts: { signatureOid } }: ChainMember, what: string): void {
  if (SIGNATURES.includes(signatureOid)) return
  const weak = WEAK_SIGNATURES[signatureOid]
  if (weak) throw refusal(`${what} is signed with ${weak}, which no client trusts any more.`)
  throw refusal(
    `${what} is signed with ${signatureOid}, which browsers do not take; RSA or ECDSA with SHA-2 is.`,
  )
}

/** RFC 5280 section 4.2: a client must refuse a certificate with a critical extension that it does not know. */
function checkCritical({ facts: { extensions } }: ChainMember, what: string): void {
  if (extensions.has(EXTENSIONS.precertificate))
    throw refusal(`${what} is a precertificate (RFC 6962), which is only for logs.`)
  for (const [oid, { isCritical }] of extensions) {
    if (isCritical && !KNOWN_EXTENSIONS.includes(oid))
      throw refusal(`${what} has the critical extension ${oid}, which clients do not know.`)
  }
}
