/** The memory of a VM that sleeps is used once, whatever dies while it falls asleep or wakes: its disk has moved on since. */

import { existsSync } from 'node:fs'
import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { until } from '../helpers/until.ts'
import { faultKillsFor, randomMoment } from './fault-kills.ts'
import { type GuestFleet, guestFleetFor, RECOVERY_MS } from './guest-fleet.ts'
import { findProcessOf, keyOf, untilTidy } from './guest-mess.ts'
import { findLost, readRecords, type Written } from './guest-records.ts'

const KILLS = faultKillsFor(t, { eachSeconds: 60 })
const { skip } = await guestOptions()
/** About as long as falling asleep takes, beside other tests. */
const SUSPEND_MS = 600

t.test('no memory is used twice, whatever dies around it', { ...(skip && { skip }) }, async (t) => {
  const fleet = await guestFleetFor(t)
  await fleet.makeVm('vm')
  const key = await keyOf(fleet, 'vm')
  const suspended = join(fleet.dataFolder, 'vms', key, 'suspended')
  const written: Written[] = []
  const writeOne = async () => {
    const answer = await fleet.untilAnswers('vm', written.length + 1)
    written.push(answer)
    return answer
  }
  await writeOne()
  for (let kill = 1; kill <= KILLS; kill += 1) {
    await fleet.api('POST', '/v1/vms/vm/suspend')
    await randomMoment(t, SUSPEND_MS, `kill ${kill} of the sidecar`)
    await fleet.host().kill()
    const wasWhole = existsSync(suspended)
    await fleet.startHost()
    await untilCallIsOver(fleet)
    const before = written.at(-1)
    const after = await writeOne()
    if (wasWhole)
      t.equal(after.boot, before?.boot, `kill ${kill}: a VM whose memory was on disk goes on with it`)
    t.notOk(existsSync(suspended), `kill ${kill}: memory is gone once the VM runs`)
    const vmm = await findProcessOf(fleet, 'vm', 'vmm')
    if (vmm === undefined) throw new Error('there is no VMM')
    process.kill(vmm, 'SIGKILL')
    const isBooted = async () => (await writeOne()).boot !== after.boot
    await until(isBooted, `kill ${kill}: a VM that died afterwards boots`, RECOVERY_MS)
    t.same(
      findLost(await readRecords(fleet.edge, 'vm'), written),
      [],
      `kill ${kill}: all that it said is on disk is there`,
    )
  }
  t.same(findTwice(written), [], 'no moment of its memory is lived twice')
  await untilTidy(t, fleet, { running: ['vm'] })
})

t.test(
  'memory that a wake had begun to use is not used when it dies',
  { ...(skip && { skip }) },
  async (t) => {
    const fleet = await guestFleetFor(t)
    await fleet.makeVm('vm')
    const key = await keyOf(fleet, 'vm')
    const folder = join(fleet.dataFolder, 'vms', key)
    const before = await fleet.untilAnswers('vm', 1)
    await fleet.api('POST', '/v1/vms/vm/suspend?wait=20')
    await fleet.untilState('vm', 'asleep')
    await mkdir(join(folder, 'elsewhere'))
    await cp(join(folder, 'suspended'), join(folder, 'elsewhere', 'memory'), { recursive: true })
    const woken = await fleet.untilAnswers('vm', 2)
    t.equal(woken.boot, before.boot, 'it went on')
    await fleet.host().kill()
    // As the file system may be after a power cut in the middle of a wake: moved aside, and not yet deleted.
    await cp(join(folder, 'elsewhere', 'memory'), join(folder, 'suspended.used'), { recursive: true })
    const vmm = await findProcessOf(fleet, 'vm', 'vmm')
    if (vmm !== undefined) process.kill(vmm, 'SIGKILL')
    await fleet.startHost()
    const booted = await fleet.untilAnswers('vm', 3)
    t.not(booted.boot, before.boot, 'it boots')
    t.same(await readRecords(fleet.edge, 'vm'), [1, 2, 3], 'all that it said is on disk is there')
  },
)

async function untilCallIsOver({ store, show }: GuestFleet): Promise<void> {
  const isOver = async () => {
    const { report } = await show('vm')
    const isCalled = (await store.get('call/vm')) !== undefined
    return !isCalled && (report?.state === 'asleep' || report?.state === 'running')
  }
  await until(isOver, 'the VM sleeps, or goes on', RECOVERY_MS)
}

/** In one boot of a guest each count of its memory comes once. */
function findTwice(written: readonly Written[]): readonly string[] {
  const moments = written.map(({ boot, asked }) => `${boot} ${asked}`)
  return moments.filter((moment, index) => moments.indexOf(moment) !== index)
}
