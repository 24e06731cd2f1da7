/** Joins what a host is told of a VM from the copies that it keeps. */

import type { PlacedPeer, PlacedPool, PlacedSnapshot, PlacedVm } from './placement-reader.ts'
import { BY_VM, type KeptGrant, type PlacementTables } from './placement-tables.ts'

const WEB_PORT = 80

/** Undefined for a VM that is not there, or not placed on this host. `now` is in Unix milliseconds. */
export function joinPlaced(tables: PlacementTables, name: string, now: number): PlacedVm | undefined {
  const record = tables.vms.get(name)
  const pool = record && tables.pools.get(record.pool)
  if (record === undefined || pool === undefined) return undefined
  const { port = tables.ports.get(name) ?? WEB_PORT, ...rest } = record
  const grants = tables.grants.find(BY_VM + name).filter(({ expiresAt }) => isBefore(now, expiresAt))
  const call = tables.calls.get(name)
  return {
    ...rest,
    authorizedKeys: joinKeys(tables, pool, grants),
    peers: joinPeers(tables, port, grants),
    ...(call && { call: { id: call.id, what: call.what, at: call.at } }),
  }
}

/** Oldest first; none of an earlier VM of that name. */
export function joinSnapshots(tables: PlacementTables, vm: PlacedVm): readonly PlacedSnapshot[] {
  const own = tables.snapshots.find(vm.name).filter(({ vmCreatedAt }) => vmCreatedAt === vm.createdAt)
  return own.toSorted((one, other) => compare(one.createdAt + one.id, other.createdAt + other.id))
}

/** When the next of the VM's grants ends, in Unix milliseconds; Infinity when none does. */
export function findNextEnd(tables: PlacementTables, name: string, now: number): number {
  const ends = tables.grants.find(BY_VM + name).map(({ expiresAt }) => Date.parse(expiresAt ?? ''))
  return Math.min(...ends.filter((end) => end > now))
}

function joinKeys(
  tables: PlacementTables,
  { owner }: PlacedPool,
  grants: readonly KeptGrant[],
): readonly string[] {
  const granted = grants.filter(({ to }) => to.kind !== 'vm').map(({ to }) => to.value)
  const users = new Set(owner === undefined ? granted : [owner, ...granted])
  const lines = [...users].flatMap((user) => tables.keys.find(user).map(({ line }) => line))
  return [...new Set(lines)].toSorted(compare)
}

function joinPeers(
  tables: PlacementTables,
  defaultPort: number,
  grants: readonly KeptGrant[],
): readonly PlacedPeer[] {
  const peers = new Map<string, Set<number>>()
  for (const { to, ports = [defaultPort], createdAt } of grants) {
    if (to.kind !== 'vm' || !wasThere(tables, to.value, createdAt)) continue
    const all = peers.get(to.value) ?? new Set()
    for (const port of ports) all.add(port)
    peers.set(to.value, all)
  }
  return [...peers]
    .map(([vm, ports]) => ({ vm, ports: [...ports].toSorted((one, other) => one - other) }))
    .toSorted((one, other) => compare(one.vm, other.vm))
}

/** A later VM of the name may be anybody's: the grant was never meant for it. */
function wasThere(tables: PlacementTables, vm: string, at: string): boolean {
  const peer = tables.vms.get(vm)
  return peer !== undefined && Date.parse(peer.createdAt) <= Date.parse(at)
}

function isBefore(now: number, end: string | undefined): boolean {
  return end === undefined || now < Date.parse(end)
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one === other ? 0 : 1
}
