/** Joins VM records into route rows when either is written, so that edges read flat rows only. */

import { isDeepStrictEqual } from 'node:util'
import { RevisionConflict, RoutingError } from './errors.ts'
import {
  type Address,
  parseRouteRecord,
  parseVmRecord,
  ROUTE_PREFIX,
  type RouteRecord,
  type Visibility,
  VM_PREFIX,
  type VmRecord,
} from './records.ts'
import type { Store, StoredDocument, WriteCondition } from './store.ts'

type Tables = Pick<Store, 'get' | 'list' | 'put'>

/** What a route leads to: a bare address, or a port of a VM. */
export type Target = { readonly upstream: Address } | { readonly vm: string; readonly port: number }

export interface WantedRoute {
  /** Canonical. */
  readonly hostname: string
  readonly visibility: Visibility
  readonly target: Target
}

export interface StoredRoute {
  readonly route: RouteRecord
  readonly revision: number
}

interface StoredVm {
  readonly record: VmRecord | undefined
  /** 0 when there is no such VM. */
  readonly revision: number
}

/**
 * Writes a route with what its VM's record says now. Returns what is stored.
 * @throws RevisionConflict, RoutingError `api_vm_unknown` with the field `/vm`
 */
export async function putRoute(
  store: Tables,
  wanted: WantedRoute,
  condition: WriteCondition,
): Promise<StoredRoute> {
  const { hostname, visibility, target } = wanted
  if ('vm' in target) return putVmRoute(store, { hostname, visibility, ...target }, condition)
  const route = parseRouteRecord({ hostname, visibility, ...target, state: 'running', generation: 0 })
  return { route, revision: await putRow(store, route, condition) }
}

/**
 * Writes a VM's record and brings every route of the VM in step with it. Returns the record's revision.
 * The host calls it at each change of the VM; calling it again repairs whatever a crash left undone.
 * @throws RecordInvalid
 */
export async function putVm(store: Tables, vm: VmRecord): Promise<number> {
  const record = parseVmRecord(vm)
  const revision = await store.put(VM_PREFIX + record.name, { ...record })
  // Routes have no index by VM; 10,000 of them are read in about 20 ms (SQLite).
  for await (const document of listRoutes(store)) {
    if (document.value.vm === record.name) await refreshRow(store, document.key)
  }
  return revision
}

type VmRoute = Required<Pick<RouteRecord, 'hostname' | 'visibility' | 'vm' | 'port'>>

async function putVmRoute(store: Tables, wanted: VmRoute, condition: WriteCondition): Promise<StoredRoute> {
  const vm = await findVm(store, wanted.vm)
  if (vm.record === undefined) {
    const detail = `There is no VM "${wanted.vm}".`
    throw new RoutingError('api_vm_unknown', { detail, context: { field: '/vm' } })
  }
  const route = joinRoute(wanted, vm.record)
  const revision = await putRow(store, route, condition)
  return settleRoute(store, { stored: { route, revision }, vmRevision: vm.revision })
}

/**
 * `putVm` writes the VM, then lists routes; we wrote the route, then read the VM again. Whichever came
 * first, at least one of the two sees the other's write and corrects the row.
 */
async function settleRoute(
  store: Tables,
  written: { stored: StoredRoute; vmRevision: number },
): Promise<StoredRoute> {
  let { stored, vmRevision } = written
  while (stored.route.vm !== undefined) {
    const vm = await findVm(store, stored.route.vm)
    if (vm.revision === vmRevision) return stored
    vmRevision = vm.revision
    const route = joinRoute(stored.route, vm.record)
    if (isDeepStrictEqual(route, stored.route)) continue
    const revision = await putUnlessChanged(store, route, stored.revision)
    // Somebody wrote the row after us, and sees to its join as we do to ours.
    if (revision === undefined) return stored
    stored = { route, revision }
  }
  return stored
}

async function refreshRow(store: Tables, key: string): Promise<void> {
  for (;;) {
    const row = await store.get(key)
    const route = row && findRoute(row)
    if (row === undefined || route?.vm === undefined) return
    // The VM is read after the row: a VM's change that this read misses starts a refresh of its own later.
    const vm = await findVm(store, route.vm)
    const joined = joinRoute(route, vm.record)
    if (isDeepStrictEqual(joined, route)) return
    if ((await putUnlessChanged(store, joined, row.revision)) !== undefined) return
  }
}

function joinRoute(route: RouteRecord | VmRoute, vm: VmRecord | undefined): RouteRecord {
  const { hostname, visibility, vm: name, port } = route
  const state = vm?.state ?? 'stopped'
  const generation = vm?.generation ?? ('generation' in route ? route.generation : 0)
  const upstream = state === 'running' ? vm?.ports[String(port)] : undefined
  return parseRouteRecord({
    hostname,
    visibility,
    vm: name,
    port,
    ...(upstream && { upstream }),
    state,
    generation,
  })
}

function putRow(store: Tables, route: RouteRecord, condition: WriteCondition): Promise<number> {
  return store.put(ROUTE_PREFIX + route.hostname, { ...route }, condition)
}

async function putUnlessChanged(
  store: Tables,
  route: RouteRecord,
  ifRevision: number,
): Promise<number | undefined> {
  try {
    return await putRow(store, route, { ifRevision })
  } catch (error) {
    if (error instanceof RevisionConflict) return undefined
    throw error
  }
}

async function findVm(store: Tables, name: string): Promise<StoredVm> {
  const document = await store.get(VM_PREFIX + name)
  if (document === undefined) return { record: undefined, revision: 0 }
  return { record: parseVmRecord(document.value, document.key), revision: document.revision }
}

async function* listRoutes(store: Tables): AsyncIterable<StoredDocument> {
  let after = ''
  for (;;) {
    const page = await store.list(ROUTE_PREFIX, { after })
    yield* page.documents
    if (page.next === undefined) return
    after = page.next
  }
}

/** Undefined for a record that breaks a rule: edges refuse and report it, and it must not stop the others. */
function findRoute(document: StoredDocument): RouteRecord | undefined {
  try {
    return parseRouteRecord(document.value, document.key)
  } catch {
    return undefined
  }
}
