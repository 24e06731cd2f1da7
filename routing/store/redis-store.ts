/** The store in Redis, for a fleet: one server, Sentinels or a cluster. */

import type { Log } from '../../lib/log.ts'
import { RevisionConflict, RoutingError } from '../errors.ts'
import { toJson } from './document-json.ts'
import { compareKeys } from './key-order.ts'
import { type RedisClient, type RedisClients, startRedisClients } from './redis-clients.ts'
import { RedisFeed } from './redis-feed.ts'
import { RedisHistory } from './redis-history.ts'
import { RedisLeases } from './redis-leases.ts'
import { toListed, toStoredDocument } from './redis-rows.ts'
import type { RedisSettings } from './redis-settings.ts'
import { RedisTail } from './redis-tail.ts'
import { watchFeed } from './redis-watch.ts'
import type {
  Document,
  FeedEvent,
  Lease,
  Mutation,
  Page,
  Store,
  StoredDocument,
  WriteCondition,
} from './store.ts'
import { checkCount, checkKey, checkKeys, type StoreWrite, toWrites } from './store-checks.ts'

const PREFIX = 'landfall'
const FEED_LIMIT = 100_000
const DEFAULT_PAGE = 1_000
/** What the commit script takes for a mutation that only has a condition. */
const CHECK = '='
/** What decoding leaves of bytes that are no UTF-8. */
const REPLACEMENT = '\ufffd'

/**
 * Resolves even while Redis is away: methods then reject with `store_unreachable` until it is back.
 * @throws RoutingError store_unusable when the settings cannot be used
 */
export async function startRedisStore(settings: RedisSettings, { log }: { log: Log }): Promise<Store> {
  const { prefix = PREFIX } = settings
  if (!/^[A-Za-z0-9._:-]{1,64}$/.test(prefix)) {
    const detail = 'The prefix of the Redis keys is 1–64 characters of A-Z a-z 0-9 . _ : -'
    throw new RoutingError('store_unusable', { detail })
  }
  const hashTag = `{${prefix}}`
  const clients = await startRedisClients(settings, { log, hashTag })
  return new RedisStore(clients, { ...settings, hashTag })
}

class RedisStore implements Store {
  readonly #clients: RedisClients
  readonly #documentsKey: string
  readonly #history: RedisHistory
  readonly #feed: RedisFeed
  readonly #tail: RedisTail
  readonly #leases: RedisLeases
  readonly #underWay = new Set<Promise<unknown>>()
  #isClosed = false

  constructor(clients: RedisClients, settings: RedisSettings & { readonly hashTag: string }) {
    const { hashTag, feedLimit = FEED_LIMIT, now } = settings
    this.#clients = clients
    this.#documentsKey = `${hashTag}:docs`
    this.#history = new RedisHistory(hashTag, feedLimit)
    this.#feed = new RedisFeed(hashTag, this.#history)
    const { tail: connection, timeoutMs } = clients
    this.#tail = new RedisTail({ connection, feed: this.#feed, feedLimit, timeoutMs })
    this.#leases = new RedisLeases({ run: (command) => this.#run(command), key: `${hashTag}:leases`, now })
  }

  async get(key: string): Promise<StoredDocument | undefined> {
    const row = await this.#run((client) => client.hget(this.#documentsKey, key))
    return row === null ? undefined : toStoredDocument(key, row)
  }

  async list(prefix: string, page: { after?: string; limit?: number } = {}): Promise<Page> {
    const { after = '', limit = DEFAULT_PAGE } = page
    checkCount('limit', limit)
    const from = after !== '' && compareKeys(after, prefix) >= 0 ? `(${after}` : `[${prefix}`
    const reply = await this.#run((client) =>
      client.landfallList(...this.#history.open(), prefix, from, String(limit + 1)),
    )
    const [revision, mark, storeId, found, rows] = reply
    this.#history.see(revision)
    // A page that would be too heavy is cut: it has fewer rows than keys.
    const isWhole = found.length <= Math.min(limit, rows.length)
    const keys = isWhole ? found : toWholePage(found.slice(0, Math.min(limit, rows.length)))
    // A key whose row somebody took away by hand is no document.
    const documents = keys.flatMap((key, index) => {
      const row = rows[index]
      return typeof row === 'string' ? toListed(key, row, revision) : []
    })
    const next = isWhole ? undefined : keys.at(-1)
    return { documents, revision, mark, storeId, ...(next !== undefined && { next }) }
  }

  async commit(mutations: readonly Mutation[]): Promise<readonly (number | undefined)[]> {
    return this.#write(toWrites(mutations))
  }

  async put(key: string, value: Document, condition: WriteCondition = {}): Promise<number> {
    const [revision = 0] = await this.#write([{ key, json: toJson(value), ...condition }])
    return revision
  }

  async delete(key: string, condition: WriteCondition = {}): Promise<number | undefined> {
    const [revision] = await this.#write([{ key, json: undefined, ...condition }])
    return revision
  }

  async *watch(fromRevision: number, signal: AbortSignal, mark?: string): AsyncGenerator<FeedEvent, void> {
    if (signal.aborted || this.#isClosed) return
    // Without a mark it may be anybody's number; with one, this store has shown it to somebody.
    if (mark !== undefined) this.#history.see(fromRevision)
    const deps = { tail: this.#tail, feed: this.#feed, run: this.#run.bind(this) }
    try {
      yield* watchFeed(deps, { revision: fromRevision, mark }, signal)
    } catch (error) {
      if (!this.#isClosed && !signal.aborted) throw error
    }
  }

  async acquireLease(name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
    checkKey(name)
    checkCount('ttlMs', ttlMs)
    return this.#leases.acquire(name, owner, ttlMs)
  }

  async findLease(name: string): Promise<Lease | undefined> {
    return this.#leases.find(name)
  }

  async renewLease(lease: Lease, ttlMs: number): Promise<Lease | undefined> {
    checkCount('ttlMs', ttlMs)
    return this.#leases.renew(lease, ttlMs)
  }

  async releaseLease(lease: Lease): Promise<void> {
    await this.#leases.release(lease)
  }

  /** Waits for what is under way, which ends within the time limit of a command. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#underWay)
    await Promise.all([this.#tail[Symbol.asyncDispose](), this.#clients[Symbol.asyncDispose]()])
  }

  async #write(writes: readonly StoreWrite[]): Promise<readonly (number | undefined)[]> {
    checkKeys(writes.map(({ key }) => key))
    const parameters = writes.flatMap(({ key, ifRevision, json = '', isCheck }) => [
      key,
      String(ifRevision ?? ''),
      isCheck ? CHECK : json,
    ])
    const isDeletion = writes.every(({ json, isCheck }) => json === undefined || isCheck)
    const [isDone, ...reply] = await this.#run((client) =>
      client[isDeletion ? 'landfallDelete' : 'landfallCommit'](...this.#history.open(), ...parameters),
    )
    if (isDone !== 1) throw this.#toConflict(writes, reply)
    this.#history.see(Math.max(...reply))
    return reply.map((revision) => (revision === 0 ? undefined : revision))
  }

  #toConflict(writes: readonly StoreWrite[], [index = 0, current = 0]: readonly number[]): RevisionConflict {
    this.#history.see(current)
    const { key = '', ifRevision = 0 } = writes[index] ?? {}
    return new RevisionConflict({ key, expected: ifRevision, current })
  }

  /** @throws RoutingError store_closed, store_unreachable, store_refused */
  async #run<Result>(command: (client: RedisClient) => Promise<Result>): Promise<Result> {
    if (this.#isClosed) throw new RoutingError('store_closed')
    const running = this.#clients.commands.run(command)
    this.#underWay.add(running)
    try {
      return await running
    } catch (cause) {
      throw this.#isClosed ? new RoutingError('store_closed', { cause }) : cause
    } finally {
      this.#underWay.delete(running)
    }
  }
}

/** Ends at a key that leads on as a cursor: one with bytes that are no UTF-8, put in by hand, would not. */
function toWholePage(keys: readonly string[]): readonly string[] {
  const last = keys.findLastIndex((key) => !key.includes(REPLACEMENT))
  return last === -1 ? keys : keys.slice(0, last + 1)
}
