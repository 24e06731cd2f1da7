/** When a VM counts as idle, and what becomes of one that is. */

import t, { type Test } from 'tap'
import { isIdle, startIdleWatch } from '../../sidecar/idle-watch.ts'
import type { VmActivity } from '../../sidecar/vmm.ts'
import { until } from '../helpers/until.ts'
import { FakeVm } from './fake-vms.ts'
import { listLog } from './vms.ts'

const STILL: VmActivity = { connections: 0, accepted: 7, cpuSeconds: 3 }

const CASES: readonly [string, Partial<VmActivity>, Partial<VmActivity>, boolean][] = [
  ['nothing happened', {}, {}, true],
  ['it ticked over', {}, { cpuSeconds: 3.9 }, true],
  ['it works for itself', {}, { cpuSeconds: 4.2 }, false],
  ['somebody is connected', {}, { connections: 1 }, false],
  ['somebody was connected', { connections: 1 }, {}, false],
  ['somebody came and went', {}, { accepted: 8 }, false],
  ['it was booted anew', {}, { accepted: 0 }, false],
]

for (const [title, before, now, expected] of CASES) {
  t.test(`${expected ? 'idle' : 'not idle'} when ${title}`, async (t) => {
    t.equal(isIdle({ ...STILL, ...before, at: 0 }, { ...STILL, ...now, at: 10_000 }), expected)
  })
}

function watchFor(t: Test, seconds: number | undefined) {
  const vm = new FakeVm('one', 40_000)
  vm.activity = STILL
  const { log, lines } = listLog()
  const setting = { seconds }
  const watch = startIdleWatch({ vm, log, idleSeconds: () => setting.seconds })
  t.teardown(() => watch[Symbol.dispose]())
  return { vm, lines, setting, watch }
}

t.test('puts a VM to sleep that nobody has used for so long, and not before', async (t) => {
  const { vm } = watchFor(t, 2)
  const startedAt = performance.now()
  await until(() => vm.isEnded, 'it sleeps')
  t.ok(performance.now() - startedAt >= 2_000)
  t.same(await vm.exited, { isSuspended: true, lastLines: [] })
})

t.test('leaves alone a VM that is used, that does not tell, or that may not sleep', async (t) => {
  const used = watchFor(t, 1)
  const silent = watchFor(t, 1)
  const awake = watchFor(t, undefined)
  const idle = watchFor(t, 3)
  silent.vm.activity = undefined
  let accepted = 0
  Object.defineProperty(used.vm, 'activity', {
    get: () => {
      accepted += 1
      return { ...STILL, accepted }
    },
  })
  await until(() => idle.vm.isEnded, 'the idle one sleeps')
  t.same(
    [used, silent, awake].map(({ vm }) => vm.isEnded),
    [false, false, false],
  )
  t.ok(accepted >= 2, 'it was looked at')
})

t.test('goes on when a VM cannot be put to sleep', async (t) => {
  const { vm, lines } = watchFor(t, 1)
  vm.isSleepless = true
  await until(() => lines.some(({ level }) => level === 'warn'), 'it was tried')
  vm.isSleepless = false
  await until(() => vm.isEnded, 'it sleeps in the end')
})
