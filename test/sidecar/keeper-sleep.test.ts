/** VMs that sleep, are called, are put back, and outlive the process that keeps them. */

import t from 'tap'
import { SidecarError } from '../../sidecar/errors.ts'
import type { Keeper } from '../../sidecar/keeper.ts'
import { until } from '../helpers/until.ts'
import { FakeVm } from './fake-vms.ts'
import { keeperFor, wanted } from './keepers.ts'

async function suspend(keeper: Keeper, name: string): Promise<void> {
  await keeper
    .listRunning()
    .find(({ wanted }) => wanted.name === name)
    ?.running.suspend()
}

t.test('says that an idle VM sleeps, and wakes it when it is called', async (t) => {
  const { keeper, vmm, stateOf, cleared } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  await suspend(keeper, 'one')
  await until(() => stateOf('one') === 'asleep', 'it sleeps')
  keeper.want(wanted('one', { weight: 200 }))
  await keeper.attempted()
  t.equal(vmm.vms.length, 1, 'a change does not wake it')
  keeper.want(wanted('one', { weight: 200, call: { id: 'a', what: 'wake' } }))
  await until(() => stateOf('one') === 'running', 'it runs')
  t.match(vmm.specs[1], { weight: 200 }, 'with what changed meanwhile')
  t.same(cleared, ['one wake a'])
})

t.test('carries out a call once', async (t) => {
  const { keeper, vmm, stateOf, cleared, lines } = keeperFor(t)
  keeper.want(wanted('one', { call: { id: 'a', what: 'restart' } }))
  await keeper.attempted()
  await until(() => cleared.length === 1 && stateOf('one') === 'running', 'it was carried out')
  const { length } = vmm.vms
  keeper.want(wanted('one', { weight: 3, call: { id: 'a', what: 'restart' } }))
  await keeper.attempted()
  t.equal(vmm.vms.length, length)
  keeper.want(wanted('one', { weight: 3, call: { id: 'b', what: 'restart' } }))
  await until(() => vmm.vms.length === length + 1 && stateOf('one') === 'running', 'it was restarted')
  t.notOk(
    lines.some(({ message }) => message.includes('VM ended')),
    'nobody is told of a failure',
  )
  vmm.last.isSleepless = true
  keeper.want(wanted('one', { call: { id: 'c', what: 'suspend' } }))
  await until(() => cleared.length === 3, 'a call in vain is cleared, too')
  t.match(lines.at(-1), { level: 'warn', what: 'suspend' })
  t.equal(stateOf('one'), 'running')
})

t.test('puts a disk back while the VM does not run, once', async (t) => {
  const { keeper, vmm, stateOf, restored } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  const back = wanted('one', { restore: { id: 'r1', snapshot: 's1' } })
  keeper.want(back)
  await until(() => vmm.vms.length === 2 && stateOf('one') === 'running', 'it runs again')
  keeper.want({ ...back, weight: 7 })
  await keeper.attempted()
  t.same(restored, ['one s1 true'])
  t.match(vmm.last.updates, [{ weight: 7 }])
  t.equal(vmm.vms.length, 2)
})

t.test('does not start a VM whose disk could not be put back', async (t) => {
  const { keeper, vmm, table, disk } = keeperFor(t)
  disk.fault = new SidecarError('disk_source_unknown', { detail: 'There is no snapshot s1.' })
  keeper.want(wanted('one', { restore: { id: 'r1', snapshot: 's1' } }))
  await keeper.attempted()
  t.equal(vmm.vms.length, 0)
  t.match(table.get('one'), { state: 'failed', message: 'There is no snapshot s1.' })
})

t.test('takes over what an earlier process left, running or asleep', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  const left = new FakeVm('one', 40_500)
  const unwanted = new FakeVm('three', 40_501)
  vmm.left.set('one', left).set('three', unwanted)
  vmm.asleep.add('two')
  for (const name of ['one', 'two']) keeper.want(wanted(name))
  keeper.want(wanted('three', { state: 'stopped' }))
  await keeper.attempted()
  t.same(['one', 'two', 'three'].map(stateOf), ['running', 'asleep', 'stopped'])
  t.same(vmm.specs, [], 'nothing was started')
  t.same(unwanted.graces, [123])
  t.notOk(left.isEnded)
})

t.test('leaves VMs running and asleep when it is told to let go of them', async (t) => {
  const { keeper, vmm, told } = keeperFor(t, { atEnd: 'detach' })
  for (const name of ['one', 'two']) keeper.want(wanted(name))
  await keeper.attempted()
  await suspend(keeper, 'two')
  await until(() => told.includes('two asleep'), 'it sleeps')
  const { length } = told
  await keeper[Symbol.asyncDispose]()
  t.ok(vmm.vms[0]?.isDetached)
  t.notOk(vmm.vms[0]?.isEnded)
  t.ok(vmm.asleep.has('two'))
  t.equal(told.length, length, 'the table goes on sending requests there')
})

t.test('wakes a VM that sleeps to shut it down, and drops the memory of one that is let go', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  for (const name of ['one', 'two']) keeper.want(wanted(name))
  await keeper.attempted()
  for (const name of ['one', 'two']) await suspend(keeper, name)
  await until(() => stateOf('one') === 'asleep' && stateOf('two') === 'asleep', 'both sleep')
  keeper.want(wanted('one', { state: 'stopped' }))
  keeper.release('two')
  await until(() => stateOf('one') === 'stopped' && stateOf('two') === 'stopped', 'both are stopped')
  t.equal(vmm.vms.length, 3)
  t.same(vmm.last.graces, [123])
  t.same(vmm.forgotten, ['two', 'one'])
})

t.test(
  'clears a call after the table has heard what became of it, also when there is much to say',
  async (t) => {
    const { keeper, vmm, table, cleared } = keeperFor(t)
    const statesAtClear: string[] = []
    keeper.want(wanted('one'))
    await keeper.attempted()
    for (let port = 1; port <= 40; port += 1)
      vmm.last.tell({ ports: { [port]: { host: '127.0.0.1', port } } })
    await until(() => table.get('one')?.ports['40'] !== undefined, 'the last ports are told')
    for (let port = 1; port <= 40; port += 1) {
      vmm.last.tell({ ports: { [port]: { host: '127.0.0.1', port } } })
      await new Promise(setImmediate)
    }
    cleared.push = (...calls) => {
      statesAtClear.push(String(table.get('one')?.state))
      return calls.length
    }
    keeper.want(wanted('one', { call: { id: 'a', what: 'suspend' } }))
    await until(() => statesAtClear.length === 1, 'the call is cleared')
    t.same(statesAtClear, ['asleep'])
  },
)
