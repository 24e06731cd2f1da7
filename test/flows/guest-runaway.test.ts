/** A guest that runs wild harms no VM of another pool: with its CPU, its memory and its processes. */

import t, { type Test } from 'tap'
import {
  type GuestLandfall,
  guestLandfallFor,
  ownerFor,
  type Ssh,
  untilSlowly,
} from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { missingSsh } from '../helpers/sshd.ts'

const { skip = missingSsh(), timeout } = { skip: undefined, ...(await guestOptions()) }
const WATCH_MS = 8_000
/** On a machine where other tests run, too; one that is starved does not answer at all. */
const ANSWER_MS = 5_000

const RUNAWAYS = {
  'burns CPU': 'for i in 1 2 3 4; do while :; do :; done & done; wait',
  'eats memory': 'while :; do tail /dev/zero; done',
  'forks without end': 'f() { f | f & }; while :; do f; done',
} as const

t.test('a guest that runs wild', { skip, timeout }, async (t) => {
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
    '1G',
    '--owner',
    'ann',
  )
  await landfall.must('vm', 'new', 'wild', '--pool', 'wild', '--memory', '96M')
  await landfall.must('port', 'set', 'wild', '22', '--public')
  for (const [what, script] of Object.entries(RUNAWAYS)) {
    await t.test(what, async (t) => {
      await start(ssh, script)
      await checkOther(t, landfall)
      await landfall.must('vm', 'restart', 'wild')
    })
  }
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
