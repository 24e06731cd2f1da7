/** The VMs whose pools are placed on one host: read from the store's feed, and told to whoever runs them. */

import type { Copy, CopyLoad } from '../feed/feed-load.ts'
import { POOLS, REPORTS, VMS } from '../records/record-kinds.ts'
import type { ReportRecord, VmRecord } from '../records/records.ts'
import type { Change } from '../store/store.ts'

/** What a host needs to follow. */
export const PLACEMENT_PREFIXES = [POOLS.prefix, VMS.prefix, REPORTS.prefix]

/** As much of a VM's record as its host needs; those of all hosts are kept, 0.2 kB each. */
export type PlacedVm = Pick<VmRecord, 'name' | 'pool' | 'image' | 'createdAt' | 'state'>

export interface PlacementReader {
  /** The VM is placed on this host, and this is how it should be. */
  want(vm: PlacedVm): void
  /** The VM is no longer placed on this host, or is no longer known. */
  release(name: string): void
  /** The VM was deleted. */
  remove(name: string): void
  /** What the store holds as this host's report of a VM; undefined for nothing. */
  compareReport(name: string, report: ReportRecord | undefined): void
}

interface Kept<Value> {
  readonly value: Value
  readonly revision: number
}

interface Tables {
  /** The host of each pool. */
  readonly pools: Map<string, Kept<string | undefined>>
  readonly vms: Map<string, Kept<PlacedVm>>
}

/** A copy for a feed follower, which tells `reader` what each change means for `host`. */
export class PlacedVms implements Copy {
  readonly #host: string
  readonly #reader: PlacementReader
  #tables: Tables = { pools: new Map(), vms: new Map() }

  constructor(host: string, reader: PlacementReader) {
    this.#host = host
    this.#reader = reader
  }

  get isEmpty(): boolean {
    return this.#tables.vms.size === 0 && this.#tables.pools.size === 0
  }

  apply(change: Change): void {
    const { key } = change
    if (key.startsWith(VMS.prefix)) this.#applyVm(change)
    else if (key.startsWith(POOLS.prefix)) this.#applyPool(change)
    else if (key.startsWith(REPORTS.prefix)) this.#applyReport(change)
  }

  startLoad(): CopyLoad {
    const tables: Tables = { pools: new Map(), vms: new Map() }
    const reports = new Map<string, Kept<ReportRecord>>()
    return {
      apply: (change) => {
        if (change.key.startsWith(VMS.prefix)) put(tables.vms, change, parseVm)
        else if (change.key.startsWith(POOLS.prefix)) put(tables.pools, change, parseHost)
        else put(reports, change, parseReport)
      },
      keep: (key) => {
        keep(tables.vms, this.#tables.vms, key, VMS.prefix)
        keep(tables.pools, this.#tables.pools, key, POOLS.prefix)
      },
      finish: () => this.#replace(tables, reports),
    }
  }

  /** What is missing in the new tables is given up, but not deleted: a listing is no proof of a deletion. */
  #replace(tables: Tables, reports: ReadonlyMap<string, Kept<ReportRecord>>): void {
    const before = this.#listPlaced()
    this.#tables = tables
    const placed = this.#listPlaced()
    for (const name of before.keys()) if (!placed.has(name)) this.#reader.release(name)
    for (const [name, vm] of placed) {
      this.#reader.want(vm)
      this.#tellReport(name, reports.get(name)?.value)
    }
  }

  #applyVm(change: Change): void {
    const name = nameOf(change.key, VMS.prefix)
    const wasPlaced = this.#isPlaced(name)
    if (!put(this.#tables.vms, change, parseVm)) return
    if (change.value === undefined && wasPlaced) this.#reader.remove(name)
    else this.#tell(name, wasPlaced)
  }

  #applyPool(change: Change): void {
    const pool = nameOf(change.key, POOLS.prefix)
    const before = this.#tables.pools.get(pool)?.value
    if (!put(this.#tables.pools, change, parseHost)) return
    const wasPlaced = before === this.#host
    if (wasPlaced === (this.#tables.pools.get(pool)?.value === this.#host)) return
    for (const [name, vm] of this.#tables.vms) if (vm.value.pool === pool) this.#tell(name, wasPlaced)
  }

  #applyReport(change: Change): void {
    const name = nameOf(change.key, REPORTS.prefix)
    if (this.#isPlaced(name)) this.#tellReport(name, change.value && parseReport(change))
  }

  #tellReport(name: string, report: ReportRecord | undefined): void {
    this.#reader.compareReport(name, report?.host === this.#host ? report : undefined)
  }

  #tell(name: string, wasPlaced: boolean): void {
    const vm = this.#tables.vms.get(name)?.value
    if (vm && this.#isPlaced(name)) this.#reader.want(vm)
    else if (wasPlaced) this.#reader.release(name)
  }

  #isPlaced(name: string): boolean {
    const vm = this.#tables.vms.get(name)?.value
    return vm !== undefined && this.#tables.pools.get(vm.pool)?.value === this.#host
  }

  #listPlaced(): ReadonlyMap<string, PlacedVm> {
    const entries = [...this.#tables.vms].map(([name, { value }]) => [name, value] as const)
    return new Map(entries.filter(([name]) => this.#isPlaced(name)))
  }
}

function parseVm({ key, value }: Change): PlacedVm {
  const { name, pool, image, createdAt, state } = VMS.parse(value, key)
  return { name, pool, image, createdAt, state }
}

function parseHost({ key, value }: Change): string | undefined {
  return POOLS.parse(value, key).host
}

function parseReport({ key, value }: Change): ReportRecord {
  return REPORTS.parse(value, key)
}

/** False when the map holds it already. @throws RecordInvalid */
function put<Value>(
  map: Map<string, Kept<Value>>,
  change: Change,
  parse: (change: Change) => Value,
): boolean {
  const name = change.key.slice(change.key.indexOf('/') + 1)
  const before = map.get(name)
  if (before !== undefined && change.revision <= before.revision) return false
  if (change.value === undefined) return map.delete(name)
  map.set(name, { value: parse(change), revision: change.revision })
  return true
}

function keep<Value>(
  map: Map<string, Kept<Value>>,
  before: ReadonlyMap<string, Kept<Value>>,
  key: string,
  prefix: string,
): void {
  const name = nameOf(key, prefix)
  const last = key.startsWith(prefix) ? before.get(name) : undefined
  if (last) map.set(name, last)
}

function nameOf(key: string, prefix: string): string {
  return key.slice(prefix.length)
}
