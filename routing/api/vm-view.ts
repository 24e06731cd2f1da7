/** How the admin API shows a VM: what is wanted of it, what its host says, and whether its URL answers. */

import { Type } from 'typebox'
import { RoutingError } from '../errors.ts'
import { findRecord, type Kind, POOLS, REPORTS, ROUTES, type Stored } from '../records/record-kinds.ts'
import { REPORT, type ReportRecord, type RouteRecord, VM, type VmRecord } from '../records/records.ts'
import { LABEL, PORT } from '../records/schema.ts'
import type { Store } from '../store/store.ts'
import type { ApiContext } from './context.ts'
import { viewOf } from './schemas.ts'

const { host, state, message, generation, defaultPort, hostKey } = REPORT.properties
export const VM_VIEW = viewOf(VM, {
  url: Type.String({ description: 'where the default port is' }),
  hostname: Type.String(),
  host: Type.Optional(LABEL),
  report: Type.Optional(
    Type.Object(
      {
        ...{ host, state, message, generation, defaultPort, hostKey },
        ports: Type.Array(PORT, { description: 'the open ports' }),
      },
      { description: 'what its host last said; absent until then' },
    ),
  ),
  isReady: Type.Boolean({
    description: 'true when the URL leads to the VM, on this edge: it runs, or a request wakes it',
  }),
})

/** What is known of a VM besides its own record. */
export interface VmStatus {
  readonly report: Stored<ReportRecord> | undefined
  /** Of its bare name. */
  readonly row: Stored<RouteRecord> | undefined
  /** True when the row leads to an open port of the running VM, or says that the VM is asleep. */
  readonly isServed: boolean
  /** True when this edge has read so, too. */
  readonly isReady: boolean
}

export async function readStatus({ store, table, domain }: ApiContext, name: string): Promise<VmStatus> {
  const [report, row] = await Promise.all([
    findSound(store, REPORTS, name),
    findSound(store, ROUTES, `${name}.${domain}`),
  ])
  const isOwn = row?.record.vm === name
  const isAwake = isUp(report) && row?.record.upstream !== undefined
  const isAsleep = report?.record.state === 'asleep' && row?.record.state === 'asleep'
  const isServed = isOwn && (isAwake || isAsleep)
  return { report, row, isServed, isReady: isServed && table.revision >= row.revision }
}

export function isUp(report: Stored<ReportRecord> | undefined): boolean {
  return report?.record.state === 'running'
}

/** True when nothing of it runs or sleeps. */
export function isAtRest(report: Stored<ReportRecord> | undefined): boolean {
  return !isUp(report) && report?.record.state !== 'asleep'
}

export async function viewVm(context: ApiContext, { record, revision }: Stored<VmRecord>): Promise<object> {
  const { store, domain, urlOf } = context
  const [{ report, isReady }, pool] = await Promise.all([
    readStatus(context, record.name),
    findSound(store, POOLS, record.pool),
  ])
  const hostname = `${record.name}.${domain}`
  const host = report?.record.host ?? pool?.record.host
  return {
    ...record,
    url: urlOf(hostname),
    hostname,
    ...(host !== undefined && { host }),
    ...(report && { report: viewReport(report.record) }),
    isReady,
    revision,
  }
}

function viewReport({ name: _name, ports, ...shown }: ReportRecord) {
  return { ...shown, ports: Object.keys(ports).map(Number) }
}

/** A broken record of another kind must not hide the VM itself. */
export async function findSound<Value>(
  store: Pick<Store, 'get'>,
  kind: Kind<Value>,
  name: string,
): Promise<Stored<Value> | undefined> {
  try {
    return await findRecord(store, kind, name)
  } catch (error) {
    if (error instanceof RoutingError && error.code === 'api_record_broken') return undefined
    throw error
  }
}
