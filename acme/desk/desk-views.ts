/** Certificates as the desk shows them: what is in the chain's first, and when it is renewed; never a key. */

import { toMoment } from '../../lib/moment.ts'
import { SealError, type Sealer } from '../../lib/seal.ts'
import type { KnownCertificate, KnownRenewal } from '../books.ts'
import { readCertificate } from '../certificate-parts.ts'
import type { CheckStep } from '../checks/checks.ts'
import { shown } from '../imports/refusal.ts'
import { type CertificateRow, toRecordKey } from '../rows.ts'

/** routing/api/certificate-desk.ts says the same for the API. Moments in ISO 8601. */
export interface CertificateView {
  readonly keyType: string
  readonly names: readonly string[]
  readonly source: string
  readonly issuer: string
  readonly notBefore: string
  readonly notAfter: string
  /** SHA-256, in hexadecimal with colons. */
  readonly fingerprint: string
  /** The CA's directory. */
  readonly ca?: string
  readonly renewAt?: string
}

export interface CertificateCheck {
  readonly hostname: string
  readonly state: 'served' | 'pending' | 'waiting' | 'none'
  readonly steps: readonly CheckStep[]
  readonly certificates: readonly CertificateView[]
  readonly lastError?: { readonly code: string; readonly detail: string; readonly at: string }
  readonly nextTryAt?: string
}

/** A certificate and when it is to be replaced. */
export interface ShownCertificate {
  readonly row: CertificateRow
  readonly renewal?: KnownRenewal
  /** Its key cannot be opened here, so that it is not shown to anybody. */
  readonly isLocked?: boolean
}

export function toShownCertificate(known: KnownCertificate, sealer: Pick<Sealer, 'open'>): ShownCertificate {
  const { renewal } = known
  const row = known.read()
  return { row, isLocked: isLocked(row, sealer), ...(renewal && { renewal }) }
}

function isLocked(row: CertificateRow, sealer: Pick<Sealer, 'open'>): boolean {
  try {
    sealer.open(row.sealedKey, toRecordKey('certificate', row))
    return false
  } catch (error) {
    if (error instanceof SealError) return true
    throw error
  }
}

export function toView({ row, renewal }: ShownCertificate): CertificateView {
  const { keyType, names, source, notBefore, notAfter, ca } = row
  const isRenewed = source === 'acme' && renewal !== undefined
  return {
    ...{ keyType, names, source, notBefore, notAfter },
    ...readLeaf(row),
    ...(ca !== undefined && { ca }),
    ...(isRenewed && { renewAt: toMoment(renewal.renewAtMs) }),
  }
}

/** A row that cannot be read is shown as far as it goes: it must not hide the others. */
function readLeaf({ chain: [leaf = ''] }: CertificateRow): Pick<CertificateView, 'issuer' | 'fingerprint'> {
  try {
    const { issuer, fingerprint256 } = readCertificate(Buffer.from(leaf, 'base64')).certificate
    return { issuer: shown(issuer), fingerprint: fingerprint256 }
  } catch {
    return { issuer: 'unreadable', fingerprint: '' }
  }
}
