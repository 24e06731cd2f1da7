/** What has to hold for a certificate that a TLS server shows: its use, its names, and nothing that has to be stapled. */

import { matches } from '../hostnames.ts'
import { EXTENSIONS, hasKeyUsage } from './certificate-facts.ts'
import type { ChainMember } from './chain.ts'
import { refusal, shown } from './refusal.ts'

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const ANY_USE = '2.5.29.37.0'
const DIGITAL_SIGNATURE = 0
const MAX_SHOWN_NAMES = 5

/** @throws AcmeError `certificate_invalid` */
export function checkLeaf(leaf: ChainMember, hostnames: readonly string[]): void {
  const { certificate, facts } = leaf
  if (certificate.ca)
    throw refusal("The certificate is one of an authority (CA:TRUE); clients refuse it as a server's.")
  if (facts.extensions.has(EXTENSIONS.tlsFeature))
    throw refusal(
      'The certificate must be stapled (TLS feature, RFC 7633): without an OCSP answer at every moment clients refuse it. Have it issued without must-staple.',
    )
  checkUse(leaf)
  checkNames(leaf, hostnames)
}

function checkUse({ certificate, facts }: ChainMember): void {
  // node:crypto calls the extended key usage so.
  const uses = certificate.keyUsage
  if (uses !== undefined && !uses.includes(SERVER_AUTH) && !uses.includes(ANY_USE))
    throw refusal(
      `The certificate is not for servers: its extended key usage lacks serverAuth (${SERVER_AUTH}).`,
    )
  if (hasKeyUsage(facts, DIGITAL_SIGNATURE) === false)
    throw refusal('The certificate may not sign handshakes: its key usage lacks digitalSignature.')
}

/** RFC 9525 section 6.3: alternative names alone, a wildcard stands for the leftmost label. */
function checkNames({ facts: { dnsNames } }: ChainMember, hostnames: readonly string[]): void {
  if (dnsNames.length === 0)
    throw refusal(
      'The certificate has no DNS name among its alternative names; a common name does not count.',
    )
  const missing = hostnames.find((hostname) => !dnsNames.some((name) => isCovered(hostname, name)))
  if (missing === undefined) return
  const some = dnsNames.slice(0, MAX_SHOWN_NAMES).map(shown).join(', ')
  const more = dnsNames.length - MAX_SHOWN_NAMES
  throw refusal(
    `The certificate does not cover "${missing}", only ${some}${more > 0 ? ` and ${more} more` : ''}.`,
  )
}

/** A wildcard that is wanted has to be there as such. */
function isCovered(hostname: string, name: string): boolean {
  return name === hostname || (!hostname.startsWith('*.') && matches(name, hostname))
}
