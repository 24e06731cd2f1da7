/** Opens the store that the settings name. */

import { mkdir } from 'node:fs/promises'
import { startMemoryStore } from './memory-store.ts'
import { startSqliteStore } from './sqlite-store.ts'
import type { Store } from './store.ts'

export interface OpenStoreSettings {
  readonly store: 'sqlite' | 'memory'
  readonly dataFolder: string
}

const OWNER_ONLY = 0o700

/** Makes the data folder when there is none; the mode of one that exists is its owner's affair. @throws RoutingError store_unusable, store_schema_newer */
export async function openStore({ store, dataFolder }: OpenStoreSettings): Promise<Store> {
  await mkdir(dataFolder, { recursive: true, mode: OWNER_ONLY })
  return store === 'memory' ? startMemoryStore() : startSqliteStore(dataFolder)
}
