/** VMs in a store, for tests: changes of each of their parts, and what their rows have to be. */

import { type Edit, toEdit } from '../../../routing/records/edits.ts'
import type { GrantRecord } from '../../../routing/records/grants.ts'
import {
  BINDINGS,
  GRANTS,
  type Kind,
  REPORTS,
  ROUTES,
  type Stored,
  VMS,
} from '../../../routing/records/record-kinds.ts'
import type { BindingRecord, ReportRecord, VmRecord } from '../../../routing/records/records.ts'
import type { Store, StoredDocument } from '../../../routing/store/store.ts'
import { commitVm } from '../../../routing/vms/vm-changes.ts'
import { joinRow, type VmParts } from '../../../routing/vms/vm-parts.ts'

type Tables = Pick<Store, 'get' | 'list' | 'commit'>

const CREATED_AT = '2026-01-31T12:00:00Z'

export function vmOf(name: string, more: Partial<VmRecord> = {}): VmRecord {
  return {
    ...{ name, pool: 'default', image: 'hello', state: 'running', ports: {}, createdAt: CREATED_AT },
    ...more,
  }
}

/** A VM that runs and has these ports open. */
export function reportOf(
  name: string,
  ports: readonly number[] = [80],
  more: Partial<ReportRecord> = {},
): ReportRecord {
  const addresses = ports.map((port) => [String(port), { host: '10.0.0.1', port: 40_000 + (port % 1_000) }])
  const opened = Object.fromEntries(addresses)
  return { name, host: 'host-1', state: 'running', generation: 1, ports: opened, ...more }
}

export function grantOf(vm: string, id: string, more: Partial<GrantRecord> = {}): GrantRecord {
  const to = { kind: 'user', value: id } as const
  return { id, vm, to, role: 'viewer', createdAt: CREATED_AT, createdBy: 'test', ...more }
}

export async function putVm(store: Tables, record: VmRecord): Promise<void> {
  await commitVm(store, {
    name: record.name,
    plan: (parts) => ({
      edits: [toEdit(VMS.keyOf(record), { before: parts.vm, after: record })],
      after: { ...parts, vm: storedOf(VMS, record) },
    }),
  })
}

/** As a host does it: nothing is kept of a VM that is gone. */
export async function putReport(store: Tables, record: ReportRecord): Promise<void> {
  await commitVm(store, {
    name: record.name,
    plan: (parts) => {
      const report = parts.vm && storedOf(REPORTS, record)
      return {
        edits: [toEdit(REPORTS.keyOf(record), { before: parts.report, after: report?.record })],
        after: { ...parts, report },
      }
    },
  })
}

/** Writes a grant, or takes it away. */
export async function putGrant(store: Tables, record: GrantRecord, isGone?: 'gone'): Promise<void> {
  await commitVm(store, {
    name: record.vm,
    plan: (parts) => {
      const { edits, stored } = planOne(GRANTS, { record, isGone, among: parts.grants })
      return { edits, after: { ...parts, grants: stored } }
    },
  })
}

/** Writes a binding, or takes it away; without the VM there is none. @throws RoutingError `api_name_taken` */
export async function putBinding(store: Tables, record: BindingRecord, isGone?: 'gone'): Promise<void> {
  await commitVm(store, {
    name: record.vm,
    plan: (parts) => {
      if (parts.vm === undefined) return { edits: [], after: parts }
      const { edits, stored } = planOne(BINDINGS, { record, isGone, among: parts.bindings })
      return { edits, after: { ...parts, bindings: stored } }
    },
  })
}

/** Deletes the VM and all that belongs to it. */
export async function dropVm(store: Tables, name: string): Promise<void> {
  await commitVm(store, {
    name,
    plan: ({ vm, report, grants, bindings }) => ({
      edits: [vm, report, ...grants, ...bindings]
        .filter((stored) => stored !== undefined)
        .map((stored): Edit => toEdit<object>(stored.key, { before: stored, after: undefined })),
      after: { vm: undefined, report: undefined, grants: [], bindings: [] },
    }),
  })
}

/** Rows by host name, as they are and as a fresh join of everything else in the store makes them. */
export async function rowsOf(store: Pick<Store, 'list'>) {
  const { documents } = await store.list('', { limit: 100_000 })
  const bindings = readAll(BINDINGS, documents)
  const fresh = bindings.map(({ record }) => joinRow(record, partsOf(record.vm, documents)))
  const rows = readAll(ROUTES, documents).filter(({ record }) => record.vm !== undefined)
  return {
    stored: byHostname(rows.map(({ record }) => record)),
    fresh: byHostname(fresh.filter((row) => row !== undefined)),
  }
}

function partsOf(
  name: string,
  documents: readonly StoredDocument[],
): Pick<VmParts, 'vm' | 'report' | 'grants'> {
  return {
    vm: readAll(VMS, documents).find(({ record }) => record.name === name),
    report: readAll(REPORTS, documents).find(({ record }) => record.name === name),
    grants: readAll(GRANTS, documents).filter(({ record }) => record.vm === name),
  }
}

function readAll<Value>(kind: Kind<Value>, documents: readonly StoredDocument[]): Stored<Value>[] {
  return documents
    .filter(({ key }) => key.startsWith(kind.prefix))
    .map(({ key, value, revision }) => ({ key, record: kind.parse(value, key), revision }))
}

function byHostname<Row extends { readonly hostname: string }>(rows: readonly Row[]): Record<string, Row> {
  const sorted = [...rows].sort((one, other) => (one.hostname < other.hostname ? -1 : 1))
  return Object.fromEntries(sorted.map((row) => [row.hostname, { ...row }]))
}

interface OneOf<Value> {
  readonly record: Value
  readonly isGone: 'gone' | undefined
  readonly among: readonly Stored<Value>[]
}

function planOne<Value extends object>(kind: Kind<Value>, { record, isGone, among }: OneOf<Value>) {
  const key = kind.keyOf(record)
  const before = among.find((stored) => stored.key === key)
  const others = among.filter((stored) => stored.key !== key)
  const after = isGone ? undefined : record
  return {
    edits: [toEdit(key, { before, after })],
    stored: after ? [...others, storedOf(kind, after)] : others,
  }
}

function storedOf<Value>(kind: Kind<Value>, record: Value): Stored<Value> {
  return { key: kind.keyOf(record), record: kind.parse(record), revision: 0 }
}
