/** The names below the platform's domain: which a VM may have, which it gets, and what a first start puts there. */

import type { Edit } from '../records/edits.ts'
import { isRouteHostname } from '../records/hostname.ts'
import { BINDINGS, findRecord, POOLS, ROUTES, type Stored, VMS } from '../records/record-kinds.ts'
import type { BindingRecord, VmRecord } from '../records/records.ts'
import type { Store } from '../store/store.ts'
import { commitVm, type VmPlan } from './vm-changes.ts'
import type { VmParts } from './vm-parts.ts'

/** A longer name leaves no room for a port in front: `65535--` and the name are one label of at most 63. */
export const MAX_VM_NAME_CHARACTERS = 56

/**
 * Those of the edge's own pages, of the DNS zone that answers challenges, and of its name server. A VM that had such a
 * name before it was reserved keeps it, and can be changed; `acme` is out of reach once that zone is delegated.
 */
const RESERVED = ['acme', 'admin', 'auth', 'ns']
/** Where a port of another VM is. */
const PORT_OF_VM = /^\d+--/
const SEED_PREFIX = 'seed/'
const GIB = 1_073_741_824
const POOL = 'default'
const HELLO = 'hello'
const HELLO_PORT = 8_000

/** True for names whose host name means something else. */
export function isReservedVmName(name: string): boolean {
  return RESERVED.includes(name) || PORT_OF_VM.test(name)
}

/**
 * The host names that a VM has by itself: `<name>.<domain>` for its default port, and `<port>--<name>.<domain>` for
 * each declared one. What would be no host name, because it is too long, is left out.
 */
export function impliedBindings(
  { name, ports }: Pick<VmRecord, 'name' | 'ports'>,
  domain: string,
): readonly BindingRecord[] {
  const bare = { vm: name, hostname: `${name}.${domain}` }
  const ofPorts = Object.keys(ports).map((port) => ({
    vm: name,
    hostname: `${port}--${name}.${domain}`,
    port: Number(port),
  }))
  return [bare, ...ofPorts].filter(({ hostname }) => isRouteHostname(hostname))
}

export interface SeedSettings {
  readonly domain: string
  /** The host that the pool is placed on. */
  readonly host: string
  /** The user that the pool belongs to. */
  readonly owner?: string
}

/**
 * The pool `default` and the public VM `hello`, for a store that nobody has used, and hello's host names for each
 * new domain. Once for each: what a user deletes, or makes private, is not put back. A record of hello that cannot
 * be read is made anew. @throws RoutingError
 */
export async function seedPlatform(store: Store, settings: SeedSettings): Promise<void> {
  await commitVm(store, { name: HELLO, plan: (parts) => planSeed(store, parts, settings) })
}

async function planSeed(store: Store, parts: VmParts, settings: SeedSettings): Promise<VmPlan> {
  const { domain } = settings
  const hostname = `${HELLO}.${domain}`
  const key = SEED_PREFIX + hostname
  const mark = await store.get(key)
  const isBroken = parts.broken.has(VMS.prefix + HELLO)
  if (mark !== undefined && !isBroken) return { edits: [], after: parts }
  const isNew = (await store.list(SEED_PREFIX, { limit: 1 })).documents.length === 0
  const vm = parts.vm ?? (isNew || isBroken ? toHello() : undefined)
  const added = vm ? await findMissingBindings(store, parts, impliedBindings(vm.record, domain)) : []
  const made = vm && parts.vm === undefined ? [toNewEdit(vm), ...(await poolEdits(store, settings))] : []
  const edits = [{ key, before: mark, after: { hostname } }, ...made, ...added.map(toNewEdit)]
  return { edits, after: { ...parts, vm, bindings: [...parts.bindings, ...added] } }
}

async function poolEdits(store: Store, { host, owner }: SeedSettings): Promise<readonly Edit[]> {
  if (await findRecord(store, POOLS, POOL)) return []
  const createdAt = new Date().toISOString()
  const size = { cpuMillis: 2_000, memoryBytes: 4 * GIB, diskBytes: 10 * GIB }
  const record = { name: POOL, ...size, ...(owner !== undefined && { owner }), host, createdAt }
  return [toNewEdit({ key: POOLS.keyOf(record), record })]
}

function toHello(): Stored<VmRecord> {
  const record: VmRecord = {
    name: HELLO,
    pool: POOL,
    image: 'hello',
    state: 'running',
    port: HELLO_PORT,
    ports: { [HELLO_PORT]: { visibility: 'public' } },
    createdAt: new Date().toISOString(),
  }
  return { key: VMS.keyOf(record), record, revision: 0 }
}

/** Without those whose host name leads elsewhere already. */
async function findMissingBindings(
  store: Store,
  { name, bindings }: VmParts,
  wanted: readonly BindingRecord[],
): Promise<readonly Stored<BindingRecord>[]> {
  const known = new Set(bindings.map(({ key }) => key))
  const rows = await Promise.all(wanted.map(({ hostname }) => store.get(ROUTES.prefix + hostname)))
  return wanted
    .filter((_binding, index) => rows[index] === undefined || rows[index].value.vm === name)
    .map((record) => ({ key: BINDINGS.keyOf(record), record, revision: 0 }))
    .filter(({ key }) => !known.has(key))
}

function toNewEdit({ key, record }: { readonly key: string; readonly record: object }): Edit {
  return { key, before: undefined, after: { ...record } }
}
