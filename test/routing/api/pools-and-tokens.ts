/** Pools and tokens for tests in which they are not the matter. */

import { type ApiClient, tokenFor } from './api-client.ts'

export type Scopes = Parameters<typeof tokenFor>[1]

/** Writes a pool past the API, so that nothing else happens. */
export async function putPool({ store }: Pick<ApiClient, 'store'>, name: string): Promise<void> {
  const record = { name, cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, createdAt: '2026-01-01T00:00:00Z' }
  await store.put(`pool/${name}`, record)
}

/** A token with these scopes, whose pools are made first. */
export async function scopedTokenFor(
  client: ApiClient,
  scopes: Scopes,
): Promise<{ readonly id: string; readonly token: string }> {
  const names = scopes.map(({ pool }) => pool).filter((pool) => pool !== '*')
  for (const name of names) {
    if ((await client.store.get(`pool/${name}`)) === undefined) await putPool(client, name)
  }
  return tokenFor(client, scopes)
}
