/** VMs under QEMU that sleep and wake: they go on where they were, and never twice from one state. */

import { existsSync } from 'node:fs'
import { cp, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { keyOfVm } from '../../../sidecar/vm-id.ts'
import { guestOptions } from '../../helpers/guests.ts'
import { until } from '../../helpers/until.ts'
import { askGuest, processesOf, specOf, type World, worldFor } from './worlds.ts'

t.setTimeout(300_000)
const options = await guestOptions()
const CLOCK_TOLERANCE_MS = 2_500

function memoryOf({ folder }: World, name: string): string {
  return join(folder, 'vms', keyOfVm(specOf(name)), 'suspended')
}

t.test('a VM sleeps and wakes three times in a row', options, async (t) => {
  const world = await worldFor(t)
  const { vmm, folder, complaints } = world
  const spec = specOf('sleeper')
  let vm = await vmm.start(spec)
  const seen = new Set<string>()
  for (let round = 1; round <= 3; round += 1) {
    const { asked, random } = await askGuest(vm)
    t.equal(asked, round, 'it goes on where it was')
    seen.add(random)
    await vm.suspend()
    t.match(await vm.exited, { isSuspended: true })
    t.same(processesOf(folder), [], 'a VM that sleeps takes no process')
    t.equal(await vmm.isSuspended(spec), true)
    t.equal(await vmm.adopt(spec), undefined, 'there is nothing to adopt')
    vm = await vmm.start(spec)
    t.equal(await vmm.isSuspended(spec), false, 'the state is used once')
  }
  const last = await askGuest(vm)
  t.match(last, { asked: 4, written: 4 })
  t.equal(seen.add(last.random).size, 4, 'random numbers differ')
  t.ok(Math.abs(last.timeMs - Date.now()) < CLOCK_TOLERANCE_MS, 'the clock is right')
  t.same(complaints, [])
  await vm.stop(0)
})

t.test(
  'two VMs that wake from one state draw different random numbers, at the right time',
  options,
  async (t) => {
    const world = await worldFor(t)
    const { vmm } = world
    const spec = specOf('twin')
    const vm = await vmm.start(spec)
    await askGuest(vm)
    await vm.suspend()
    const memory = memoryOf(world, 'twin')
    await cp(memory, `${memory}.copy`, { recursive: true })
    // A state is for one use; this is what a test of the seed takes, and the disk is only read.
    const draws: string[] = []
    for (const round of [1, 2]) {
      if (round === 2) await cp(`${memory}.copy`, memory, { recursive: true })
      const woken = await vmm.start(spec)
      const { asked, random, timeMs } = await askGuest(woken)
      t.equal(asked, 2)
      t.ok(Math.abs(timeMs - Date.now()) < CLOCK_TOLERANCE_MS)
      draws.push(random)
      await woken.stop(0)
    }
    t.not(draws[0], draws[1])
  },
)

t.test('a state that cannot be used is dropped, and the VM boots', options, async (t) => {
  const world = await worldFor(t)
  const { vmm, complaints } = world
  const memory = memoryOf(world, 'broken')
  const spec = specOf('broken')
  const damages: Readonly<Record<string, () => Promise<void>>> = {
    'a byte differs': async () => {
      const bytes = await readFile(join(memory, 'memory'))
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
      await writeFile(join(memory, 'memory'), bytes)
    },
    'it is cut short': () => truncate(join(memory, 'memory'), 1_000_000),
    'it is of another QEMU': async () => {
      const state = await readFile(join(memory, 'state.json'), 'utf8')
      await writeFile(
        join(memory, 'state.json'),
        state.replace('QEMU emulator version', 'QEMU emulator version 0'),
      )
    },
  }
  let vm = await vmm.start(spec)
  for (const [what, damage] of Object.entries(damages)) {
    await askGuest(vm)
    await vm.suspend()
    await damage()
    vm = await vmm.start(spec)
    t.equal((await askGuest(vm)).asked, 1, `it has booted: ${what}`)
    t.match(complaints.splice(0), [/a VM cannot go on where it slept; it boots/])
  }
  await vm.stop(0)
})

t.test('a VM that cannot be suspended runs on; memory that was forgotten is gone', options, async (t) => {
  const world = await worldFor(t)
  const { vmm } = world
  const spec = specOf('stays')
  const vm = await vmm.start(spec)
  await askGuest(vm)
  // A file where the folder of the state would be.
  await writeFile(`${memoryOf(world, 'stays')}.new`, '')
  await writeFile(memoryOf(world, 'stays'), '')
  await t.rejects(vm.suspend(), { code: 'vm_suspend_failed' })
  t.equal((await askGuest(vm)).asked, 2)
  await vm.suspend()
  await vmm.forget(spec)
  t.notOk(existsSync(memoryOf(world, 'stays')))
  const booted = await vmm.start(spec)
  t.equal((await askGuest(booted)).asked, 1)
  await booted.stop(0)
})

t.test('a wake that is given up before the guest moved leaves it asleep', options, async (t) => {
  const world = await worldFor(t)
  const { vmm, folder } = world
  const spec = specOf('snoozer')
  const vm = await vmm.start(spec)
  await askGuest(vm)
  await vm.suspend()
  await t.rejects(vmm.start(spec, AbortSignal.timeout(20)))
  t.same(processesOf(folder), [])
  t.equal(await vmm.isSuspended(spec), true)
  const woken = await vmm.start(spec)
  await until(async () => (await askGuest(woken)).asked >= 2, 'it goes on')
  await woken.stop(0)
})
