/** The sidecar is killed again and again, also while it starts: its VMs go on, and whoever uses them notices nothing. */

import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { until } from '../helpers/until.ts'
import { faultKillsFor, randomMoment } from './fault-kills.ts'
import { guestFleetFor, RECOVERY_MS } from './guest-fleet.ts'
import { untilTidy } from './guest-mess.ts'
import { findBreaks, findLost, readRecords, startWriter } from './guest-records.ts'

const KILLS = faultKillsFor(t, { eachSeconds: 60 })
const { skip } = await guestOptions()
const VMS = ['one', 'two']
/** Answers of each VM while nobody looks after it. */
const ANSWERS = 5

t.test(
  'VMs serve without one failure while their sidecar dies and comes back',
  { ...(skip && { skip }) },
  async (t) => {
    const fleet = await guestFleetFor(t)
    await Promise.all(VMS.map((vm) => fleet.makeVm(vm)))
    for (const vm of VMS) await fleet.untilAnswers(vm, 1)
    const writers = VMS.map((vm) => startWriter(t, fleet.edge, vm, 2))
    const goOn = async (what: string) => {
      const counts = writers.map(({ written }) => written.length + ANSWERS)
      const isOn = () => writers.every(({ written }, index) => written.length >= (counts[index] ?? 0))
      await until(isOn, `all VMs answer ${what}`, RECOVERY_MS)
    }
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await randomMoment(t, 1_000, `kill ${kill}`)
      await fleet.host().kill()
      await goOn('without a sidecar')
      await fleet.startHost()
      await randomMoment(t, 2_000, `kill ${kill} of the one that starts`)
      await fleet.host().kill()
      await (await fleet.startHost()).untilReady()
      await goOn('under a new sidecar')
    }
    await Promise.all(writers.map((writer) => writer.stop()))
    for (const [index, vm] of VMS.entries()) {
      const { written = [], failures = () => [] } = writers[index] ?? {}
      t.comment(`${vm}: ${written.length} requests`)
      t.same(failures(), [], `no request to ${vm} fails`)
      t.same(findBreaks(written), [], `${vm} goes on where it was: its boot, its memory, its time`)
      t.same(
        findLost(await readRecords(fleet.edge, vm), written),
        [],
        `${vm} has all that it said is on disk`,
      )
    }
    await untilTidy(t, fleet, { running: VMS })
  },
)
