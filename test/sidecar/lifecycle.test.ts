/** One VM's life as the table sees it: running, ended, running again, stopped. */

import { setImmediate, setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { VmRecord } from '../../routing/records.ts'
import { type LifecycleSettings, startVm } from '../../sidecar/lifecycle.ts'
import type { RunningVm, VmExit, Vmm } from '../../sidecar/vmm.ts'
import { listLog, until } from './vms.ts'

const QUICK: LifecycleSettings = {
  firstPauseMs: 5,
  maxPauseMs: 40,
  stableMs: 60_000,
  graceMs: 123,
  reportRetryMs: 5,
}
const SPEC = { name: 'hello', image: 'hello-vm.ts', generation: 7 }

class FakeVm implements RunningVm {
  readonly name = 'hello'
  readonly ports
  readonly graces: number[] = []
  readonly #exit = Promise.withResolvers<VmExit>()
  readonly exited = this.#exit.promise

  constructor(port: number) {
    this.ports = { 8000: { host: '127.0.0.1', port } }
  }

  end(exit: Partial<VmExit> = { code: 1 }): void {
    this.#exit.resolve({ lastLines: [], ...exit })
  }

  stop(graceMs: number): Promise<VmExit> {
    this.graces.push(graceMs)
    this.end({ code: 0 })
    return this.exited
  }
}

class FakeVmm implements Vmm {
  readonly vms: FakeVm[] = []
  readonly startedAt: number[] = []
  failures = 0

  get last(): FakeVm {
    const vm = this.vms.at(-1)
    if (!vm) throw new Error('no VM was started')
    return vm
  }

  async start(): Promise<RunningVm> {
    this.startedAt.push(performance.now())
    if (this.failures > 0) {
      this.failures -= 1
      throw new Error('no memory')
    }
    this.vms.push(new FakeVm(40_001 + this.vms.length))
    return this.last
  }
}

async function lifecycleFor(t: Test, settings: LifecycleSettings = {}) {
  const vmm = new FakeVmm()
  const records: VmRecord[] = []
  const { log, lines } = listLog()
  const report = async (record: VmRecord) => {
    await setImmediate()
    records.push(record)
  }
  const vm = await startVm({ vmm, report, log }, SPEC, { ...QUICK, ...settings })
  t.teardown(() => vm[Symbol.asyncDispose]())
  const states = () => records.map(({ state }) => state)
  return { vmm, records, states, lines, vm }
}

t.test('reports a VM as running, with ports and generation, before it is handed out', async (t) => {
  const { records } = await lifecycleFor(t)
  t.same(records, [
    { name: 'hello', state: 'running', generation: 7, ports: { 8000: { host: '127.0.0.1', port: 40_001 } } },
  ])
})

t.test('reports an exit, starts the VM again and reports its new ports', async (t) => {
  const { vmm, records, lines } = await lifecycleFor(t)
  vmm.last.end({ signal: 'SIGKILL', lastLines: ['out of memory'] })
  await until('it runs again', () => records.length === 3)
  t.match(records.slice(1), [
    { state: 'stopped', ports: {}, generation: 7 },
    { state: 'running', ports: { 8000: { port: 40_002 } }, generation: 7 },
  ])
  t.match(lines, [{ level: 'error', vm: 'hello', signal: 'SIGKILL', lastLines: ['out of memory'] }])
})

t.test('rejects when the first start fails, and reports nothing', async (t) => {
  const vmm = new FakeVmm()
  vmm.failures = 1
  const records: VmRecord[] = []
  const report = async (record: VmRecord) => void records.push(record)
  await t.rejects(startVm({ vmm, report, log: listLog().log }, SPEC, QUICK), { message: 'no memory' })
  t.same(records, [])
})

t.test('waits twice as long before each further start, up to a limit', async (t) => {
  const { vmm, states } = await lifecycleFor(t, { firstPauseMs: 40, maxPauseMs: 100 })
  vmm.failures = 3
  vmm.last.end()
  await until('it runs again', () => states().length === 3)
  const pauses = vmm.startedAt.slice(1).map((at, index) => at - (vmm.startedAt[index] ?? 0))
  const [first = 0, second = 0, third = 0, fourth = 0] = pauses
  t.ok(first >= 39 && second >= 79 && third >= 99 && fourth >= 99, pauses.join(' '))
  t.ok(fourth < 199, 'the limit holds')
})

t.test('starts over with the first pause after a stable time', async (t) => {
  const { vmm, states } = await lifecycleFor(t, { firstPauseMs: 20, maxPauseMs: 10_000, stableMs: 50 })
  vmm.failures = 4
  vmm.last.end()
  await until('it runs again', () => states().length === 3)
  await setTimeout(60)
  const endedAt = performance.now()
  vmm.last.end()
  await until('it runs a third time', () => states().length === 5)
  const pauseMs = (vmm.startedAt.at(-1) ?? 0) - endedAt
  t.ok(pauseMs < 320, `${pauseMs} ms, and not the next in line`)
})

t.test('does not start over for a VM that ends at once', async (t) => {
  const { vmm, states } = await lifecycleFor(t, { firstPauseMs: 20, maxPauseMs: 10_000 })
  for (const count of [3, 5, 7]) {
    vmm.last.end()
    await until('it runs again', () => states().length === count)
  }
  const pauseMs = (vmm.startedAt[3] ?? 0) - (vmm.startedAt[2] ?? 0)
  t.ok(pauseMs >= 79, `${pauseMs} ms`)
})

t.test('stops the VM with its grace and reports that last', async (t) => {
  const { vmm, vm, states } = await lifecycleFor(t)
  await vm[Symbol.asyncDispose]()
  t.same(vmm.last.graces, [123])
  t.same(states(), ['running', 'stopped'])
  await vm[Symbol.asyncDispose]()
  t.same(states(), ['running', 'stopped'], 'a second disposal does nothing')
})

t.test('does not wait for the pause when it is disposed, nor start again', async (t) => {
  const { vmm, vm, states } = await lifecycleFor(t, { firstPauseMs: 60_000, maxPauseMs: 60_000 })
  vmm.last.end()
  await until('the exit is known', () => states().length === 2)
  const startedAt = performance.now()
  await vm[Symbol.asyncDispose]()
  t.ok(performance.now() - startedAt < 2_000)
  t.equal(vmm.vms.length, 1)
  t.same(states(), ['running', 'stopped', 'stopped'])
})

t.test('reports again until the table takes it, the newest state only', async (t) => {
  const vmm = new FakeVmm()
  const tried: string[] = []
  let isDown = true
  const report = async ({ state, ports }: VmRecord) => {
    tried.push(`${state} ${ports['8000']?.port ?? ''}`)
    if (isDown) throw new Error('store is away')
  }
  const { log, lines } = listLog()
  const vm = await startVm({ vmm, report, log }, SPEC, { ...QUICK, reportRetryMs: 20 })
  t.teardown(() => vm[Symbol.asyncDispose]())
  vmm.last.end()
  await until('it runs again', () => vmm.vms.length === 2)
  isDown = false
  await until('the report arrived', () => tried.at(-1) === 'running 40002')
  const count = tried.length
  await setTimeout(60)
  t.equal(tried.length, count, 'nothing is sent twice')
  t.match(lines[0], { level: 'warn', err: { message: 'store is away' } })
})

t.test('reports again though nothing new happens', async (t) => {
  const vmm = new FakeVmm()
  let failures = 3
  const arrived: string[] = []
  const report = async ({ state }: VmRecord) => {
    failures -= 1
    if (failures >= 0) throw new Error('store is away')
    arrived.push(state)
  }
  const vm = await startVm({ vmm, report, log: listLog().log }, SPEC, QUICK)
  t.teardown(() => vm[Symbol.asyncDispose]())
  await until('the report arrived', () => arrived.length > 0)
  t.same(arrived, ['running'])
})

t.test('is disposed though the table is away', async (t) => {
  const vmm = new FakeVmm()
  const report = () => Promise.reject(new Error('store is away'))
  const vm = await startVm({ vmm, report, log: listLog().log }, SPEC, { ...QUICK, reportRetryMs: 60_000 })
  await vm[Symbol.asyncDispose]()
  t.equal(vmm.last.graces.length, 1)
})
