/** What readers of the certificate table are given. */

import type { CertificateRecord, KeyType } from '../records/certificates.ts'

/** One certificate in memory. The same object until it changes; then the old one stays what it was. */
export interface KnownCertificate {
  readonly name: string
  readonly keyType: KeyType
  readonly names: readonly string[]
  readonly source: CertificateRecord['source']
  /** Unix milliseconds. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Goes up with each replacement. */
  readonly revision: number
  readonly renewal: KnownRenewal | undefined
  /** Reads the rest out of packed memory. */
  read(): CertificateRecord
}

/** Unix milliseconds. */
export interface KnownRenewal {
  readonly renewAtMs: number
  readonly askAtMs: number
  readonly windowStartMs?: number
  readonly windowEndMs?: number
  readonly reason?: string
}
