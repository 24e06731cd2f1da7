/** A guest that fills its disk: the pool's quota holds, no VM of another pool is harmed, and in a larger pool it goes on and gives back what it deletes. */

import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCommand } from '../../sidecar/run-command.ts'
import {
  type GuestLandfall,
  guestLandfallFor,
  ownerFor,
  SLOW_MS,
  type Ssh,
  untilSlowly,
} from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { missingSsh } from '../helpers/sshd.ts'

const { skip = missingSsh(), timeout } = { skip: undefined, ...(await guestOptions()) }
const MIB = 1_048_576
const QUOTA_BYTES = 48 * MIB
/** What a writer may take beyond the quota before it is noticed. */
const OVERSHOOT_BYTES = 8 * MIB
const WATCH_MS = 8_000
/** On a machine where other tests run, too; one that is starved does not answer at all. */
const ANSWER_MS = 5_000

t.test('a guest that fills its disk', { skip, timeout }, async (t) => {
  const landfall = await guestLandfallFor(t, { hello: 'kept' })
  const { ssh } = await ownerFor(t, landfall)
  await landfall.must(
    'pool',
    'new',
    'wild',
    '--cpus',
    '1',
    '--memory',
    '512M',
    '--disk',
    '48M',
    '--owner',
    'ann',
  )
  await landfall.must('vm', 'new', 'wild', '--pool', 'wild', '--memory', '96M')
  await landfall.must('port', 'set', 'wild', '22', '--public')
  await checkDisk(t, landfall, ssh)
})

/** In the guest's background, whatever becomes of it. */
async function start(ssh: Ssh, script: string): Promise<void> {
  const encoded = Buffer.from(script).toString('base64')
  const file = '/dev/shm/runaway'
  const command = `echo ${encoded} | base64 -d >${file}; setsid sh ${file} </dev/null >/dev/null 2>&1 &`
  const started = async () => (await ssh('wild', command)).code === 0
  await untilSlowly(started, 'it runs wild')
}

/** The VM of another pool answers, and what it writes reaches its disk. */
async function checkOther(t: Test, landfall: GuestLandfall): Promise<void> {
  const before = await landfall.facts('hello')
  const end = performance.now() + WATCH_MS
  let slowestMs = 0
  let asked = 0
  while (performance.now() < end) {
    const startedAt = performance.now()
    await landfall.facts('hello')
    slowestMs = Math.max(slowestMs, performance.now() - startedAt)
    asked += 1
  }
  const { logged } = await landfall.facts('hello')
  t.equal(logged, before.logged + asked + 1, `its disk took ${asked} lines, each synced`)
  t.ok(slowestMs < ANSWER_MS, `the slowest answer took ${Math.round(slowestMs)} ms`)
}

async function checkDisk(t: Test, landfall: GuestLandfall, ssh: Ssh): Promise<void> {
  await start(ssh, 'dd if=/dev/urandom of=/filler bs=64k count=1600')
  await untilSlowly(async () => (await takenBy(landfall)) > QUOTA_BYTES * 0.9, 'the pool is full')
  await checkOther(t, landfall)
  const taken = await takenBy(landfall)
  t.ok(taken < QUOTA_BYTES + OVERSHOOT_BYTES, `${taken} of ${QUOTA_BYTES}`)
  await landfall.must('pool', 'set', 'wild', '--disk', '512M')
  await untilSlowly(async () => (await takenBy(landfall)) > QUOTA_BYTES * 1.5, 'the writer goes on', SLOW_MS)
  await ssh('wild', 'kill -9 $(pidof dd); rm /filler')
  await untilSlowly(
    async () => (await takenBy(landfall)) < QUOTA_BYTES / 2,
    'what was deleted is given back',
    SLOW_MS,
  )
  const { code, stderr } = await ssh('wild', 'dd if=/dev/urandom of=/again bs=64k count=64 && sync')
  t.equal(code, 0, `it can be written again: ${stderr}`)
}

/** Allocated by the disks of the pool, in bytes. */
async function takenBy({ dataFolder }: GuestLandfall): Promise<number> {
  const text = await runCommand('du', ['-sB1', join(dataFolder, 'disks', 'wild')])
  return Number(text.split('\t')[0])
}
