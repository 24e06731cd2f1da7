/** VMs under QEMU: they start, answer and stop; and a start that is given up leaves nothing. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { keyOfVm } from '../../../sidecar/vm-id.ts'
import { guestOptions } from '../../helpers/guests.ts'
import { until } from '../../helpers/until.ts'
import { addressOf, askGuest, commandOf, get, pidOf, processesOf, specOf, worldFor } from './worlds.ts'

t.setTimeout(300_000)
const options = await guestOptions()
const CLOCK_TOLERANCE_MS = 50
const TIMES_RIGHT = 8

/** The time is of a whole second. */
function isBetween(timeMs: number, from: number, to: number): boolean {
  const second = (ms: number) => Math.floor(ms / 1_000) * 1_000
  return timeMs >= second(from - CLOCK_TOLERANCE_MS) && timeMs <= second(to + CLOCK_TOLERANCE_MS)
}

t.test('a VM starts, answers from inside, tells of itself, and stops when asked', options, async (t) => {
  const { vmm, folder, complaints } = await worldFor(t)
  const spec = specOf('one')
  const vm = await vmm.start(spec)
  t.match(vm.facts, { defaultPort: 8000, hostKey: /^ssh-ed25519 AAAA/ })
  t.match(await get(addressOf(vm)), /^Hello from the VM one/)
  t.match(await askGuest(vm), { asked: 1, written: 1 })
  t.match(await vm.sampleActivity(), { accepted: 2, connections: 0 })
  // Set by the host: under emulation a clock is up to two seconds behind. A second alone may begin at the right moment.
  const timesAsked = { count: 1, right: 0 }
  const isOnTime = async () => {
    timesAsked.count += 1
    const from = Date.now()
    const { timeMs } = await askGuest(vm)
    timesAsked.right = isBetween(timeMs, from, Date.now()) ? timesAsked.right + 1 : 0
    return timesAsked.right === TIMES_RIGHT
  }
  await until(isOnTime, 'the clock is right', 30_000)
  const [usage] = await vmm.sampleUsage()
  t.match(usage, { vm: 'one', run: /./ })
  t.ok(usage && usage.cpuSeconds > 0.5 && usage.memoryBytes > 50_000_000, 'what it uses is known')
  const { bytes = 0, maxBytes = 0 } = (await vmm.balloon.find(spec)) ?? {}
  t.equal(bytes, maxBytes)
  await vmm.balloon.set(spec, bytes - 16_777_216)
  await until(async () => ((await vmm.balloon.find(spec))?.bytes ?? bytes) < bytes, 'the balloon grows')
  t.match(await vm.stop(20_000), { code: 0 }, 'the guest powers itself off')
  await until(() => processesOf(folder).length === 0, 'nothing of it runs on')
  t.notOk(existsSync(join(folder, 'vms', keyOfVm(spec), 'run', 'run.json')))
  const again = await vmm.start(spec)
  t.match(
    await askGuest(again),
    { asked: 1, written: timesAsked.count + 1 },
    'its disk is as it was, its memory is new',
  )
  t.match(await again.stop(0), { signal: 'SIGKILL' }, 'without grace it is ended')
  t.same(complaints, [])
})

t.test('an aborted start leaves nothing, at whatever moment', options, async (t) => {
  const { vmm, folder } = await worldFor(t)
  for (const afterMs of [0, 30, 60, 100, 200, 700]) {
    await t.rejects(vmm.start(specOf('early'), AbortSignal.timeout(afterMs)), `after ${afterMs} ms`)
    // A jail's own process ends a moment after what it held.
    await until(() => processesOf(folder).length === 0, `after ${afterMs} ms nothing is left`)
  }
})

t.test('a guest that does not answer in time is ended, and told of by name', options, async (t) => {
  const { vmm, folder } = await worldFor(t, { startTimeoutMs: 300 })
  const late = { code: 'vm_start_timeout', message: /VM late did not answer in time/ }
  await t.rejects(vmm.start(specOf('late')), late)
  await until(() => processesOf(folder).length === 0, 'nothing of it is left')
})

t.test(
  'the memory of a guest, its processors and its command line are as the spec says',
  options,
  async (t) => {
    const { vmm, folder } = await worldFor(t)
    const vm = await vmm.start(specOf('sized', { memoryBytes: 160 * 1_048_576, cpus: 2 }))
    const command = commandOf(pidOf(folder, 'qemu-system-x86_64'))
    const after = (name: string) => command[command.indexOf(name) + 1]
    t.equal(after('-smp'), '2')
    t.equal(after('-m'), '167772160B')
    t.match(after('-sandbox'), /elevateprivileges=deny,spawn=deny,resourcecontrol=deny/)
    t.ok(command.includes('-nodefaults'))
    await vm.stop(0)
  },
)
