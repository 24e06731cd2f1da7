/** A VMM or a storage daemon is killed at random moments: the VM comes back by itself with all that it said is on disk. */

import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { until } from '../helpers/until.ts'
import { faultKillsFor, randomMoment } from './fault-kills.ts'
import { guestFleetFor, RECOVERY_MS } from './guest-fleet.ts'
import { findProcessOf, type Role, untilTidy } from './guest-mess.ts'
import { findBreaks, findLost, readRecords, startWriter } from './guest-records.ts'

const ROLES: readonly Role[] = ['vmm', 'disk']
const KILLS = faultKillsFor(t, { kinds: ROLES.length, eachSeconds: 60 })
const { skip } = await guestOptions()
/** From a VM's first answer on: also what it does right after its boot is interrupted. */
const MAX_WAIT_MS = 2_000

t.test(
  'a VM whose processes are killed comes back with what it said is on disk',
  { ...(skip && { skip }) },
  async (t) => {
    const fleet = await guestFleetFor(t)
    await fleet.makeVm('beside')
    await fleet.makeVm('hurt')
    await fleet.untilAnswers('beside', 1)
    await fleet.untilAnswers('hurt', 1)
    const beside = startWriter(t, fleet.edge, 'beside', 2)
    const written = [await fleet.untilAnswers('hurt', 2)]
    for (let kill = 1; kill <= KILLS * ROLES.length; kill += 1) {
      const role = ROLES[kill % ROLES.length] ?? 'vmm'
      const writer = startWriter(t, fleet.edge, 'hurt', kill * 10_000)
      await randomMoment(t, MAX_WAIT_MS, `kill ${kill} (${role})`)
      const pid = await findProcessOf(fleet, 'hurt', role)
      if (pid === undefined) throw new Error(`there is no ${role}`)
      process.kill(pid, 'SIGKILL')
      const isBack = () =>
        new Set(
          writer.written
            .slice(-1)
            .concat(written.slice(-1))
            .map(({ boot }) => boot),
        ).size > 1
      await until(isBack, `the VM is back after kill ${kill}`, RECOVERY_MS)
      await writer.stop()
      written.push(...writer.written)
      t.same(
        findLost(await readRecords(fleet.edge, 'hurt'), written),
        [],
        `kill ${kill}: all that it said is on disk is there`,
      )
      await untilTidy(t, fleet, { running: ['beside', 'hurt'] })
    }
    await beside.stop()
    t.same(beside.failures(), [], 'no request to the VM beside it fails')
    t.same(findBreaks(beside.written), [], 'the VM beside it goes on')
    t.equal(
      new Set(written.map(({ boot }) => boot)).size,
      KILLS * ROLES.length + 1,
      'each kill was one boot more',
    )
  },
)
