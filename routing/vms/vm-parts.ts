/** Everything that the rows of one VM are made of, and how a row is joined from it. */

import { RoutingError } from '../errors.ts'
import type { GrantRecord } from '../records/grants.ts'
import {
  BINDINGS,
  GRANTS,
  type Kind,
  REPORTS,
  ROUTES,
  type Stored,
  toStored,
  VMS,
} from '../records/record-kinds.ts'
import type { BindingRecord, ReportRecord, RouteRecord, VmRecord } from '../records/records.ts'
import type { Store, StoredDocument } from '../store/store.ts'

export interface VmParts {
  readonly name: string
  readonly vm: Stored<VmRecord> | undefined
  readonly report: Stored<ReportRecord> | undefined
  readonly grants: readonly Stored<GrantRecord>[]
  readonly bindings: readonly Stored<BindingRecord>[]
  /** The documents under the host names of the bindings, as they are; a row of somebody else may be among them. */
  readonly rows: ReadonlyMap<string, StoredDocument>
  /** Documents of the VM that break a rule of their kind, by key. They are nowhere else here. */
  readonly broken: ReadonlyMap<string, StoredDocument>
  /** `join/<vm>`, which every change of the VM writes: two changes that read the same one cannot both be committed. */
  readonly join: StoredDocument | undefined
}

export const JOIN_PREFIX = 'join/'
/** What a VM's own name leads to before anybody says otherwise. */
const WEB_PORT = 80
export const SSH_PORT = 22

/** Reads the VM's documents; a change of any of them after this read changes `join` as well. */
export async function readVmParts(store: Pick<Store, 'get' | 'list'>, name: string): Promise<VmParts> {
  const parts = await readOnce(store, name)
  // A VM that came between the reads may go again before the commit, and `join` would be away as it was.
  return parts.join === undefined && hasParts(parts) ? readOnce(store, name) : parts
}

/** True while anything is kept for the VM. */
export function hasParts({
  vm,
  report,
  grants,
  bindings,
}: Omit<VmParts, 'name' | 'rows' | 'broken' | 'join'>) {
  return vm !== undefined || report !== undefined || grants.length + bindings.length > 0
}

async function readOnce(store: Pick<Store, 'get' | 'list'>, name: string): Promise<VmParts> {
  // Before all else: what changes afterwards changes it too.
  const join = await store.get(JOIN_PREFIX + name)
  const [vm, report, grants, bindings] = await Promise.all([
    store.get(VMS.prefix + name),
    store.get(REPORTS.prefix + name),
    listDocuments(store, `${GRANTS.prefix}${name}/`),
    listDocuments(store, `${BINDINGS.prefix}${name}/`),
  ])
  const rows = await Promise.all(
    bindings.map(({ key }) => store.get(ROUTES.prefix + key.slice(`${BINDINGS.prefix}${name}/`.length))),
  )
  const broken = new Map<string, StoredDocument>()
  return {
    name,
    vm: findSound(VMS, vm, broken),
    report: findSound(REPORTS, report, broken),
    grants: grants.map((document) => findSound(GRANTS, document, broken)).filter(isThere),
    bindings: bindings.map((document) => findSound(BINDINGS, document, broken)).filter(isThere),
    rows: new Map(rows.filter(isThere).map((row) => [row.key.slice(ROUTES.prefix.length), row])),
    broken,
    join,
  }
}

/** The port that the VM's bare name leads to: its own choice, else its image's, else 80, else the smallest that is open. */
export function defaultPortOf(
  vm: Pick<VmRecord, 'port'> | undefined,
  report: Pick<ReportRecord, 'defaultPort' | 'ports'> | undefined,
): number {
  if (vm?.port !== undefined) return vm.port
  if (report?.defaultPort !== undefined) return report.defaultPort
  const ports = Object.keys(report?.ports ?? {}).map(Number)
  return ports.length === 0 || ports.includes(WEB_PORT) ? WEB_PORT : Math.min(...ports)
}

/** The row that a binding makes; none without its VM. A row is what holds a host name, so a VM that was never up has one too. */
export function joinRow(
  { vm: name, hostname, port: ownPort }: BindingRecord,
  { vm, report, grants }: Pick<VmParts, 'vm' | 'report' | 'grants'>,
): RouteRecord | undefined {
  if (vm === undefined) return undefined
  const defaultPort = defaultPortOf(vm.record, report?.record)
  const port = ownPort ?? defaultPort
  const { generation = 0, ports = {} } = report?.record ?? {}
  const state = rowStateOf(vm.record, report?.record)
  const upstream = state === 'running' ? ports[String(port)] : undefined
  const { visibility = 'private', authorization } = vm.record.ports[String(port)] ?? {}
  const counting = grants
    .filter(({ record }) => record.to.kind !== 'vm' && countsFor(record, port, defaultPort))
    .map(toRowGrant)
    .sort((one, other) => (one.id < other.id ? -1 : 1))
  return ROUTES.parse({
    hostname,
    visibility,
    vm: name,
    port,
    pool: vm.record.pool,
    ...(upstream && { upstream }),
    state,
    generation,
    ...(counting.length > 0 && { grants: counting }),
    ...(authorization && { authorization }),
  })
}

/** `root` is SSH as well, whatever the ports are. */
function countsFor({ ports, role }: GrantRecord, port: number, defaultPort: number): boolean {
  return (ports ?? [defaultPort]).includes(port) || (role === 'root' && port === SSH_PORT)
}

/** One that is asleep and is to be stopped is not woken any more. */
function rowStateOf(vm: VmRecord, report: ReportRecord | undefined): RouteRecord['state'] {
  if (report?.state === 'asleep' && vm.state === 'running') return 'asleep'
  return report?.state === 'running' ? 'running' : 'stopped'
}

function toRowGrant({ record: { id, to, role, expiresAt } }: Stored<GrantRecord>) {
  return { id, to, role, ...(expiresAt !== undefined && { expiresAt }) }
}

async function listDocuments(store: Pick<Store, 'list'>, prefix: string): Promise<StoredDocument[]> {
  const documents: StoredDocument[] = []
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page = await store.list(prefix, { after })
    documents.push(...page.documents)
    after = page.next
  }
  return documents
}

function findSound<Value>(
  kind: Kind<Value>,
  document: StoredDocument | undefined,
  broken: Map<string, StoredDocument>,
): Stored<Value> | undefined {
  try {
    return document && toStored(kind, document)
  } catch (error) {
    if (!(error instanceof RoutingError && document)) throw error
    broken.set(document.key, document)
    return undefined
  }
}

function isThere<Value>(value: Value | undefined): value is Value {
  return value !== undefined
}
