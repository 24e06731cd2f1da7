/** What meets at one moment, and what came while no sidecar ran: wishes, calls, sleep, restores and a table that is away. */

import { getEventListeners } from 'node:events'
import t from 'tap'
import { until } from '../helpers/until.ts'
import { FakeVm } from './fake-vms.ts'
import { keeperFor, wanted } from './keepers.ts'

const back = (more: Parameters<typeof wanted>[1] = {}) =>
  wanted('one', { restore: { id: 'r1', snapshot: 's1' }, ...more })

t.test('stops a VM that was found running only after it was no longer wanted', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  const left = new FakeVm('one', 40_500)
  const gate = Promise.withResolvers<void>()
  vmm.left.set('one', left)
  vmm.adoptGate = gate.promise
  keeper.want(wanted('one'))
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
  keeper.want(wanted('one', { state: 'stopped' }))
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
  gate.resolve()
  await until(() => stateOf('one') === 'stopped', 'it is said to be stopped')
  t.same(left.graces, [123])
  t.ok(left.isEnded)
})

t.test('restarts a VM that falls asleep at that moment, and carries out later calls', async (t) => {
  const { keeper, vmm, stateOf, cleared } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  const { last } = vmm
  last.stop = async () => {
    last.end({ isSuspended: true })
    return last.exited
  }
  keeper.want(wanted('one', { call: { id: 'a', what: 'restart' } }))
  await until(() => vmm.vms.length === 2 && stateOf('one') === 'running', 'it runs again')
  await until(() => cleared.length === 1, 'the call is cleared')
  t.same(vmm.forgotten, ['one'], 'it booted')
  keeper.want(wanted('one', { call: { id: 'b', what: 'suspend' } }))
  await until(() => stateOf('one') === 'asleep', 'it sleeps')
  keeper.want(wanted('one', { call: { id: 'c', what: 'wake' } }))
  await until(() => stateOf('one') === 'running' && cleared.length === 3, 'it runs')
})

t.test('carries out a call that was made before the VM was found asleep', async (t) => {
  const { keeper, vmm, stateOf, cleared } = keeperFor(t)
  vmm.asleep.add('one')
  keeper.want(wanted('one', { call: { id: 'a', what: 'wake' } }))
  await until(() => stateOf('one') === 'running', 'it runs')
  await until(() => cleared.length === 1, 'the call is cleared')
})

t.test('keeps nothing of each time that a VM slept', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  const signals = new Set<AbortSignal>()
  const start = vmm.start.bind(vmm)
  vmm.start = async (spec, signal) => {
    if (signal) signals.add(signal)
    return start(spec)
  }
  keeper.want(wanted('one'))
  await keeper.attempted()
  for (let time = 0; time < 8; time += 1) {
    await vmm.last.suspend()
    await until(() => stateOf('one') === 'asleep', 'it sleeps')
    keeper.want(wanted('one', { call: { id: `wake-${time}`, what: 'wake' } }))
    await until(() => stateOf('one') === 'running', 'it runs')
  }
  const counts = [...signals].map((signal) => getEventListeners(signal, 'abort').length)
  t.same(counts, [1], 'one start after the other waits for the same end')
})

t.test('ends what an earlier process left before a disk is put back', async (t) => {
  const { keeper, vmm, restored, stateOf } = keeperFor(t)
  const left = new FakeVm('one', 40_500)
  vmm.left.set('one', left)
  keeper.want(back())
  await until(() => stateOf('one') === 'running', 'it runs')
  t.same(left.graces, [123])
  t.same(restored, ['one s1 true'])
  t.equal(vmm.vms.length, 1, 'on the disk that was put back')
})

t.test('drops the memory of a VM that slept before its disk is put back', async (t) => {
  const { keeper, vmm, restored, stateOf } = keeperFor(t)
  vmm.asleep.add('one')
  keeper.want(back())
  await until(() => restored.length === 1 && stateOf('one') === 'running', 'it runs')
  t.same(vmm.forgotten, ['one'])
  t.equal(vmm.vms.length, 2, 'it was woken to shut down, and booted')
  t.ok(vmm.vms[0]?.isEnded)
})

t.test('puts no disk back under memory that cannot be dropped', async (t) => {
  const { keeper, vmm, restored, stateOf } = keeperFor(t)
  vmm.asleep.add('one')
  vmm.failures = 1
  vmm.forgetFault = new Error('EIO')
  keeper.want(back())
  await until(() => stateOf('one') === 'failed', 'it failed')
  t.same(restored, [])
  vmm.forgetFault = undefined
  await until(() => restored.length === 1 && stateOf('one') === 'running', 'it runs')
  t.notOk(vmm.asleep.has('one'))
})

for (const how of ['running', 'asleep'] as const) {
  t.test(`leaves a VM ${how} whose disk an earlier process has put back`, async (t) => {
    const { keeper, vmm, stateOf, disk } = keeperFor(t)
    disk.restoredAs = 'r1'
    const left = new FakeVm('one', 40_500)
    if (how === 'running') vmm.left.set('one', left)
    else vmm.asleep.add('one')
    keeper.want(back())
    await until(() => stateOf('one') === how, 'it was found')
    t.same(left.graces, [])
    t.same(vmm.specs, [])
    t.same(vmm.forgotten, [])
  })
}

t.test('tries to put a disk back again, and answers calls meanwhile', async (t) => {
  const { keeper, vmm, stateOf, disk, cleared } = keeperFor(t)
  disk.fault = new Error('no room')
  keeper.want(back({ call: { id: 'a', what: 'restart' } }))
  await until(() => stateOf('one') === 'failed', 'it failed')
  await until(() => cleared.length === 1, 'the call is not left for later')
  t.equal(vmm.vms.length, 0)
  delete disk.fault
  await until(() => stateOf('one') === 'running', 'it runs')
})

t.test('shuts down a VM that slept and should be stopped by now', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  vmm.asleep.add('one')
  keeper.want(wanted('one', { state: 'stopped' }))
  await until(() => stateOf('one') === 'stopped' && vmm.forgotten.length === 1, 'it is stopped')
  t.same(vmm.last.graces, [123])
  keeper.want(wanted('one'))
  await until(() => stateOf('one') === 'running', 'it runs when it shall run')
})

t.test('clears a call when the table is there again', async (t) => {
  const { keeper, cleared, store } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  store.isDown = true
  keeper.want(wanted('one', { call: { id: 'a', what: 'restart' } }))
  await until(() => store.refusals > 3, 'the table refuses')
  t.same(cleared, [])
  store.isDown = false
  await until(() => cleared.length === 1, 'it is cleared')
  t.same(cleared, ['one restart a'])
})
