/** What a host writes of its VMs, and when it must not. */

import { findRecord, POOLS, REPORTS, type Stored } from '../records/record-kinds.ts'
import type { ReportRecord } from '../records/records.ts'
import type { Store } from '../store/store.ts'
import { commitVm, type VmPlan } from './vm-changes.ts'
import type { VmParts } from './vm-parts.ts'

type Tables = Pick<Store, 'get' | 'list' | 'commit'>

/** A report as the host makes it; its generation follows from who reported last. */
export interface HostReport extends Omit<ReportRecord, 'generation'> {
  /** When the VM was made of which it is; whichever has the name now when absent. */
  readonly createdAt?: string
}

/**
 * Writes the report together with the rows that follow from it. A host that reports a VM for the first time since
 * another one did takes the next generation. A VM that was deleted leaves nothing behind, nor does it speak for a later
 * one of its name; one that another host reports, and whose pool is not placed on this one, is left alone. A report that
 * cannot be read is replaced.
 * @throws RoutingError, `api_record_broken` above all: a VM that cannot be read
 */
export async function putHostReport(store: Tables, report: HostReport): Promise<void> {
  await commitVm(store, {
    name: report.name,
    plan: async (parts): Promise<VmPlan> => {
      const { report: last } = parts
      const before = last && { value: last.record, revision: last.revision }
      const after = await findNext(store, parts, report)
      const edit = { key: REPORTS.prefix + report.name, before, after: after && { ...after.record } }
      return { edits: [edit], after: { ...parts, report: after } }
    },
  })
}

/** The report that there should be. */
async function findNext(
  store: Tables,
  { vm, report: last }: VmParts,
  { createdAt, ...report }: HostReport,
): Promise<Stored<ReportRecord> | undefined> {
  if (vm === undefined) return undefined
  if (createdAt !== undefined && createdAt !== vm.record.createdAt) return last
  const isOurs = last?.record.host === report.host
  if (!isOurs && !(await isPlacedOn(store, vm.record.pool, report.host))) return last
  const generation = isOurs ? last.record.generation : (last?.record.generation ?? 0) + 1
  const record = REPORTS.parse({ ...report, ...factsOf(report, last?.record), generation })
  return { key: REPORTS.keyOf(record), record, revision: 0 }
}

/** Where the bare name leads, and who the guest is, must not change because the VM is down. */
function factsOf(report: HostReport, last: ReportRecord | undefined) {
  if (report.state === 'running') return {}
  const { ports = {}, defaultPort = report.defaultPort, hostKey = report.hostKey } = last ?? {}
  return {
    ports,
    ...(defaultPort !== undefined && { defaultPort }),
    ...(hostKey !== undefined && { hostKey }),
  }
}

async function isPlacedOn(store: Tables, pool: string, host: string): Promise<boolean> {
  return (await findRecord(store, POOLS, pool))?.record.host === host
}
