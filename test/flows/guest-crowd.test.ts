/** Many guests in a pool of one CPU: all of them answer, together they take what was bought, and nobody else suffers. */

import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  type GuestLandfall,
  guestLandfallFor,
  ownerFor,
  SLOW_MS,
  untilSlowly,
} from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { missingSsh } from '../helpers/sshd.ts'

const { skip = missingSsh(), timeout } = { skip: undefined, ...(await guestOptions()) }
const isSlow = process.env.LANDFALL_SLOW === '1'
/** Twenty take a minute of two processors to boot. */
const CROWD = isSlow ? 20 : 6
const TIMEOUT_MS = isSlow ? 400_000 : timeout
const WATCH_MS = 10_000
const CAP = 1
const TOLERANCE = 0.05
/** What others have to leave for the whole cap to be had for sure. */
const ROOM = 0.4
const UNIFIED = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((folder) =>
  existsSync(join(folder, 'cgroup.controllers')),
)
const noGroups = process.getuid?.() !== 0 || UNIFIED === undefined ? 'cgroups need root' : undefined

t.setTimeout(TIMEOUT_MS)
t.test(
  `${CROWD} guests in a pool of one CPU`,
  { skip: skip || noGroups || false, timeout: TIMEOUT_MS },
  async (t) => {
    const landfall = await guestLandfallFor(t, { hello: 'kept' })
    const { ssh } = await ownerFor(t, landfall)
    await landfall.must(
      'pool',
      'new',
      'crowd',
      '--cpus',
      '2',
      '--memory',
      '6G',
      '--disk',
      '4G',
      '--owner',
      'ann',
    )
    const names = Array.from({ length: CROWD }, (_, index) => `vm${index + 1}`)
    for (const name of names) await make(landfall, name)
    await Promise.all(names.map((name) => untilAnswers(landfall, name)))
    await landfall.must('pool', 'set', 'crowd', '--cpus', '1')
    await Promise.all(names.map((name) => untilAnswers(landfall, name)))

    for (const name of names) {
      const spin = `setsid timeout ${isSlow ? 120 : 60} sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 &`
      const { code, stderr } = await ssh(name, spin)
      t.equal(code, 0, stderr)
    }
    const before = sample(landfall)
    let answers = 0
    // Now and then: requests without a pause would take the CPU that the pool must not get.
    await untilSlowly(async () => {
      if ((await landfall.ask('hello')).status === 200) answers += 1
      return performance.now() - before.at >= WATCH_MS
    }, 'the time of the measurement is over')
    const after = sample(landfall)
    const seconds = (after.at - before.at) / 1_000
    const share = (after.poolSeconds - before.poolSeconds) / seconds
    const others = (after.busySeconds - before.busySeconds) / seconds - share
    t.comment(
      `the pool took ${share.toFixed(3)} CPUs, the rest of the machine ${others.toFixed(2)}; ${answers} answers`,
    )
    t.ok(share <= CAP + TOLERANCE, `${share} is at most the cap`)
    // A cap is no reservation: where others leave less than was bought, less can be had.
    const left = after.cpus - others
    const least = left >= CAP + ROOM ? CAP - TOLERANCE : Math.min(CAP, left) * (1 - ROOM)
    t.ok(share >= least, `${share} is at least ${least}, where ${left} were left`)
    t.ok(answers >= 5, `a VM of another pool answered ${answers} times meanwhile`)
    await Promise.all(names.map((name) => untilAnswers(landfall, name)))
  },
)

async function make(landfall: GuestLandfall, name: string): Promise<void> {
  const body = { name, pool: 'crowd', image: 'hello', memoryBytes: 100_663_296 }
  const made = await landfall.admin('POST', '/v1/vms', body)
  if (made.status !== 201) throw new Error(`${name} was refused: ${JSON.stringify(made.json)}`)
  for (const port of [22, 8000]) {
    const set = await landfall.admin('PUT', `/v1/vms/${name}/ports/${port}`, { visibility: 'public' })
    if (set.status >= 300) throw new Error(`port ${port} was refused: ${JSON.stringify(set.json)}`)
  }
}

async function untilAnswers(landfall: GuestLandfall, name: string): Promise<void> {
  const isThere = async () =>
    (await landfall.ask(name)).text.startsWith(`Hello from the VM ${name}.localhost`)
  await untilSlowly(isThere, `${name} answers`, isSlow ? 5 * SLOW_MS : 1.5 * SLOW_MS)
}

/** CPU time of the pool, by its cgroup, and of the whole machine. */
function sample({ cgroup }: GuestLandfall) {
  const [file = ''] = globSync(join(UNIFIED ?? '', cgroup, '**/*crowd*/cpu.stat'))
  const [, micros] = /^usage_usec (\d+)$/m.exec(readFileSync(file, 'utf8')) ?? []
  const lines = readFileSync('/proc/stat', 'utf8').split('\n')
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = (lines[0] ?? '')
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return {
    at: performance.now(),
    poolSeconds: Number(micros) / 1_000_000,
    busySeconds: (user + nice + system + irq + softIrq) / 100,
    cpus: lines.filter((line) => /^cpu\d/.test(line)).length,
  }
}
