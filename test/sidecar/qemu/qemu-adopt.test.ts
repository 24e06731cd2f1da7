/** VMs under QEMU outlive the sidecar that started them; what is half dead is found and ended. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { VmFacts } from '../../../sidecar/vmm.ts'
import { folderFor } from '../../helpers/folder.ts'
import { guestOptions } from '../../helpers/guests.ts'
import { until } from '../../helpers/until.ts'
import { addressOf, askGuest, get, openWorld, pidOf, processesOf, specOf, worldFor } from './worlds.ts'

t.setTimeout(300_000)
const options = await guestOptions()
const STARTER = fileURLToPath(new URL('starter.ts', import.meta.url))

/** A folder in which a sidecar that was killed left the VM running. */
async function orphanFor(
  t: Test,
  name: string,
): Promise<{ readonly folder: string; readonly facts: VmFacts }> {
  const folder = folderFor(t)
  const starter = spawn(process.execPath, [STARTER, folder, name], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(async () => {
    starter.kill('SIGKILL')
    await using world = await openWorld(folder)
    await world.vmm.sweep([])
  })
  const [line] = (await once(starter.stdout, 'data')) as [Buffer]
  starter.kill('SIGKILL')
  await once(starter, 'exit')
  return { folder, facts: JSON.parse(line.toString()) }
}

t.test('a VM is adopted after its sidecar was killed, and nobody notices', options, async (t) => {
  const { folder, facts } = await orphanFor(t, 'orphan')
  const spec = specOf('orphan')
  await using world = await openWorld(folder)
  const vm = await world.vmm.adopt(spec)
  if (!vm) throw new Error('it was not adopted')
  t.same(vm.facts, facts, 'at the same addresses')
  t.equal((await askGuest(vm)).asked, 1)
  t.match(await vm.sampleActivity(), { accepted: 1 })
  t.ok((await world.vmm.sampleUsage())[0]?.seconds, 'its run goes on')
  await vm.update({ ...spec, weight: 200, diskBytes: 21_474_836_480 })
  await vm.detach()
  await world[Symbol.asyncDispose]()

  await using next = await openWorld(folder)
  const again = await next.vmm.adopt(spec)
  if (!again) throw new Error('it was not adopted again')
  t.equal((await askGuest(again)).asked, 2)
  await again.suspend()
  const woken = await next.vmm.start(spec)
  t.equal((await askGuest(woken)).asked, 3, 'an adopted VM sleeps and wakes as any other')
  t.match(await woken.stop(20_000), { code: 0 })
  t.same(processesOf(folder), [])
})

for (const [what, program] of [
  ['its VMM', 'qemu-system-x86_64'],
  ['what serves its disk', 'qemu-storage-daemon'],
] as const) {
  t.test(`a VM ends with ${what}, and starts again with all it wrote`, options, async (t) => {
    const { vmm, folder } = await worldFor(t)
    const spec = specOf('mortal')
    const vm = await vmm.start(spec)
    await askGuest(vm)
    process.kill(pidOf(folder, program), 'SIGKILL')
    const exit = await vm.exited
    t.equal(exit.signal, 'SIGKILL')
    if (program === 'qemu-storage-daemon') t.match(exit.lastLines.at(-1), /served its disk ended/)
    t.same(processesOf(folder), [])
    const again = await vmm.start(spec)
    t.match(await askGuest(again), { asked: 1, written: 2 })
    await again.stop(0)
  })

  t.test(`a VM without ${what} is not adopted, and nothing of it is left`, options, async (t) => {
    const { folder } = await orphanFor(t, 'half')
    process.kill(pidOf(folder, program), 'SIGKILL')
    await using world = await openWorld(folder)
    t.equal(await world.vmm.adopt(specOf('half')), undefined)
    await until(() => processesOf(folder).length === 0, 'nothing is left')
  })
}

t.test(
  'an adopted VM that is killed is told of, and one that nobody knows is swept away',
  options,
  async (t) => {
    const { folder } = await orphanFor(t, 'lost')
    await using world = await openWorld(folder)
    await world.vmm.sweep([specOf('lost')])
    t.ok(pidOf(folder, 'qemu-system-x86_64'), 'one that is known stays')
    const vm = await world.vmm.adopt(specOf('lost'))
    if (!vm) throw new Error('it was not adopted')
    await get(addressOf(vm))
    process.kill(pidOf(folder, 'qemu-system-x86_64'), 'SIGKILL')
    const { code, signal } = await vm.exited
    t.same({ code, signal }, { code: undefined, signal: undefined }, 'how is not known')
    t.same(processesOf(folder), [])
    await world.vmm.start(specOf('lost'))
    // The next sidecar, which knows of no VM.
    await world[Symbol.asyncDispose]()
    await using next = await openWorld(folder)
    await next.vmm.sweep([])
    await until(() => processesOf(folder).length === 0, 'it is ended')
  },
)
