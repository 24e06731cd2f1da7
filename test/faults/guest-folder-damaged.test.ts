/** Files of one VM in its host's data folder are garbled: it boots, or says what is wrong, and all others run. */

import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { until } from '../helpers/until.ts'
import { faultKillsFor } from './fault-kills.ts'
import { type GuestFleet, guestFleetFor } from './guest-fleet.ts'
import { findProcessOf, keyOf, listProcesses, untilTidy } from './guest-mess.ts'
import { findBreaks, readRecords, startWriter } from './guest-records.ts'

faultKillsFor(t, { eachSeconds: 60 })
const { skip } = await guestOptions()
const options = { ...(skip && { skip }) }

t.test('a host with garbled files', options, async (t) => {
  const fleet = await guestFleetFor(t)
  for (const vm of ['sound', 'run', 'memory', 'disk']) {
    await fleet.makeVm(vm)
    await fleet.untilAnswers(vm, 1)
  }
  const sound = startWriter(t, fleet.edge, 'sound', 2)

  await t.test('a VM whose run cannot be read starts anew', async (t) => {
    await fleet.host().kill()
    await garble(await fileOf(fleet, 'run', 'run/run.json'))
    await (await fleet.startHost()).untilReady()
    await fleet.untilAnswers('run', 2)
    const slots = listProcesses(fleet).map(({ role, slot }) => `${role} ${slot}`)
    t.equal(new Set(slots).size, slots.length, 'no VM has two processes of a kind')
    t.same(await readRecords(fleet.edge, 'run'), [1, 2], 'its disk is whole')
  })

  await t.test('a VM whose memory is damaged boots', async (t) => {
    const before = await fleet.untilAnswers('memory', 2)
    await fleet.api('POST', '/v1/vms/memory/suspend?wait=20')
    await fleet.untilState('memory', 'asleep')
    await garble(await fileOf(fleet, 'memory', 'suspended/memory'))
    const after = await fleet.untilAnswers('memory', 3)
    t.not(after.boot, before.boot, 'it boots')
    t.same(await readRecords(fleet.edge, 'memory'), [1, 2, 3], 'its disk is whole')
    const isSaid = () =>
      fleet
        .host()
        .logged()
        .some(({ vm, msg }) => vm === 'memory' && /cannot go on/.test(msg))
    await until(isSaid, 'the log says why')
  })

  await t.test('a VM whose disk cannot be understood fails, and keeps its files', async (t) => {
    await fleet.host().kill()
    const manifest = await fileOf(fleet, 'disk', 'disk.json')
    const whole = await readFile(manifest)
    const folder = join(fleet.dataFolder, 'disks', 'pool')
    const layers = await readdir(folder)
    for (const role of ['vmm', 'disk'] as const) {
      const pid = await findProcessOf(fleet, 'disk', role)
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
    }
    await garble(manifest)
    await (await fleet.startHost()).untilReady()
    await fleet.untilState('disk', 'failed')
    const { report } = await fleet.show('disk')
    t.match(report?.message, /disk/i, 'its host says that it is the disk')
    t.same(await readdir(folder), layers, 'no layer is lost')
    await fleet.host().kill()
    await writeFile(manifest, whole)
    await (await fleet.startHost()).untilReady()
    await fleet.untilAnswers('disk', 2)
    t.same(await readRecords(fleet.edge, 'disk'), [1, 2], 'with its manifest it has its disk again')
  })

  await sound.stop()
  t.same(sound.failures(), [], 'no request to a sound VM fails')
  t.same(findBreaks(sound.written), [], 'a sound VM goes on')
  await untilTidy(t, fleet, { running: ['sound', 'run', 'memory', 'disk'] })
})

async function fileOf(fleet: GuestFleet, vm: string, name: string): Promise<string> {
  return join(fleet.dataFolder, 'vms', await keyOf(fleet, vm), name)
}

/** Half of it is something else. */
async function garble(file: string): Promise<void> {
  const bytes = await readFile(file)
  await writeFile(file, bytes.fill(0x55, Math.floor(bytes.length / 4), Math.floor((bytes.length * 3) / 4)))
}
