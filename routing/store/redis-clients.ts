/** The store's two connections, one for commands and one that waits for changes, and what is said of them. */

import { readFile } from 'node:fs/promises'
import type { ConnectionOptions } from 'node:tls'
import type { Redis } from 'ioredis'
import type { Log } from '../../lib/log.ts'
import { RoutingError } from '../errors.ts'
import { formatAddress } from '../records/address.ts'
import { type ConnectionState, type Login, openOnce, RedisConnection } from './redis-connection.ts'
import {
  AskingLocator,
  askNodeFor,
  askSentinelFor,
  createFixedLocator,
  type Locator,
} from './redis-locator.ts'
import { SCRIPTS, type Scripts } from './redis-scripts.ts'
import { parseRedisUrl, type RedisSettings, type RedisTarget } from './redis-settings.ts'

const COMMAND_TIMEOUT_MS = 2_000
/** A Sentinel or node that takes longer counts as away; the others have answered. */
const QUESTION_TIMEOUT_MS = 1_000
/** How soon a connection to a master that was replaced, but still lives, is noticed. */
const MASTER_CHECK_MS = 1_000

export type RedisClient = Redis & Scripts

/** Keys of one store have one hash tag, so that a cluster keeps them on one node. */
export interface RedisClients extends AsyncDisposable {
  readonly commands: RedisConnection<RedisClient>
  readonly tail: RedisConnection<RedisClient>
  /** After it a command fails, milliseconds. */
  readonly timeoutMs: number
}

/**
 * Resolves once the first attempt to connect has succeeded or failed: Redis may be away.
 * @throws RoutingError store_unusable when the settings cannot be used
 */
export async function startRedisClients(
  settings: RedisSettings,
  { log, hashTag }: { log: Log; hashTag: string },
): Promise<RedisClients> {
  const { commandTimeoutMs: timeoutMs = COMMAND_TIMEOUT_MS } = settings
  const target = parseRedisUrl(settings.url)
  const login = toLogin(settings.username ?? target.username, settings.password ?? target.password)
  const tls = target.isEncrypted ? await readTls(settings.caFile) : undefined
  const locator = createLocator(target, { tls, login, hashTag, sentinelPassword: settings.sentinelPassword })
  const common = { ...login, tls, timeoutMs, database: target.database, scripts: SCRIPTS }
  const locate = () => locator.locate()
  const commands = new RedisConnection<RedisClient>({ ...common, locate }, createReporter(log))
  const tail = new RedisConnection<RedisClient>({ ...common, locate })
  const check = startMasterCheck(locator, [commands, tail])
  await Promise.all([commands.settled, tail.settled])
  const dispose = async () => {
    check?.[Symbol.dispose]()
    locator[Symbol.dispose]()
    await Promise.all([commands[Symbol.asyncDispose](), tail[Symbol.asyncDispose]()])
  }
  return { commands, tail, timeoutMs, [Symbol.asyncDispose]: dispose }
}

function toLogin(username: string | undefined, password: string | undefined): Login {
  return { ...(username !== undefined && { username }), ...(password !== undefined && { password }) }
}

async function readTls(caFile: string | undefined): Promise<ConnectionOptions> {
  if (caFile === undefined) return {}
  try {
    return { ca: await readFile(caFile, 'utf8') }
  } catch (cause) {
    throw new RoutingError('store_unusable', {
      cause,
      detail: `The authorities in ${caFile} cannot be read.`,
    })
  }
}

interface Asking {
  readonly tls: ConnectionOptions | undefined
  readonly login: Login
  readonly hashTag: string
  readonly sentinelPassword: string | undefined
}

function createLocator({ kind, addresses, master }: RedisTarget, asking: Asking): Locator {
  const { tls, login, hashTag, sentinelPassword } = asking
  const [first] = addresses
  if (first === undefined)
    throw new RoutingError('store_unusable', { detail: 'The Redis URL names no host.' })
  if (kind === 'single') return createFixedLocator(first)
  const isCluster = kind === 'cluster'
  const settings = {
    ...(isCluster ? login : toLogin(undefined, sentinelPassword)),
    tls,
    timeoutMs: QUESTION_TIMEOUT_MS,
  }
  const ask = isCluster ? askNodeFor(hashTag) : askSentinelFor(master)
  return new AskingLocator(addresses, (address) => openOnce(address, settings), ask)
}

/** A fixed server is not replaced. */
function startMasterCheck(
  locator: Locator,
  connections: readonly RedisConnection<RedisClient>[],
): Disposable | undefined {
  if (!(locator instanceof AskingLocator)) return undefined
  const check = async () => {
    const address = formatAddress(await locator.locate())
    for (const connection of connections) {
      const last = connection.address
      if (last !== undefined && formatAddress(last) !== address)
        connection.reconnect(`the master is now ${address}`)
    }
  }
  // When nobody answers, the connections that there are stay.
  const timer = setInterval(() => void check().catch(() => {}), MASTER_CHECK_MS)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Says once that Redis is away and once that it is back. */
function createReporter(log: Log): (state: ConnectionState) => void {
  let isReady: boolean | undefined
  return (state) => {
    if (state.isReady === isReady) return
    isReady = state.isReady
    const server = state.address === undefined ? undefined : formatAddress(state.address)
    if (isReady) log.info({ server }, 'connected to Redis')
    else log.warn({ server, reason: state.reason }, 'Redis is away')
  }
}
