/** What is placed on one host: read from the store's feed, and told to whoever makes it real. */

import { isDeepStrictEqual } from 'node:util'
import type { Copy, CopyLoad } from '../feed/feed-load.ts'
import { CALLS, GRANTS, GRAVES, KEYS, POOLS, REPORTS, SNAPSHOTS, VMS } from '../records/record-kinds.ts'
import type { ReportRecord } from '../records/records.ts'
import type { GraveRecord } from '../records/vm-affairs.ts'
import type { Change } from '../store/store.ts'
import { KeptRecords } from './kept-records.ts'
import { findNextEnd, joinPlaced, joinSnapshots } from './placement-join.ts'
import type { PlacedPool, PlacedSnapshot, PlacedVm, PlacementReader } from './placement-reader.ts'
import { PlacementTables, split } from './placement-tables.ts'

/** What a host needs to follow. */
export const PLACEMENT_PREFIXES: readonly string[] = [
  POOLS,
  VMS,
  REPORTS,
  GRANTS,
  KEYS,
  CALLS,
  SNAPSHOTS,
  GRAVES,
].map(({ prefix }) => prefix)

export interface PlacementSettings {
  readonly host: string
  /** Unix milliseconds; the system's clock unless given. */
  readonly now?: () => number
}

/** The system's clock may be set forward, which no timer notices. */
const LOOK_MS = 5_000

/**
 * A copy for a feed follower, which tells `reader` what each change means for the host, and nothing twice but after a
 * reload. Disposal ends the wait for grants that run out.
 */
export class PlacedVms implements Copy, Disposable {
  readonly #host: string
  readonly #now: () => number
  readonly #reader: PlacementReader
  #tables: PlacementTables
  /** What the reader was told last. */
  readonly #pools = new Map<string, PlacedPool>()
  readonly #vms = new Map<string, PlacedVm>()
  readonly #snapshots = new Map<string, readonly PlacedSnapshot[]>()
  /** Keys of VMs and pools that could not be read in the last load, nor since. */
  #unread: Set<string> = new Set()
  #timer: { readonly handle: NodeJS.Timeout; readonly at: number } | undefined

  constructor({ host, now = Date.now }: PlacementSettings, reader: PlacementReader) {
    this.#host = host
    this.#now = now
    this.#reader = reader
    this.#tables = new PlacementTables(host)
  }

  get isEmpty(): boolean {
    return this.#tables.vms.size === 0 && this.#tables.pools.size === 0
  }

  /** False while a VM or a pool cannot be read that may be this host's: the reader does not know of all its VMs. */
  get isWhole(): boolean {
    return this.#unread.size === 0
  }

  apply(change: Change): void {
    const { kind, name } = split(change.key)
    if (kind === GRAVES.prefix) this.#bury(findGrave(change, this.#host))
    const touched = this.#tables.put(change)
    this.#unread.delete(change.key)
    if (kind === POOLS.prefix) this.#tellPool(name)
    for (const vm of touched) this.#tellVm(vm, change)
    if (kind === POOLS.prefix) this.#dropPool(name)
    if (kind === REPORTS.prefix && this.#vms.has(name)) {
      this.#reader.compareReport(name, findReport(change, this.#host))
    }
  }

  startLoad(): CopyLoad {
    const tables = new PlacementTables(this.#host)
    const reports = new KeptRecords({ parse: (change) => findReport(change, this.#host) })
    const graves = new KeptRecords({ parse: (change) => findGrave(change, this.#host) })
    const unread = new Set<string>()
    return {
      apply: (change) => {
        const { kind, name } = split(change.key)
        tables.put(change)
        unread.delete(change.key)
        if (kind === REPORTS.prefix) reports.put(name, change)
        if (kind === GRAVES.prefix) graves.put(name, change)
      },
      keep: (key) => {
        tables.takeFrom(this.#tables, key)
        const { kind } = split(key)
        if (kind === VMS.prefix || kind === POOLS.prefix) unread.add(key)
      },
      finish: () => {
        this.#unread = unread
        this.#replace(tables, reports)
        for (const [, grave] of graves) this.#bury(grave)
      },
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer?.handle)
    this.#timer = undefined
  }

  /** What is missing in the new tables is given up, but not deleted: a listing is no proof of a deletion. */
  #replace(tables: PlacementTables, reports: KeptRecords<ReportRecord>): void {
    this.#tables = tables
    for (const name of [...this.#vms.keys()]) {
      if (joinPlaced(tables, name, this.#now()) === undefined) this.#tellVm(name)
    }
    for (const name of [...this.#pools.keys()]) this.#dropPool(name)
    this.#pools.clear()
    for (const [name] of tables.pools) this.#tellPool(name)
    this.#vms.clear()
    for (const [name, { pool }] of tables.vms) {
      if (tables.pools.get(pool) === undefined) continue
      this.#tellVm(name)
      this.#reader.compareReport(name, reports.get(name))
    }
  }

  #tellPool(name: string): void {
    const pool = this.#tables.pools.get(name)
    if (pool === undefined || isDeepStrictEqual(pool, this.#pools.get(name))) return
    this.#pools.set(name, pool)
    this.#reader.setPool(pool)
  }

  #dropPool(name: string): void {
    if (this.#tables.pools.get(name) === undefined && this.#pools.delete(name)) this.#reader.dropPool(name)
  }

  /** `change` is what the VM is told for; a listing has none. */
  #tellVm(name: string, change?: Change): void {
    const vm = joinPlaced(this.#tables, name, this.#now())
    if (vm === undefined) this.#giveUp(name, change)
    else this.#want(vm)
  }

  #want(vm: PlacedVm): void {
    this.#waitFor(findNextEnd(this.#tables, vm.name, this.#now()))
    if (!isDeepStrictEqual(vm, this.#vms.get(vm.name))) {
      this.#vms.set(vm.name, vm)
      this.#reader.want(vm)
    }
    this.#tellSnapshots(vm)
  }

  #giveUp(name: string, change: Change | undefined): void {
    if (!this.#vms.delete(name)) return
    this.#snapshots.delete(name)
    if (change?.key === VMS.prefix + name && change.value === undefined) this.#reader.remove(name)
    else this.#reader.release(name)
  }

  #tellSnapshots(vm: PlacedVm): void {
    const wanted = joinSnapshots(this.#tables, vm)
    if (isDeepStrictEqual(wanted, this.#snapshots.get(vm.name) ?? [])) return
    this.#snapshots.set(vm.name, wanted)
    this.#reader.snapshots(vm.name, wanted)
  }

  #bury(grave: GraveRecord | undefined): void {
    if (grave) this.#reader.bury(grave)
  }

  /** A grant that runs out changes nothing in the store. */
  #waitFor(end: number): void {
    if (end >= (this.#timer?.at ?? Number.POSITIVE_INFINITY)) return
    clearTimeout(this.#timer?.handle)
    const handle = setTimeout(() => this.#endGrants(), Math.min(Math.max(end - this.#now(), 0), LOOK_MS))
    handle.unref()
    this.#timer = { handle, at: end }
  }

  #endGrants(): void {
    this.#timer = undefined
    for (const name of [...this.#vms.keys()]) this.#tellVm(name)
  }
}

function findReport({ key, value }: Change, host: string): ReportRecord | undefined {
  return value?.host === host ? REPORTS.parse(value, key) : undefined
}

function findGrave({ key, value }: Change, host: string): GraveRecord | undefined {
  return value?.host === host ? GRAVES.parse(value, key) : undefined
}
