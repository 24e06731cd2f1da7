/** One VM's life as its host sees it: running, ended, running again, stopped. */

import t, { type Test } from 'tap'
import { SidecarError } from '../../sidecar/errors.ts'
import { type LifecycleSettings, startVm } from '../../sidecar/lifecycle.ts'
import type { VmStatus } from '../../sidecar/vm-status.ts'
import { until } from '../helpers/until.ts'
import { FakeVmm } from './fake-vms.ts'
import { listLog } from './vms.ts'

const QUICK: LifecycleSettings = { firstPauseMs: 5, maxPauseMs: 40, stableMs: 60_000, graceMs: 123 }
const SPEC = { name: 'hello', createdAt: '2026-01-31T12:00:00Z', pool: 'default', image: 'hello' }

function startFor(t: Test, vmm: FakeVmm, settings: LifecycleSettings = {}) {
  const statuses: VmStatus[] = []
  const { log, lines } = listLog()
  const publish = (status: VmStatus) => void statuses.push(status)
  const vm = startVm({ vmm, publish, log }, SPEC, { ...QUICK, ...settings })
  t.teardown(() => vm.end('stop'))
  return { vmm, statuses, states: () => statuses.map(({ state }) => state), lines, vm }
}

async function runningFor(t: Test, settings: LifecycleSettings = {}) {
  const started = startFor(t, new FakeVmm(), settings)
  await started.vm.attempted
  return started
}

t.test('says that a VM runs, and how its ports are dialled', async (t) => {
  const { statuses } = await runningFor(t)
  t.same(statuses, [{ state: 'running', ports: { 8000: { host: '127.0.0.1', port: 40_001 } } }])
})

t.test('says how a VM ended, starts it again and says its new ports', async (t) => {
  const { vmm, statuses, lines } = await runningFor(t)
  vmm.last.end({ signal: 'SIGKILL', lastLines: ['no memory', 'left'] })
  await until(() => statuses.length === 3, 'it runs again')
  t.same(statuses[1], {
    state: 'failed',
    ports: {},
    message: 'The VM ended with SIGKILL and will be started again no memory left',
  })
  t.match(statuses[2], { state: 'running', ports: { 8000: { port: 40_002 } } })
  t.match(lines, [{ level: 'error', vm: 'hello', signal: 'SIGKILL', lastLines: ['no memory', 'left'] }])
})

t.test('goes on trying when the first start fails, and says why it failed', async (t) => {
  const vmm = new FakeVmm()
  vmm.failures = 2
  const { vm, statuses, states, lines } = startFor(t, vmm)
  await vm.attempted
  t.same(states(), ['failed'], 'the first attempt is over')
  await until(() => vmm.vms.length === 1, 'it runs')
  t.same(states(), ['failed', 'failed', 'running'])
  t.match(statuses[0]?.message, /the log of its host says why/, 'an unforeseen error is not for everybody')
  t.match(lines[0], { level: 'error', err: { message: 'no memory' } })
})

t.test("tells the driver's own refusal word for word", async (t) => {
  const vmm = new FakeVmm()
  const refused = new SidecarError('vm_start_failed', { detail: 'VM hello ended with code 3\n  no disk' })
  vmm.start = () => Promise.reject(refused)
  const { vm, statuses } = startFor(t, vmm)
  await vm.attempted
  t.equal(statuses[0]?.message, 'VM hello ended with code 3 no disk')
})

t.test('waits twice as long before each further start, up to a limit', async (t) => {
  const { vmm } = await runningFor(t, { firstPauseMs: 20, maxPauseMs: 50 })
  vmm.failures = 10
  vmm.last.end()
  // Eleven pauses without a limit would be 41 s.
  await until(() => vmm.vms.length === 2, 'it runs again')
  const pauses = vmm.startedAt.slice(1).map((at, index) => at - (vmm.startedAt[index] ?? 0))
  const [first = 0, second = 0, ...others] = pauses
  t.ok(first >= 19 && second >= 39 && Math.min(...others) >= 49, pauses.join(' '))
})

t.test('starts over with the first pause after a stable time', async (t) => {
  const stableMs = 50
  const { vmm } = await runningFor(t, { firstPauseMs: 10, maxPauseMs: 10_000, stableMs })
  vmm.failures = 6
  vmm.last.end()
  await until(() => vmm.vms.length === 2, 'it runs again')
  const upAt = performance.now()
  await until(() => performance.now() - upAt > stableMs, 'it has run for the stable time')
  const endedAt = performance.now()
  vmm.last.end()
  await until(() => vmm.vms.length === 3, 'it runs a third time')
  const pauseMs = (vmm.startedAt.at(-1) ?? 0) - endedAt
  t.ok(pauseMs < 1_280, `${pauseMs} ms, and not the next in line`)
})

t.test('does not start over for a VM that ends at once', async (t) => {
  const { vmm } = await runningFor(t, { firstPauseMs: 20, maxPauseMs: 10_000 })
  for (const count of [2, 3, 4]) {
    vmm.last.end()
    await until(() => vmm.vms.length === count, 'it runs again')
  }
  const pauseMs = (vmm.startedAt[3] ?? 0) - (vmm.startedAt[2] ?? 0)
  t.ok(pauseMs >= 79, `${pauseMs} ms`)
})

t.test('stops the VM with its grace and says so last', async (t) => {
  const { vmm, vm, states } = await runningFor(t)
  await vm.end('stop')
  t.same(vmm.last.graces, [123])
  t.same(states(), ['running', 'stopped'])
  await vm.end('stop')
  t.same(states(), ['running', 'stopped'], 'a second disposal does nothing')
})

t.test('does not wait for the pause when it is disposed, nor start again', async (t) => {
  const { vmm, vm, states } = await runningFor(t, { firstPauseMs: 60_000, maxPauseMs: 60_000 })
  vmm.last.end()
  await until(() => states().length === 2, 'the exit is known')
  const startedAt = performance.now()
  await vm.end('stop')
  t.ok(performance.now() - startedAt < 2_000)
  t.equal(vmm.vms.length, 1)
  t.same(states(), ['running', 'failed', 'stopped'])
})

t.test('ends a start under way when it is disposed', async (t) => {
  const vmm = new FakeVmm()
  vmm.gate = new Promise(() => {})
  const { vm, states } = startFor(t, vmm)
  await vm.end('stop')
  await vm.attempted
  t.same(states(), ['stopped'])
})

t.test('stops a VM that came up although its start was given up', async (t) => {
  const vmm = new FakeVmm()
  const start = vmm.start.bind(vmm)
  const gate = Promise.withResolvers<void>()
  let isStarting = false
  vmm.start = async (spec) => {
    isStarting = true
    await gate.promise
    return start(spec)
  }
  const { vm, states } = startFor(t, vmm)
  await until(() => isStarting, 'its start is under way')
  const disposed = vm.end('stop')
  gate.resolve()
  await disposed
  t.same(vmm.last.graces, [123])
  t.same(states(), ['stopped'])
})
