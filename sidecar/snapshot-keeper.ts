/** Takes the snapshots that the table wants of this host's VMs, and tells it how that went. */

import type { Log } from '../lib/log.ts'
import type { DiskPoint } from './disks/disks.ts'
import type { HostTable, SnapshotNews } from './host-table.ts'
import { Reporter, type ReporterSettings } from './reporter.ts'
import type { VmId } from './vm-id.ts'
import { describeStartError } from './vm-status.ts'

export interface WantedSnapshot {
  readonly id: string
  readonly vm: VmId
}

export interface SnapshotDeps {
  /** Again under one id gives what is there. */
  readonly take: (vm: VmId, id: string) => Promise<DiskPoint>
  /** Tell the table; called again until they succeed. */
  readonly report: HostTable['reportSnapshot']
  readonly reportKept: HostTable['keepSnapshot']
  readonly log: Log
}

export interface SnapshotKeeper extends AsyncDisposable {
  /** Returns at once; known ones may come again. */
  want(snapshot: WantedSnapshot): void
  /** What a restore put aside. Returns at once, and does nothing after disposal: the next process says it again. */
  keep(kept: KeptSnapshot): void
}

export type KeptSnapshot = Parameters<HostTable['keepSnapshot']>[0]

const REPORTS: ReporterSettings = { retryMs: 1_000, maxRetryMs: 5_000 }

/** Disposal waits for those under way, and for one more attempt to tell of each. */
export function startSnapshotKeeper(deps: SnapshotDeps, reports = REPORTS): SnapshotKeeper {
  const { report, reportKept, log } = deps
  const working = new Map<string, Promise<void>>()
  const reporters = new Set<AsyncDisposable>()
  let isOver = false
  const begin = (key: string, work: () => Promise<void>) => {
    if (isOver || working.has(key)) return
    working.set(
      key,
      work().finally(() => working.delete(key)),
    )
  }
  const tell = async <News>(report: (news: News) => Promise<void>, { about, find }: Telling<News>) => {
    await using reporter = new Reporter({ report, log, about }, reports)
    reporters.add(reporter)
    reporter.publish(await find())
    await reporter.drained()
    reporters.delete(reporter)
  }
  return {
    want: (snapshot) => {
      const { vm, id } = snapshot
      const about = { vm: vm.name, snapshot: id }
      const find = () => take(deps, snapshot)
      begin(`${vm.name}/${vm.createdAt}/${id}`, () => tell(report, { about, find }))
    },
    keep: (kept) => {
      const { vm, vmCreatedAt, id } = kept
      const about = { vm, snapshot: id }
      begin(`kept ${vm}/${vmCreatedAt}/${id}`, () => tell(reportKept, { about, find: async () => kept }))
    },
    [Symbol.asyncDispose]: async () => {
      isOver = true
      await Promise.all([...reporters].map((reporter) => reporter[Symbol.asyncDispose]()))
      await Promise.all(working.values())
    },
  }
}

interface Telling<News> {
  readonly about: Readonly<Record<string, unknown>>
  readonly find: () => Promise<News>
}

async function take({ take, log }: SnapshotDeps, { vm, id }: WantedSnapshot): Promise<SnapshotNews> {
  const name = { vm: vm.name, vmCreatedAt: vm.createdAt, id }
  try {
    return { ...name, state: 'ready', ...(await take(vm, id)) }
  } catch (error) {
    log.error({ vm: vm.name, snapshot: id, err: error }, 'a snapshot could not be taken')
    return { ...name, state: 'failed', message: describeStartError(error) }
  }
}
