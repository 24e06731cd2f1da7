/** Landfall's store as it is once certificates were uploaded: a row for each, its key sealed, and the name's route. */

import { createSealer, type Sealer } from '../../lib/seal.ts'
import { CERTIFICATES, ROUTES } from '../../routing/records/record-kinds.ts'
import { loadSecretKeys } from '../../routing/secrets.ts'
import { startSqliteStore } from '../../routing/store/sqlite-store.ts'
import { MAX_MUTATIONS, type Mutation } from '../../routing/store/store.ts'
import type { Leaf } from './certificate-factory.ts'

const ROWS_EACH = 2

export interface RowsSettings {
  /** The data folder that Landfall will start in. */
  readonly folder: string
  readonly backendPort: number
}

export async function writeRows(leaves: readonly Leaf[], { folder, backendPort }: RowsSettings) {
  await using store = await startSqliteStore(folder)
  const sealer = createSealer(await loadSecretKeys({ file: '', folder, isFleet: false }))
  const atOnce = MAX_MUTATIONS / ROWS_EACH
  for (let start = 0; start < leaves.length; start += atOnce) {
    const some = leaves.slice(start, start + atOnce)
    await store.commit(
      some.flatMap((leaf) => [toCertificateRow(leaf, sealer), toRouteRow(leaf.name, backendPort)]),
    )
  }
}

function toCertificateRow({ name, chain, key, notBefore, notAfter }: Leaf, sealer: Sealer): Mutation {
  const id = { name, keyType: 'ec' } as const
  const path = `${CERTIFICATES.prefix}${name}/ec`
  const value = {
    ...id,
    names: [name],
    source: 'upload',
    chain: chain.map((part) => part.toString('base64')),
    sealedKey: sealer.seal(key, path),
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
    createdAt: notBefore.toISOString(),
  }
  CERTIFICATES.parse(value, path)
  return { key: path, value }
}

function toRouteRow(hostname: string, backendPort: number): Mutation {
  const upstream = { host: '127.0.0.1', port: backendPort }
  const value = { hostname, visibility: 'public', upstream, state: 'running', generation: 1 }
  const key = ROUTES.prefix + hostname
  ROUTES.parse(value, key)
  return { key, value }
}
