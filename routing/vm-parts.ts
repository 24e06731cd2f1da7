/** Everything that the rows of one VM are made of, read at one time. */

import {
  BINDINGS,
  findRecord,
  GRANTS,
  listRecords,
  REPORTS,
  ROUTES,
  type Stored,
  VMS,
} from './record-kinds.ts'
import type { BindingRecord, GrantRecord, ReportRecord, RouteRecord, VmRecord } from './records.ts'
import type { Store, StoredDocument } from './store.ts'

export interface VmParts {
  readonly name: string
  readonly vm: Stored<VmRecord> | undefined
  readonly report: Stored<ReportRecord> | undefined
  readonly grants: readonly Stored<GrantRecord>[]
  readonly bindings: readonly Stored<BindingRecord>[]
  /** The documents of the rows that lead to the VM now, by host name; a broken one is here as it is. */
  readonly rows: ReadonlyMap<string, StoredDocument>
}

/** @throws RoutingError `api_record_broken` when the VM's own record or its report breaks a rule */
export async function readVmParts(store: Pick<Store, 'get' | 'list'>, name: string): Promise<VmParts> {
  const bindings = await Array.fromAsync(listRecords(store, BINDINGS, `${name}/`))
  // The rows are read before what they are made of: a change that these reads miss comes with a commit of its own
  // that finds the rows as this one leaves them.
  const rows = await Promise.all(bindings.map(({ record }) => store.get(ROUTES.prefix + record.hostname)))
  const [vm, report, grants] = await Promise.all([
    findRecord(store, VMS, name),
    findRecord(store, REPORTS, name),
    Array.fromAsync(listRecords(store, GRANTS, `${name}/`)),
  ])
  const found = rows.filter((row) => row !== undefined)
  return {
    name,
    vm,
    report,
    grants,
    bindings,
    rows: new Map(found.map((row) => [row.key.slice(ROUTES.prefix.length), row])),
  }
}

/** The port that the VM's bare name leads to: its own choice, else 80, else the smallest that its host reports. */
export function findDefaultPort(
  vm: VmRecord | undefined,
  report: ReportRecord | undefined,
): number | undefined {
  if (vm?.port !== undefined) return vm.port
  const ports = Object.keys(report?.ports ?? {}).map(Number)
  if (ports.includes(80)) return 80
  return ports.length === 0 ? undefined : Math.min(...ports)
}

/** The row that a binding makes. Undefined while nobody knows which port it leads to. */
export function joinRow(
  { vm: name, hostname, port: ownPort }: BindingRecord,
  { vm, report, grants }: Pick<VmParts, 'vm' | 'report' | 'grants'>,
): RouteRecord | undefined {
  const defaultPort = findDefaultPort(vm?.record, report?.record)
  const port = ownPort ?? defaultPort
  if (vm === undefined || port === undefined) return undefined
  const { state = 'stopped', generation = 0, ports = {} } = report?.record ?? {}
  const upstream = state === 'running' ? ports[String(port)] : undefined
  const counting = grants
    .filter(({ record }) => (record.ports ?? [defaultPort]).includes(port))
    .map(toRowGrant)
  return ROUTES.parse({
    hostname,
    visibility: vm.record.ports[String(port)]?.visibility ?? 'private',
    vm: name,
    port,
    pool: vm.record.pool,
    ...(upstream && { upstream }),
    state: state === 'running' ? 'running' : 'stopped',
    generation,
    ...(counting.length > 0 && { grants: counting }),
  })
}

function toRowGrant({ record: { id, to, role, expiresAt } }: Stored<GrantRecord>) {
  return { id, to, role, ...(expiresAt !== undefined && { expiresAt }) }
}
