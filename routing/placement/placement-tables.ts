/** The copies that a host keeps of the table: as little as possible of what other hosts have. */

import type { GrantRecord } from '../records/grants.ts'
import { CALLS, GRANTS, KEYS, POOLS, REPORTS, SNAPSHOTS, VMS } from '../records/record-kinds.ts'
import type { CallRecord } from '../records/vm-affairs.ts'
import type { Change } from '../store/store.ts'
import { defaultPortOf } from '../vms/vm-parts.ts'
import { KeptRecords } from './kept-records.ts'
import type { PlacedPool, PlacedRecord, PlacedSnapshot } from './placement-reader.ts'

/** A grant that says who may log in as root, or which VM may connect. */
export type KeptGrant = Pick<GrantRecord, 'vm' | 'to' | 'ports' | 'expiresAt' | 'createdAt'>

interface KeptKey {
  readonly user: string
  /** As in authorized_keys. */
  readonly line: string
}

/** Words under which grants are found. */
export const BY_VM = 'vm '
export const BY_PEER = 'peer '
/** Also by their address: a key's user may be known by either. */
const BY_USER = 'user '

export class PlacementTables {
  /** Those of this host alone. */
  readonly pools: KeptRecords<PlacedPool>
  /** Of all hosts, 0.2 kB each: a pool may come here. */
  readonly vms: KeptRecords<PlacedRecord>
  /** Where the bare names of this host's VMs lead unless the VM says otherwise. */
  readonly ports: KeptRecords<number>
  readonly grants: KeptRecords<KeptGrant>
  readonly keys: KeptRecords<KeptKey>
  readonly calls: KeptRecords<CallRecord>
  /** Those that are still to be taken. */
  readonly snapshots: KeptRecords<PlacedSnapshot>

  constructor(host: string) {
    this.pools = new KeptRecords({ parse: (change) => findPool(change, host) })
    this.vms = new KeptRecords({ parse: parseVm })
    this.ports = new KeptRecords({ parse: (change) => findPort(change, host) })
    this.grants = new KeptRecords({ parse: findGrant, wordsOf: wordsOfGrant })
    this.keys = new KeptRecords({ parse: parseKey, wordsOf: ({ user }) => [user] })
    this.calls = new KeptRecords({ parse: ({ key, value }) => CALLS.parse(value, key) })
    this.snapshots = new KeptRecords({ parse: findSnapshot, wordsOf: ({ vm }) => [vm] })
  }

  /** Names the VMs, of this host and others, of which a reader may have to be told. @throws RecordInvalid */
  put(change: Change): Iterable<string> {
    const { kind, name } = split(change.key)
    switch (kind) {
      case VMS.prefix:
        return this.#putVm(name, change)
      case POOLS.prefix:
        return this.#putPool(name, change)
      case REPORTS.prefix:
        return this.ports.put(name, change) ? [name] : []
      case GRANTS.prefix:
        return this.grants.put(name, change) ? [vmOf(name)] : []
      case KEYS.prefix:
        return this.#putKey(name, change)
      case CALLS.prefix:
        return this.calls.put(name, change) ? [name] : []
      case SNAPSHOTS.prefix:
        return this.snapshots.put(name, change) ? [vmOf(name)] : []
      default:
        return []
    }
  }

  /** Keeps what `other` has of a record that cannot be read. */
  takeFrom(other: PlacementTables, key: string): void {
    const { kind, name } = split(key)
    const take: Readonly<Record<string, () => void>> = {
      [VMS.prefix]: () => this.vms.takeFrom(other.vms, name),
      [POOLS.prefix]: () => this.pools.takeFrom(other.pools, name),
      [REPORTS.prefix]: () => this.ports.takeFrom(other.ports, name),
      [GRANTS.prefix]: () => this.grants.takeFrom(other.grants, name),
      [KEYS.prefix]: () => this.keys.takeFrom(other.keys, name),
      [CALLS.prefix]: () => this.calls.takeFrom(other.calls, name),
      [SNAPSHOTS.prefix]: () => this.snapshots.takeFrom(other.snapshots, name),
    }
    take[kind]?.()
  }

  #putVm(name: string, change: Change): Iterable<string> {
    const put = this.vms.put(name, change)
    if (put === undefined) return []
    if (put.before?.createdAt === put.after?.createdAt) return [name]
    return new Set([name, ...this.grants.find(BY_PEER + name).map(({ vm }) => vm)])
  }

  #putPool(name: string, change: Change): Iterable<string> {
    const put = this.pools.put(name, change)
    if (put === undefined) return []
    const isOther = (put.before === undefined) !== (put.after === undefined)
    return isOther || put.before?.owner !== put.after?.owner ? this.#findInside(new Set([name])) : []
  }

  #putKey(name: string, change: Change): Iterable<string> {
    const put = this.keys.put(name, change)
    return put === undefined ? [] : this.#findReachable([put.before?.user, put.after?.user])
  }

  /** The VMs that open to the users' keys. */
  *#findReachable(users: readonly (string | undefined)[]): Generator<string> {
    const pools = new Set<string>()
    for (const [name, { owner }] of this.pools) if (owner && users.includes(owner)) pools.add(name)
    if (pools.size > 0) yield* this.#findInside(pools)
    for (const user of users) for (const { vm } of this.grants.find(`${BY_USER}${user}`)) yield vm
  }

  *#findInside(pools: ReadonlySet<string>): Generator<string> {
    for (const [name, { pool }] of this.vms) if (pools.has(pool)) yield name
  }
}

/** `vm/` and `web` of `vm/web`. */
export function split(key: string): { readonly kind: string; readonly name: string } {
  const end = key.indexOf('/') + 1
  return { kind: key.slice(0, end), name: key.slice(end) }
}

/** Of `web/1a2b`. */
function vmOf(name: string): string {
  return name.slice(0, name.indexOf('/'))
}

function findPool({ key, value }: Change, host: string): PlacedPool | undefined {
  const { host: place, createdAt: _createdAt, ...pool } = POOLS.parse(value, key)
  return place === host ? pool : undefined
}

function parseVm({ key, value }: Change): PlacedRecord {
  const { ports: _ports, comment: _comment, ...record } = VMS.parse(value, key)
  return record
}

/** What other hosts report is not even parsed. */
function findPort({ key, value }: Change, host: string): number | undefined {
  return value?.host === host ? defaultPortOf(undefined, REPORTS.parse(value, key)) : undefined
}

function findGrant({ key, value }: Change): KeptGrant | undefined {
  const { vm, to, role, ports, expiresAt, createdAt } = GRANTS.parse(value, key)
  const isOfPerson = to.kind === 'user' || to.kind === 'email'
  const isKept = to.kind === 'vm' || (isOfPerson && role === 'root')
  if (!isKept) return undefined
  return { vm, to, createdAt, ...(ports && { ports }), ...(expiresAt !== undefined && { expiresAt }) }
}

function wordsOfGrant({ vm, to }: KeptGrant): readonly string[] {
  return [BY_VM + vm, (to.kind === 'vm' ? BY_PEER : BY_USER) + to.value]
}

function parseKey({ key, value }: Change): KeptKey {
  const { user, type, publicKey } = KEYS.parse(value, key)
  return { user, line: `${type} ${publicKey}` }
}

function findSnapshot({ key, value }: Change): PlacedSnapshot | undefined {
  const { id, vm, vmCreatedAt, label, state, createdAt } = SNAPSHOTS.parse(value, key)
  if (state !== 'wanted') return undefined
  return { id, vm, vmCreatedAt, createdAt, ...(label !== undefined && { label }) }
}
