/** Opens the store that the settings name. */

import { mkdir, readFile } from 'node:fs/promises'
import type { Log } from '../../lib/log.ts'
import { RoutingError } from '../errors.ts'
import { startMemoryStore } from './memory-store.ts'
import { startRedisStore } from './redis-store.ts'
import { startSqliteStore } from './sqlite-store.ts'
import type { Store } from './store.ts'

export interface OpenStoreSettings {
  readonly kind: 'sqlite' | 'memory' | 'redis'
  readonly feedLimit: number
  /** Of all that follows only Redis takes notice; empty texts are none. */
  readonly redisUrl: string
  readonly redisUser: string
  readonly redisPasswordFile: string
  readonly redisSentinelPasswordFile: string
  readonly redisCaFile: string
  readonly redisPrefix: string
  readonly redisTimeoutMs: number
}

const OWNER_ONLY = 0o700

/**
 * Makes the data folder when there is none; the mode of one that exists is its owner's affair. A Redis that is away
 * does not fail the start. @throws RoutingError store_unusable, store_schema_newer
 */
export async function openStore(
  settings: OpenStoreSettings,
  { dataFolder, log }: { readonly dataFolder: string; readonly log: Log },
): Promise<Store> {
  const { kind, feedLimit } = settings
  await mkdir(dataFolder, { recursive: true, mode: OWNER_ONLY })
  if (kind === 'memory') return startMemoryStore({ feedLimit })
  if (kind === 'sqlite') return startSqliteStore(dataFolder, { feedLimit })
  return startRedisStore(await toRedisSettings(settings), { log })
}

async function toRedisSettings(settings: OpenStoreSettings) {
  const password = await readSecret(settings.redisPasswordFile)
  const sentinelPassword = await readSecret(settings.redisSentinelPasswordFile)
  return {
    url: settings.redisUrl,
    prefix: settings.redisPrefix,
    feedLimit: settings.feedLimit,
    commandTimeoutMs: settings.redisTimeoutMs,
    ...(settings.redisUser !== '' && { username: settings.redisUser }),
    ...(password !== undefined && { password }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(settings.redisCaFile !== '' && { caFile: settings.redisCaFile }),
  }
}

/** The file without its last line break; undefined when no file is named. */
async function readSecret(path: string): Promise<string | undefined> {
  if (path === '') return undefined
  try {
    return (await readFile(path, 'utf8')).replace(/\r?\n$/, '')
  } catch (cause) {
    throw new RoutingError('store_unusable', { cause, detail: `${path} cannot be read.` })
  }
}
