/** What a former run has left is found at the start of a host: what is wanted goes on, all else is gone. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { isRunning } from '../helpers/landfall.ts'
import { until } from '../helpers/until.ts'
import { faultKillsFor } from './fault-kills.ts'
import { type GuestFleet, guestFleetFor, POOL, RECOVERY_MS } from './guest-fleet.ts'
import { keyOf, untilTidy } from './guest-mess.ts'
import { readRecords } from './guest-records.ts'

faultKillsFor(t, { eachSeconds: 60 })
const { skip } = await guestOptions()
const GHOST = 'ghost-20200101T000000000Z'
const LAYER = '00112233445566778899.qcow2'
const TREES = ['unified', 'cpu', 'memory', 'pids', '.']
const DAYS_AGO = new Date(Date.now() - 3 * 86_400_000)

t.test(
  'a host that comes back keeps what is wanted and removes the rest',
  { ...(skip && { skip }) },
  async (t) => {
    const fleet = await guestFleetFor(t)
    for (const vm of ['kept', 'asleep', 'gone']) {
      await fleet.makeVm(vm)
      await fleet.untilAnswers(vm, 1)
    }
    const kept = await fleet.untilAnswers('kept', 2)
    await fleet.api('POST', '/v1/vms/asleep/suspend?wait=20')
    await fleet.untilState('asleep', 'asleep')
    const keptFolder = join(fleet.dataFolder, 'vms', await keyOf(fleet, 'kept'))
    await fleet.host().kill()
    t.equal((await fleet.api('DELETE', '/v1/vms/gone')).status, 204, 'a VM is deleted while its host is away')
    await writeFile(join(fleet.dataFolder, 'disks', POOL, LAYER), 'half a layer')
    await mkdir(join(keptFolder, 'suspended.new'))
    await writeFile(join(keptFolder, 'suspended.new', 'memory'), 'half a memory')
    const half = join(fleet.dataFolder, 'templates', '.build-0123456789ab')
    await mkdir(half)
    await writeFile(join(half, 'root.img'), 'half a template')
    await utimes(half, DAYS_AGO, DAYS_AGO)
    const ghost = await ghostFor(t, fleet, await keyOf(fleet, 'kept'))
    await (await fleet.startHost()).untilReady()
    const again = await fleet.untilAnswers('kept', 3)
    t.equal(again.boot, kept.boot, 'a VM that runs goes on')
    await until(() => !isRunning(ghost), 'what ran in a group of nobody is ended', RECOVERY_MS)
    await untilTidy(t, fleet, { running: ['kept'], asleep: ['asleep'] })
    t.notOk(existsSync(half), 'a template that was never finished is gone')
    await fleet.untilAnswers('asleep', 2)
    t.same(await readRecords(fleet.edge, 'asleep'), [1, 2], 'a VM that sleeps has kept its disk')
  },
)

/** A process in groups as those of a living VM, of a VM of which nothing else is left. */
async function ghostFor(t: Test, { cgroup }: GuestFleet, living: string): Promise<number> {
  const child = spawn('/bin/sleep', ['600'], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  for (const tree of TREES.map((name) => join('/sys/fs/cgroup', name, cgroup)).filter(existsSync)) {
    for (const root of await readdir(tree, { withFileTypes: true })) {
      const pool = join(tree, root.name, 'pools', `${POOL}.pool`)
      if (!existsSync(join(pool, living))) continue
      const group = existsSync(join(pool, living, 'vmm')) ? join(pool, GHOST, 'vmm') : join(pool, GHOST)
      await mkdir(group, { recursive: true })
      await writeFile(join(group, 'cgroup.procs'), String(child.pid))
    }
  }
  return child.pid ?? 0
}
