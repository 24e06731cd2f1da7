/** The parts of a sidecar work together: a disk is put back under a VM that has no memory of another one. */

import t, { type Test } from 'tap'
import type { PlacedVm } from '../../routing/placement/placement-reader.ts'
import type { Disks } from '../../sidecar/disks/disks.ts'
import { createNoGroups } from '../../sidecar/pools/cgroup-none.ts'
import { startSidecar } from '../../sidecar/sidecar.ts'
import { until } from '../helpers/until.ts'
import { FakeVmm } from './fake-vms.ts'
import { listLog } from './vms.ts'

const VM: PlacedVm = {
  ...{ name: 'one', pool: 'mine', image: 'hello', createdAt: '2026-01-31T12:00:00Z', state: 'running' },
  ...{ authorizedKeys: [], peers: [], restore: { id: 'r1', snapshot: 's1' } },
}

/** Remembers what became of its only disk. */
function fakeDisks(events: string[], wasRestored: boolean): Disks {
  let isRestored = wasRestored
  const point = { takenAt: '2026-02-01T12:00:00Z', bytes: 1 }
  return {
    isRestored: async () => isRestored,
    restore: async () => {
      if (!isRestored) events.push('restore')
      isRestored = true
    },
    listSnapshots: async () => ['s1', 'r1'],
    takeSnapshot: async () => point,
    measurePool: async () => 0,
    limitWrites: async () => undefined,
  } satisfies Partial<Disks> as unknown as Disks
}

async function sidecarFor(t: Test, wasRestored: boolean) {
  const events: string[] = []
  const state = { isAway: true, refusals: 0 }
  const vmm = new FakeVmm()
  const forget = vmm.forget.bind(vmm)
  vmm.forget = async (vm) => {
    events.push('forget')
    await forget(vm)
  }
  const tell = (what: string) => async () => {
    if (!state.isAway) return void events.push(what)
    state.refusals += 1
    throw new Error('store is away')
  }
  const sidecar = await startSidecar(
    {
      driver: {
        ...{ vmm, groups: createNoGroups(), network: 'user', atEnd: 'detach' },
        disks: fakeDisks(events, wasRestored),
        [Symbol.asyncDispose]: async () => undefined,
      },
      table: {
        reportVm: async () => undefined,
        clearCall: tell('call'),
        reportSnapshot: tell('snapshot'),
        keepSnapshot: tell('kept'),
        clearGrave: tell('grave'),
      },
      meter: { add: () => undefined },
      log: listLog().log,
    },
    { domain: 'example.test', folder: t.testdir(), graceMs: 0 },
  )
  t.teardown(() => sidecar[Symbol.asyncDispose]())
  return { sidecar, vmm, events, state }
}

t.test('forgets the memory before it puts a disk back, and runs on it while the table is away', async (t) => {
  const { sidecar, vmm, events, state } = await sidecarFor(t, false)
  vmm.asleep.add('one')
  sidecar.orders.want(VM)
  await until(() => vmm.vms.length === 2, 'it was shut down, and booted')
  t.same(events, ['forget', 'restore'])
  await until(() => state.refusals > 0, 'the table does not know')
  state.isAway = false
  await until(() => events.includes('kept'), 'the table knows what was put aside')
})

t.test('lets a VM sleep on whose disk was put back before', async (t) => {
  const { sidecar, vmm, events, state } = await sidecarFor(t, true)
  state.isAway = false
  vmm.asleep.add('one')
  sidecar.orders.want(VM)
  await until(() => events.includes('kept'), 'the table is told in any case')
  await sidecar.attempted()
  t.same(events, ['kept'])
  t.equal(vmm.vms.length, 0)
})
