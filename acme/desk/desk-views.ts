/** Certificates as the desk shows them: what is in the chain's first, and when it is renewed. Never a key. */

import { X509Certificate } from 'node:crypto'
import { toMoment } from '../../lib/moment.ts'
import type { KnownCertificate, KnownRenewal } from '../books.ts'
import { shown } from '../imports/refusal.ts'
import type { CertificateRow } from '../rows.ts'
import type { CertificateView } from './desk-settings.ts'

/** A certificate and when it is to be replaced. */
export interface Found {
  readonly row: CertificateRow
  readonly renewal?: KnownRenewal
}

export function toFound(known: KnownCertificate): Found {
  const { renewal } = known
  return { row: known.read(), ...(renewal && { renewal }) }
}

export function toView({ row, renewal }: Found): CertificateView {
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
    const { issuer, fingerprint256 } = new X509Certificate(Buffer.from(leaf, 'base64'))
    return { issuer: shown(issuer), fingerprint: fingerprint256 }
  } catch {
    return { issuer: 'unreadable', fingerprint: '' }
  }
}
