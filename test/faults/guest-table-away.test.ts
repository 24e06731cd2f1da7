/** The table is away when a VM dies: its host starts it again by itself, and tells of it later. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { until } from '../helpers/until.ts'
import { faultKillsFor } from './fault-kills.ts'
import { guestFleetFor, RECOVERY_MS } from './guest-fleet.ts'
import { findProcessOf, keyOf, untilTidy } from './guest-mess.ts'
import { findLost, readRecords } from './guest-records.ts'

faultKillsFor(t, { eachSeconds: 60 })
const { skip } = await guestOptions()

t.test(
  'a VM that dies while the table is away comes back without it',
  { ...(skip && { skip }) },
  async (t) => {
    const fleet = await guestFleetFor(t)
    await fleet.makeVm('vm')
    const before = await fleet.untilAnswers('vm', 1)
    const key = await keyOf(fleet, 'vm')
    const readRun = () =>
      JSON.parse(readFileSync(join(fleet.dataFolder, 'vms', key, 'run', 'run.json'), 'utf8'))
    const { run } = readRun()
    const vmm = await findProcessOf(fleet, 'vm', 'vmm')
    if (vmm === undefined) throw new Error('there is no VMM')
    await fleet.redis.kill()
    process.kill(vmm, 'SIGKILL')
    const isUp = () => {
      try {
        const now = readRun()
        return now.run !== run && now.ports.includes(8000)
      } catch {
        return false
      }
    }
    await until(isUp, 'the host has started it again', RECOVERY_MS)
    await fleet.redis.start()
    const after = await fleet.untilAnswers('vm', 2)
    t.not(after.boot, before.boot, 'the edge is told where it is now')
    t.same(
      findLost(await readRecords(fleet.edge, 'vm'), [before, after]),
      [],
      'all that it said is on disk is there',
    )
    await fleet.untilState('vm', 'running')
    await untilTidy(t, fleet, { running: ['vm'] })
  },
)
