/** Which of several certificates of one name a client is shown. */

import type { KnownCertificate } from '../books.ts'
import { KEY_TYPES } from '../rows.ts'

/** What is known of the client before its handshake. */
export interface ClientAbilities {
  /** Costs some µs. */
  takesEcdsa(): boolean
}

/** An exact name before a wildcard, and EC before RSA, as the table has them; RSA first for clients that take no ECDSA. */
export function toPreferred(
  certificates: readonly KnownCertificate[],
  client: ClientAbilities | undefined,
): readonly KnownCertificate[] {
  if (certificates.length === 1) return certificates
  const rsa = certificates.filter(({ keyType }) => keyType === 'rsa')
  const hasBoth = rsa.length > 0 && rsa.length < certificates.length
  if (!hasBoth || client === undefined || client.takesEcdsa()) return certificates
  return [...rsa, ...certificates.filter(({ keyType }) => keyType !== 'rsa')]
}

/** The names of the best one of each key type. */
export function toFirstOfEach(certificates: readonly KnownCertificate[]): readonly (readonly string[])[] {
  const firsts = KEY_TYPES.map((type) => certificates.find(({ keyType }) => keyType === type))
  return firsts.flatMap((certificate) => (certificate === undefined ? [] : [certificate.names]))
}
