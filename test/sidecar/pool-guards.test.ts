/** The disk quota of a pool does not count what was deleted. */

import t from 'tap'
import type { Disks } from '../../sidecar/disks/disks.ts'
import { startPoolGuards } from '../../sidecar/pool-guards.ts'
import { createNoGroups } from '../../sidecar/pools/cgroup-none.ts'
import { listLog } from './vms.ts'

t.test('deleted VMs and snapshots are left out when a pool is measured', async (t) => {
  const left: boolean[] = []
  const disks: Pick<Disks, 'measurePool' | 'limitWrites'> = {
    measurePool: async (_pool, isLeaving) => {
      left.push(isLeaving?.('gone') ?? false, isLeaving?.('here', 'gone') ?? false)
      left.push(isLeaving?.('here') ?? true)
      return 0
    },
    limitWrites: async () => undefined,
  }
  await using guards = startPoolGuards({
    // The rest of it is not used here.
    driver: { disks: disks as Disks, groups: createNoGroups() },
    keeper: { listRunning: () => [] },
    pools: { list: () => [{ name: 'p', diskBytes: 1 }] as never },
    isLeaving: (key, snapshot) => key === 'gone' || snapshot === 'gone',
    log: listLog().log,
  })
  await guards.look('p')
  t.same(left.slice(0, 3), [true, true, false])
})
