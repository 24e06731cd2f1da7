/** Rows with real certificates of an authority of this process, for clients that look at what they are shown. */

import type { CertificateRow, KeyType } from '../../acme/rows.ts'
import { certificateOf } from './certificate-rows.ts'
import { DIGITAL_SIGNATURE, lifeFromToday, mint, SERVER_AUTH } from './minted.ts'
import { SEALER } from './sealer.ts'

const DAY_MS = 86_400_000

/** What clients have to trust. */
export const MINT_ROOT = await mint({ isAuthority: true, hasKeyIds: true, ...lifeFromToday(3_650) })

export interface RowChanges {
  readonly names?: readonly string[]
  readonly keyType?: KeyType
  readonly source?: 'acme' | 'upload'
  /** A day ago, or a day before its end. */
  readonly notBeforeMs?: number
  /** In sixty days. */
  readonly notAfterMs?: number
}

/** The key is sealed by `SEALER`. */
export async function mintRow(name: string, changes: RowChanges = {}): Promise<CertificateRow> {
  const { names = [name], keyType = 'ec', source = 'acme' } = changes
  const { notAfterMs = Date.now() + 60 * DAY_MS } = changes
  const { notBeforeMs = Math.min(Date.now(), notAfterMs) - DAY_MS } = changes
  const life = { notBefore: new Date(notBeforeMs), notAfter: new Date(notAfterMs) }
  const kind = keyType === 'ec' ? 'P-256' : 'rsa-2048'
  const use = { uses: [SERVER_AUTH], keyUsage: DIGITAL_SIGNATURE, hasKeyIds: true }
  const { der, key } = await mint({ issuer: MINT_ROOT, names, kind, ...use, ...life })
  return certificateOf(name, {
    ...{ keyType, names, source, createdAt: new Date().toISOString() },
    chain: [der, MINT_ROOT.der].map((one) => one.toString('base64')),
    sealedKey: SEALER.seal(key.export({ type: 'pkcs8', format: 'der' }), `certificate/${name}/${keyType}`),
    notBefore: life.notBefore.toISOString(),
    notAfter: life.notAfter.toISOString(),
  })
}
