/** The store over synchronous tables: group commit, watchers that pull from the feed, leases. */

import { RevisionConflict, RoutingError } from '../errors.ts'
import { Bell } from './bell.ts'
import { CommitQueue } from './commit-queue.ts'
import { toJson } from './document-json.ts'
import { LeaseBook } from './lease-book.ts'
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
import type { Tables } from './tables.ts'

const DEFAULT_PAGE = 1_000
/** Parsing 256 small documents takes about a millisecond. */
const WATCH_BATCH = 256

export class DocumentStore implements Store {
  readonly #tables: Tables
  readonly #leases: LeaseBook
  readonly #bell = new Bell()
  readonly #queue: CommitQueue
  #isClosed = false

  constructor(tables: Tables, now: () => number = Date.now) {
    this.#tables = tables
    this.#leases = new LeaseBook(tables, now)
    this.#queue = new CommitQueue(tables, () => this.#bell.ring())
  }

  async get(key: string): Promise<StoredDocument | undefined> {
    this.#checkOpen()
    return this.#tables.find(key)
  }

  async list(prefix: string, page: { after?: string; limit?: number } = {}): Promise<Page> {
    this.#checkOpen()
    const { after = '', limit = DEFAULT_PAGE } = page
    checkCount('limit', limit)
    const found = this.#tables.list({ prefix, after, limit: limit + 1 })
    const documents = found.slice(0, limit)
    const next = found.length > limit ? documents.at(-1)?.key : undefined
    const { revision, storeId } = this.#tables
    return { documents, revision, mark: storeId, storeId, ...(next !== undefined && { next }) }
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

  /**
   * Each watcher reads the one bounded feed at its own pace: however slow it is, it costs no memory,
   * and it is told to resync once the feed has been trimmed past it.
   */
  async *watch(fromRevision: number, signal: AbortSignal, mark?: string): AsyncIterable<FeedEvent> {
    let revision = fromRevision
    const { storeId } = this.#tables
    const isOther = mark !== undefined && mark !== storeId
    while (!signal.aborted && !this.#isClosed) {
      if (isOther || revision < this.#tables.floor || revision > this.#tables.revision) {
        yield { kind: 'resync' }
        return
      }
      const changes = this.#tables.changesAfter(revision, WATCH_BATCH)
      const last = changes.at(-1)
      if (last === undefined) {
        await this.#bell.wait(signal)
        continue
      }
      revision = last.revision
      yield { kind: 'changes', changes, position: { revision, mark: storeId } }
    }
  }

  async acquireLease(name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
    this.#checkOpen()
    checkKey(name)
    checkCount('ttlMs', ttlMs)
    return this.#queue.add(() => this.#leases.acquire(name, owner, ttlMs))
  }

  async findLease(name: string): Promise<Lease | undefined> {
    this.#checkOpen()
    return this.#leases.find(name)
  }

  async renewLease(lease: Lease, ttlMs: number): Promise<Lease | undefined> {
    this.#checkOpen()
    checkCount('ttlMs', ttlMs)
    return this.#queue.add(() => this.#leases.renew(lease, ttlMs))
  }

  async releaseLease(lease: Lease): Promise<void> {
    this.#checkOpen()
    await this.#queue.add(() => this.#leases.release(lease))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#queue.drain()
    this.#bell.ring()
    this.#tables.close()
  }

  #write(writes: readonly StoreWrite[]): Promise<readonly (number | undefined)[]> {
    this.#checkOpen()
    checkKeys(writes.map(({ key }) => key))
    return this.#queue.add(() => {
      const currents = writes.map((write) => this.#checkRevision(write))
      return writes.map((write, index) =>
        write.isCheck || (write.json === undefined && currents[index] === 0)
          ? undefined
          : this.#tables.write(write),
      )
    })
  }

  /** Returns the key's revision, 0 when it does not exist. */
  #checkRevision({ key, ifRevision }: StoreWrite): number {
    const current = this.#tables.find(key)?.revision ?? 0
    if (ifRevision === undefined || ifRevision === current) return current
    throw new RevisionConflict({ key, expected: ifRevision, current })
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new RoutingError('store_closed')
  }
}
