/** An admin API with pools and tokens for tests of what belongs to VMs. */

import type { Test } from 'tap'
import { type ApiClient, type ApiOptions, apiFor, tokenFor } from './api-client.ts'

export interface VmClient extends ApiClient {
  /** May do everything in the pool `web`, and nothing elsewhere. */
  readonly web: string
  /** The same for the pool `lab`. */
  readonly lab: string
  /** A token with these verbs in the pool `web`. */
  readonly webToken: (...verbs: string[]) => Promise<string>
  /** The keys of the audit records, oldest first, as `create vm/a`. */
  readonly audited: () => Promise<string[]>
  /** The global revision: it tells whether anything was written. */
  readonly revision: () => Promise<number>
}

/** Makes the pools `default`, `web` and `lab`. */
export async function vmApiFor(t: Test, options: ApiOptions = {}): Promise<VmClient> {
  const client = await apiFor(t, options)
  const { call, store } = client
  for (const pool of ['default', 'web', 'lab']) {
    const body = { cpuMillis: 1_000, memoryBytes: 1_000, diskBytes: 1_000, host: 'host-1' }
    await call('PUT', `/v1/pools/${pool}`, { body })
  }
  const tokenIn = async (pool: string, verbs: string[]) => (await tokenFor(client, [{ pool, verbs }])).token
  const all = ['read', 'write', 'share', 'admin']
  return {
    ...client,
    web: await tokenIn('web', all),
    lab: await tokenIn('lab', all),
    webToken: (...verbs) => tokenIn('web', verbs),
    audited: async () => {
      const { documents } = await store.list('audit/')
      const lines = documents.map(({ value, revision }) => ({
        revision,
        line: `${value.action} ${value.key}`,
      }))
      return lines.sort((one, other) => one.revision - other.revision).map(({ line }) => line)
    },
    revision: async () => (await store.list('')).revision,
  }
}

/** Documents under a prefix, by the rest of their key. */
export async function documentsOf(
  { store }: Pick<ApiClient, 'store'>,
  prefix: string,
): Promise<Record<string, Record<string, unknown>>> {
  const { documents } = await store.list(prefix)
  return Object.fromEntries(documents.map(({ key, value }) => [key.slice(prefix.length), { ...value }]))
}
