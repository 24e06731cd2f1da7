/** The store in memory, for tests and for a process that keeps nothing. */

import { randomUUID } from 'node:crypto'
import { toDocument } from './document-json.ts'
import { DocumentStore } from './document-store.ts'
import { compareKeys } from './key-order.ts'
import type { Change, Lease, Store, StoredDocument, StoreSettings } from './store.ts'
import { FEED_LIMIT, type Range, type Tables, type Write } from './tables.ts'

export async function startMemoryStore(settings: StoreSettings = {}): Promise<Store> {
  return new DocumentStore(new MemoryTables(settings.feedLimit ?? FEED_LIMIT), settings.now)
}

class MemoryTables implements Tables {
  readonly storeId = randomUUID()
  readonly #documents = new Map<string, StoredDocument>()
  readonly #leases = new Map<string, Lease>()
  readonly #feedLimit: number
  #feed: Change[] = []
  /** Undefined after a key came or went, until the next listing. */
  #sortedKeys: readonly string[] | undefined
  #revision = 0

  constructor(feedLimit: number) {
    this.#feedLimit = feedLimit
  }

  get revision(): number {
    return this.#revision
  }

  get floor(): number {
    return Math.max(0, this.#revision - this.#feedLimit)
  }

  find(key: string): StoredDocument | undefined {
    return this.#documents.get(key)
  }

  list({ prefix, after, limit }: Range): readonly StoredDocument[] {
    this.#sortedKeys ??= [...this.#documents.keys()].sort(compareKeys)
    const found: StoredDocument[] = []
    for (let index = firstIndex(this.#sortedKeys, { prefix, after }); found.length < limit; index += 1) {
      const document = this.#documents.get(this.#sortedKeys[index] ?? '')
      if (!document?.key.startsWith(prefix)) break
      found.push(document)
    }
    return found
  }

  changesAfter(revision: number, limit: number): readonly Change[] {
    // Revisions follow each other without a gap, so a change's place is its distance from the end.
    const start = this.#feed.length - (this.#revision - revision)
    return this.#feed.slice(start, start + limit)
  }

  write({ key, json }: Write): number {
    const value = json === undefined ? undefined : toDocument(json)
    const revision = ++this.#revision
    if (value === undefined || !this.#documents.has(key)) this.#sortedKeys = undefined
    if (value === undefined) this.#documents.delete(key)
    else this.#documents.set(key, Object.freeze({ key, value, revision }))
    this.#feed.push(Object.freeze({ revision, key, value }))
    // Trimmed to the limit at twice its length: moving the array on every write would cost more.
    if (this.#feed.length > 2 * this.#feedLimit) this.#feed = this.#feed.slice(-this.#feedLimit)
    return revision
  }

  findLease(name: string): Lease | undefined {
    return this.#leases.get(name)
  }

  putLease(lease: Lease): void {
    this.#leases.set(lease.name, lease)
  }

  transaction<Result>(work: () => Result): Result {
    return work()
  }

  close(): void {}
}

/** Binary search for the first key that is at or after `prefix` and strictly after `after`. */
function firstIndex(keys: readonly string[], { prefix, after }: { prefix: string; after: string }): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const key = keys[middle] ?? ''
    if (compareKeys(key, prefix) < 0 || compareKeys(key, after) <= 0) low = middle + 1
    else high = middle
  }
  return low
}
