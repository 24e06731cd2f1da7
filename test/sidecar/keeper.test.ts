/** The wanted state becomes real: which VMs run, in which order things happen, and what the table is told. */

import t from 'tap'
import { until } from '../helpers/until.ts'
import { CREATED_AT, keeperFor, wanted } from './keepers.ts'

t.test('starts what should run, and only says of the rest that it is stopped', async (t) => {
  const { keeper, vmm, table } = keeperFor(t)
  keeper.want(wanted('one'))
  keeper.want(wanted('two', { state: 'stopped' }))
  await keeper.attempted()
  t.match(vmm.specs, [{ name: 'one', image: 'hello', createdAt: CREATED_AT }])
  t.match(table.get('one'), { state: 'running', ports: { 8000: { port: 40_001 } } })
  t.same(table.get('two'), { state: 'stopped', ports: {} })
})

t.test('stops and starts a VM as it is told, and leaves it alone when nothing changes', async (t) => {
  const { keeper, vmm, told } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  keeper.want(wanted('one'))
  keeper.want(wanted('one', { pool: 'bigger' }))
  await keeper.attempted()
  t.equal(vmm.vms.length, 1)
  t.equal(keeper.find('one')?.pool, 'bigger')
  keeper.want(wanted('one', { state: 'stopped' }))
  await keeper.attempted()
  t.same(vmm.last.graces, [123])
  keeper.want(wanted('one'))
  await keeper.attempted()
  t.equal(vmm.vms.length, 2)
  t.same(
    told.filter((line, index) => line !== told[index - 1]),
    ['one running', 'one stopped', 'one running'],
  )
})

for (const change of [{ image: 'other' }, { createdAt: '2026-02-01T12:00:00Z' }]) {
  t.test(`ends and starts anew a VM with another ${Object.keys(change)}`, async (t) => {
    const { keeper, vmm, stateOf } = keeperFor(t)
    keeper.want(wanted('one'))
    await keeper.attempted()
    keeper.want(wanted('one', change))
    await keeper.attempted()
    t.equal(vmm.vms[0]?.isEnded, true)
    t.equal(vmm.vms.length, 2)
    t.match(vmm.specs[1], change)
    t.equal(stateOf('one'), 'running')
  })
}

t.test('does one thing after the other for one VM, and the last wish counts', async (t) => {
  const { keeper, vmm, told, stateOf } = keeperFor(t)
  const specsOf = (vm: string) => vmm.specs.filter(({ name }) => name === vm)
  keeper.want(wanted('one'))
  await keeper.attempted()
  vmm.last.isStubborn = true
  keeper.want(wanted('one', { state: 'stopped' }))
  await until(() => vmm.last.graces.length === 1, 'it was asked to stop')
  keeper.want(wanted('one', { image: 'other' }))
  keeper.want(wanted('one', { image: 'absent' }))
  keeper.want(wanted('one'))
  keeper.want(wanted('two'))
  await until(() => stateOf('two') === 'running', 'one that was wanted later runs')
  t.equal(specsOf('one').length, 1, 'nothing starts while the old one is still there')
  vmm.vms[0]?.end({ code: 0 })
  await until(() => stateOf('one') === 'running' && vmm.vms.length === 3, 'it runs again')
  t.same(
    specsOf('one').map(({ image }) => image),
    ['hello', 'hello'],
    'wishes that were overtaken are left out',
  )
  t.notOk(told.includes('one failed'))
})

t.test('takes up a wish at whatever moment it comes', async (t) => {
  const { keeper, vmm } = keeperFor(t)
  for (let turns = 0; turns < 40; turns += 1) {
    keeper.want(wanted('one'))
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
    keeper.want(wanted('one', { state: 'stopped' }))
    await until(() => vmm.starting === 0 && vmm.vms.every(({ isEnded }) => isEnded), 'it is stopped')
  }
})

t.test('starts only some VMs at once, and forgets a waiting one that is no longer wanted', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t, { startsAtOnce: 3 })
  const gate = Promise.withResolvers<void>()
  vmm.gate = gate.promise
  const names = Array.from({ length: 12 }, (_unused, index) => `vm-${index}`)
  for (const name of names) keeper.want(wanted(name))
  await until(() => vmm.starting === 3, 'three are starting')
  const stopped = ['vm-5', 'vm-7', 'vm-8']
  for (const name of stopped) keeper.want(wanted(name, { state: 'stopped' }))
  await until(() => stopped.every((name) => stateOf(name) === 'stopped'), 'they are stopped')
  gate.resolve()
  await keeper.attempted()
  t.equal(vmm.mostStarting, 3)
  t.same(
    vmm.specs.map(({ name }) => name),
    names.filter((name) => !stopped.includes(name)),
  )
})

t.test('reports an image that it does not have, with those that it has', async (t) => {
  const { keeper, vmm, table, stateOf } = keeperFor(t)
  for (const image of ['absent', 'constructor', '__proto__']) keeper.want(wanted(image, { image }))
  await keeper.attempted()
  t.same(table.get('absent'), {
    state: 'failed',
    ports: {},
    message: 'There is no image "absent" here, only: hello, other',
  })
  t.equal(stateOf('constructor'), 'failed')
  t.equal(vmm.specs.length, 0)
  keeper.want(wanted('absent'))
  await keeper.attempted()
  t.equal(stateOf('absent'), 'running')
})

t.test('tries a failed start again, and says so meanwhile', async (t) => {
  const { keeper, vmm, table, told } = keeperFor(t)
  vmm.failures = 2
  keeper.want(wanted('one'))
  await keeper.attempted()
  t.match(table.get('one'), { state: 'failed', message: String })
  await until(() => told.at(-1) === 'one running', 'it runs')
  t.same(told, ['one failed', 'one failed', 'one running'])
})

t.test('stops a VM that is another host’s now, and keeps its files', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  keeper.release('one')
  await until(() => keeper.find('one') === undefined, 'it is forgotten')
  t.equal(vmm.last.isEnded, true)
  t.equal(stateOf('one'), 'stopped')
  t.same(vmm.removed, [])
})

t.test('makes a VM anew that was deleted a moment ago', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  keeper.release('one')
  keeper.want(wanted('one', { createdAt: '2026-02-01T12:00:00Z' }))
  await until(() => vmm.vms.length === 2 && stateOf('one') === 'running', 'it runs')
  t.match(vmm.specs[1], { createdAt: '2026-02-01T12:00:00Z' })
  t.equal(vmm.vms[0]?.isEnded, true)
})

t.test('lets a store that is away change nothing for running VMs, and tells it the news later', async (t) => {
  const { keeper, vmm, store, stateOf, table } = keeperFor(t)
  keeper.want(wanted('one'))
  keeper.want(wanted('two'))
  await keeper.attempted()
  store.isDown = true
  vmm.vms[0]?.end()
  await until(() => vmm.vms.length === 3, 'it runs again')
  const { refusals } = store
  await until(() => store.refusals >= refusals + 3, 'three more reports in vain')
  t.equal(vmm.vms[1]?.isEnded, false)
  t.match(table.get('one')?.ports, { 8000: { port: 40_001 } }, 'the table knows nothing yet')
  store.isDown = false
  await until(() => table.get('one')?.ports['8000']?.port === 40_003, 'the table knows')
  t.equal(stateOf('one'), 'running')
})

t.test('says again what the table has lost or holds otherwise', async (t) => {
  const { keeper, table, told, stateOf } = keeperFor(t)
  keeper.want(wanted('one'))
  await keeper.attempted()
  const status = table.get('one')
  keeper.compareReport('one', status && { ...status, ports: { 8000: { port: 40_001, host: '127.0.0.1' } } })
  keeper.compareReport('absent', undefined)
  await keeper.attempted()
  t.equal(told.length, 1, 'nothing is said twice')
  for (const other of [undefined, { state: 'stopped', ports: {} }] as const) {
    table.delete('one')
    keeper.compareReport('one', other)
    await keeper.attempted()
    t.equal(stateOf('one'), 'running')
  }
})

t.test('stops everything at its end, and starts nothing any more', async (t) => {
  const { keeper, vmm, stateOf } = keeperFor(t)
  for (const name of ['one', 'two']) keeper.want(wanted(name))
  await keeper.attempted()
  vmm.gate = new Promise(() => {})
  keeper.want(wanted('three'))
  const ended = keeper[Symbol.asyncDispose]()
  keeper.want(wanted('four'))
  await ended
  t.ok(vmm.vms.every(({ isEnded }) => isEnded))
  t.same(['one', 'two', 'three', 'four'].map(stateOf), ['stopped', 'stopped', 'stopped', undefined])
  t.equal(vmm.starting, 0)
})

t.test('ends in time though the table is away', async (t) => {
  const { keeper, vmm, store } = keeperFor(t, { reportRetryMs: 60_000 })
  keeper.want(wanted('one'))
  await keeper.attempted()
  store.isDown = true
  await keeper[Symbol.asyncDispose]()
  t.equal(vmm.last.isEnded, true)
})
