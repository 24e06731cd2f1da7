/** Snapshots that the table wants are taken once, and the table hears of it even when it was away. */

import t, { type Test } from 'tap'
import { SidecarError } from '../../sidecar/errors.ts'
import type { SnapshotNews } from '../../sidecar/host-table.ts'
import { startSnapshotKeeper } from '../../sidecar/snapshot-keeper.ts'
import { until } from '../helpers/until.ts'
import { listLog } from './vms.ts'

const VM = { name: 'one', createdAt: '2026-01-31T12:00:00Z' }
const NAME = { vm: VM.name, vmCreatedAt: VM.createdAt, id: 's1' }
const POINT = { takenAt: '2026-02-01T12:00:00Z', bytes: 65_536 }

function keeperFor(t: Test) {
  const taken: string[] = []
  const reports: SnapshotNews[] = []
  const kept: string[] = []
  const state: { fault?: Error; isAway: boolean; attempts: number } = { isAway: false, attempts: 0 }
  const keeper = startSnapshotKeeper(
    {
      take: async ({ name }, id) => {
        if (state.fault) throw state.fault
        taken.push(`${name} ${id}`)
        return POINT
      },
      report: async (report) => {
        state.attempts += 1
        if (state.isAway) throw new Error('store is away')
        reports.push(report)
      },
      reportKept: async ({ id }) => {
        state.attempts += 1
        if (state.isAway) throw new Error('store is away')
        kept.push(id)
      },
      log: listLog().log,
    },
    { retryMs: 5, maxRetryMs: 10 },
  )
  t.teardown(() => keeper[Symbol.asyncDispose]())
  return { keeper, taken, reports, kept, state }
}

t.test('takes a snapshot once, however often it is asked for meanwhile', async (t) => {
  const { keeper, taken, reports } = keeperFor(t)
  for (let times = 0; times < 3; times += 1) keeper.want({ id: 's1', vm: VM })
  await until(() => reports.length === 1, 'it is reported')
  t.same(taken, ['one s1'])
  t.same(reports, [{ ...NAME, state: 'ready', ...POINT }])
})

t.test('says why one could not be taken', async (t) => {
  const { keeper, reports, state } = keeperFor(t)
  state.fault = new SidecarError('disk_source_unknown', { detail: 'There is no disk.' })
  keeper.want({ id: 's1', vm: VM })
  await until(() => reports.length === 1, 'it is reported')
  t.same(reports, [{ ...NAME, state: 'failed', message: 'There is no disk.' }])
})

t.test('tells the table again when it was away', async (t) => {
  const { keeper, reports, state, taken } = keeperFor(t)
  state.isAway = true
  keeper.want({ id: 's1', vm: VM })
  await until(() => state.attempts >= 3, 'it was tried in vain')
  state.isAway = false
  await until(() => reports.length === 1, 'the table knows')
  t.same(taken, ['one s1'])
})

t.test('ends though the table is away', async (t) => {
  const { keeper, state } = keeperFor(t)
  state.isAway = true
  keeper.want({ id: 's1', vm: VM })
  await until(() => state.attempts >= 1, 'it was tried')
  await keeper[Symbol.asyncDispose]()
  t.pass('it has ended')
})

t.test('tells the table of what a restore put aside until it knows, and nothing after the end', async (t) => {
  const { keeper, kept, state } = keeperFor(t)
  state.isAway = true
  for (const id of ['k1', 'k1', 'k2'])
    keeper.keep({ ...NAME, ...POINT, id, label: 'before the restore of s1' })
  await until(() => state.attempts >= 5, 'it was tried in vain')
  state.isAway = false
  await until(() => kept.length === 2, 'the table knows')
  t.same(kept.toSorted(), ['k1', 'k2'])
  await keeper[Symbol.asyncDispose]()
  keeper.keep({ ...NAME, ...POINT, id: 'k3', label: 'before the restore of s1' })
  t.equal(kept.length, 2)
})
