/** A keeper over pretended VMs and a pretended table, for its tests. */

import type { Test } from 'tap'
import { type KeeperSettings, startKeeper } from '../../sidecar/keeper.ts'
import type { RestoreWish, VmCall, WantedVm } from '../../sidecar/kept-vm.ts'
import type { VmStatus } from '../../sidecar/vm-status.ts'
import { FakeVmm } from './fake-vms.ts'
import { listLog } from './vms.ts'

export const CREATED_AT = '2026-01-31T12:00:00Z'
const QUICK: KeeperSettings = {
  lifecycle: { firstPauseMs: 5, maxPauseMs: 20, graceMs: 123 },
  reportRetryMs: 5,
}

export function wanted(name: string, more: Partial<WantedVm> = {}): WantedVm {
  return { name, pool: 'default', image: 'hello', createdAt: CREATED_AT, state: 'running', ...more }
}

export function keeperFor(t: Test, settings: KeeperSettings = {}) {
  const vmm = new FakeVmm()
  const table = new Map<string, VmStatus>()
  const told: string[] = []
  const store = { isDown: false, refusals: 0 }
  const { log, lines } = listLog()
  const report = async (name: string, status: VmStatus) => {
    if (store.isDown) {
      store.refusals += 1
      throw new Error('store is away')
    }
    table.set(name, status)
    told.push(`${name} ${status.state}`)
  }
  const cleared: string[] = []
  const restored: string[] = []
  /** `restoredAs`: the wish that was carried out last. */
  const disk: { fault?: Error; restoredAs?: string } = {}
  const clearCall = async (name: string, call: VmCall) => {
    if (store.isDown) throw new Error('store is away')
    cleared.push(`${name} ${call.what} ${call.id}`)
  }
  const restore = async ({ name }: WantedVm, wish: RestoreWish, rest: () => Promise<void>) => {
    if (disk.restoredAs === wish.id) return
    await rest()
    if (disk.fault) throw disk.fault
    disk.restoredAs = wish.id
    restored.push(`${name} ${wish.snapshot} ${vmm.vms.every(({ isEnded }) => isEnded)}`)
  }
  const keeper = startKeeper({ vmm, report, clearCall, restore, log }, { ...QUICK, ...settings })
  t.teardown(() => keeper[Symbol.asyncDispose]())
  const stateOf = (name: string) => table.get(name)?.state
  return { keeper, vmm, table, told, store, lines, stateOf, cleared, restored, disk }
}
