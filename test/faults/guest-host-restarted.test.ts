/** A host is ended as for an update, and started again: its VMs go on, and what they use is counted once. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { until } from '../helpers/until.ts'
import { faultKillsFor } from './fault-kills.ts'
import { type GuestFleet, guestFleetFor, POOL, RECOVERY_MS } from './guest-fleet.ts'
import { listProcesses, untilTidy } from './guest-mess.ts'
import { findBreaks, findLost, readRecords, startWriter } from './guest-records.ts'

const RESTARTS = faultKillsFor(t, { eachSeconds: 60 })
const { skip } = await guestOptions()
const TICKS_PER_SECOND = 100
/** What a look at a process and one at its group may differ by, its jail's own work above all. */
const TOLERANCE_SECONDS = 1

t.test('VMs serve without one failure while their host is updated', { ...(skip && { skip }) }, async (t) => {
  const fleet = await guestFleetFor(t)
  await fleet.makeVm('one')
  await fleet.untilAnswers('one', 1)
  const writer = startWriter(t, fleet.edge, 'one', 2)
  const goOn = async (what: string) => {
    const count = writer.written.length + 10
    await until(() => writer.written.length >= count, `the VM answers ${what}`, RECOVERY_MS)
  }
  for (let restart = 1; restart <= RESTARTS; restart += 1) {
    await goOn('under its host')
    const usedBefore = readCpuSeconds(fleet)
    t.equal(await fleet.host().terminate(), 0, `host ${restart} ends well`)
    const counted = await readCounted(fleet)
    const used = readCpuSeconds(fleet)
    t.comment(`host ${restart}: ${counted} of ${used} CPU seconds are counted`)
    t.ok(
      counted >= usedBefore - TOLERANCE_SECONDS,
      `what was used until the end of host ${restart} is counted`,
    )
    t.ok(
      counted <= used + TOLERANCE_SECONDS,
      `nothing that was used until the end of host ${restart} is counted twice`,
    )
    await goOn('without a host')
    await (await fleet.startHost()).untilReady()
  }
  await writer.stop()
  t.comment(`${writer.written.length} requests`)
  t.same(writer.failures(), [], 'no request fails')
  t.same(findBreaks(writer.written), [], 'the VM goes on where it was: its boot, its memory, its time')
  t.same(
    findLost(await readRecords(fleet.edge, 'one'), writer.written),
    [],
    'it has all that it said is on disk',
  )
  await untilTidy(t, fleet, { running: ['one'] })
})

/** Of all VMMs and disks, as the kernel says. */
function readCpuSeconds(fleet: GuestFleet): number {
  const ticks = listProcesses(fleet).map(({ pid }) => {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // proc_pid_stat(5): utime and stime are the 14th and 15th field; brackets may be in the second.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return Number(fields[11]) + Number(fields[12])
  })
  return ticks.reduce((sum, each) => sum + each, 0) / TICKS_PER_SECOND
}

async function readCounted({ api }: GuestFleet): Promise<number> {
  const { json } = await api('GET', `/v1/pools/${POOL}/usage`)
  return (json as { readonly total: { readonly cpuSeconds: number } }).total.cpuSeconds
}
