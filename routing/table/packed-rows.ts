/** Route rows by host name: bytes in slabs, an open-addressing table over them, and the rows in use as objects. */

import type { RouteRecord } from '../records/records.ts'
import { createNameHash, type NameHash } from './name-hash.ts'
import { RowAddresses } from './row-addresses.ts'
import { RowCache } from './row-cache.ts'
import { parseRowJson, toRowJson } from './row-json.ts'
import { type PackedRow, RowSlabs, type Slab, SlabGroup } from './row-slabs.ts'
import { Rebuild, type RowsRebuild } from './rows-rebuild.ts'

export interface PackedRowsSettings {
  /** Rows (and grants) in one generation of the cache; 65,536 by default. */
  readonly generationWeight?: number
  readonly hash?: NameHash
}

export class PackedRows {
  readonly #hash: NameHash
  readonly #slabs = new RowSlabs()
  readonly #group = new SlabGroup()
  readonly #cache: RowCache
  #addresses = new RowAddresses(this.#slabs)
  #rebuild: Rebuild | undefined
  #rebuilds = 0
  /** Slabs whose dead entries are not counted since the last rebuild. */
  #uncounted: Set<Slab> = new Set()

  constructor({ generationWeight, hash = createNameHash() }: PackedRowsSettings = {}) {
    this.#hash = hash
    this.#cache = new RowCache(generationWeight)
  }

  get size(): number {
    return this.#addresses.size
  }

  /** How often all rows were replaced. */
  get rebuilds(): number {
    return this.#rebuilds
  }

  /** Of all slabs, full or not. */
  get slabBytes(): number {
    return this.#slabs.bytes
  }

  /** A frozen record, the same object until the row changes or has not been asked for in a long time. */
  find(hostname: string): RouteRecord | undefined {
    return this.#cache.find(hostname) ?? this.#unpack(hostname)
  }

  /** 0 when there is no row. */
  revisionOf(hostname: string): number {
    const address = this.#addressOf(hostname)
    return address === 0 ? 0 : this.#slabs.revisionAt(address)
  }

  /** Does nothing when the row is as new already. @throws RangeError when it is too long or 4 GiB are full */
  set(record: RouteRecord, revision: number): void {
    const { hostname } = record
    const hash = this.#hash(hostname)
    const before = this.#addresses.find(hash, hostname)
    if (before !== 0 && revision <= this.#slabs.revisionAt(before)) return
    const json = toRowJson(record)
    const isSame = before !== 0 && this.#slabs.jsonAt(before) === json
    if (isSame && this.#rebuild === undefined) {
      this.#slabs.setRevision(before, revision)
      return
    }
    const address = this.#slabs.append(this.#group, { hash, hostname, revision, json })
    if (!isSame) this.#cache.delete(hostname)
    if (before === 0) this.#addresses.set(hash, hostname, address)
    else {
      this.#addresses.move(hash, before, address)
      this.#free(before)
    }
  }

  /** Does nothing when the row is as new already. */
  delete(hostname: string, revision: number): void {
    const hash = this.#hash(hostname)
    const address = this.#addresses.find(hash, hostname)
    if (address === 0 || revision <= this.#slabs.revisionAt(address)) return
    this.#addresses.delete(hash, hostname)
    this.#cache.delete(hostname)
    this.#free(address)
  }

  /**
   * Rows that take the place of all present ones at `finish`; what stays as it is costs no memory twice. Meanwhile
   * the present rows stay as they are. A second call gives up the first rebuild.
   */
  startRebuild(): RowsRebuild {
    if (this.#rebuild !== undefined) this.#slabs.dropAll(this.#rebuild.group)
    const rebuild = new Rebuild({
      slabs: this.#slabs,
      hash: this.#hash,
      present: this.#addresses,
      onFinish: () => this.#adopt(rebuild),
    })
    this.#rebuild = rebuild
    return rebuild
  }

  /** Counts and repacks one slab of those that a rebuild has left; false when there is nothing left to do. */
  tidy(): boolean {
    const [slab] = this.#uncounted
    if (slab === undefined || this.#rebuild !== undefined) return false
    this.#uncounted.delete(slab)
    if (this.#group.slabs.has(slab)) this.#count(slab)
    return this.#uncounted.size > 0
  }

  /**
   * All rows, a slab at a time; a slab's rows have to be read before anything changes. A row that changes before the
   * next slab is read may come again, as it is then.
   */
  *pieces(): IterableIterator<Iterable<PackedRow>> {
    for (const slab of this.#group.slabs) yield this.#entriesOf(slab)
  }

  *#entriesOf(slab: Slab): IterableIterator<PackedRow> {
    for (const address of slab.addresses()) {
      if (this.#isLive(address)) yield this.#slabs.rowAt(address)
    }
  }

  #addressOf(hostname: string): number {
    return this.#addresses.find(this.#hash(hostname), hostname)
  }

  #unpack(hostname: string): RouteRecord | undefined {
    const address = this.#addressOf(hostname)
    if (address === 0) return undefined
    const json = this.#slabs.jsonAt(address)
    const doubted = this.#cache.findDoubted(hostname)
    const isSame = doubted !== undefined && toRowJson(doubted) === json
    const record = isSame ? doubted : toRecord(this.#slabs.hostnameAt(address), json)
    this.#cache.add(record)
    return record
  }

  #adopt(rebuild: Rebuild): void {
    if (this.#rebuild !== rebuild) throw new Error('this rebuild was given up')
    this.#addresses = rebuild.addresses
    for (const slab of rebuild.group.slabs) this.#group.slabs.add(slab)
    this.#group.tail = rebuild.group.tail ?? this.#group.tail
    this.#uncounted = new Set(this.#group.slabs)
    this.#cache.doubtAll()
    this.#rebuild = undefined
    this.#rebuilds += 1
  }

  #isLive(address: number): boolean {
    return this.#addresses.has(this.#slabs.hashAt(address), address)
  }

  #free(address: number): void {
    this.#repackIfWasteful(this.#slabs.free(address))
  }

  #count(slab: Slab): void {
    slab.dead = 0
    for (const address of slab.addresses()) {
      if (!this.#isLive(address)) this.#slabs.free(address)
    }
    this.#repackIfWasteful(slab)
  }

  /** Not during a rebuild: it shares entries, also those that the present rows have left meanwhile. */
  #repackIfWasteful(slab: Slab): void {
    if (!slab.isWasteful || this.#rebuild !== undefined) return
    if (this.#group.tail === slab) this.#group.tail = undefined
    for (const address of slab.addresses()) {
      if (!this.#isLive(address)) continue
      this.#addresses.move(this.#slabs.hashAt(address), address, this.#slabs.copy(this.#group, address))
    }
    this.#slabs.drop(this.#group, slab)
  }
}

function toRecord(hostname: string, json: string): RouteRecord {
  const record = { hostname, ...parseRowJson(json) } as RouteRecord
  if (record.upstream !== undefined) Object.freeze(record.upstream)
  for (const grant of record.grants ?? []) Object.freeze(Object.freeze(grant).to)
  if (record.grants !== undefined) Object.freeze(record.grants)
  return Object.freeze(record)
}
