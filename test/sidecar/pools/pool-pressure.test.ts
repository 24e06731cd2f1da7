/** The ladder of overcommitted pools climbs and descends, with VMs that obey and others that do not. */

import t, { type Test } from 'tap'
import { type PressureSettings, startPressureLadder } from '../../../sidecar/pools/pool-pressure.ts'
import { type PressedVm, VmWatch } from '../../../sidecar/pools/vm-watch.ts'
import type { VmActivity } from '../../../sidecar/vmm.ts'
import { until } from '../../helpers/until.ts'
import { listLog } from '../vms.ts'
import { CREATED_AT, HOLDER, hold, MIB, realGroupsFor, runIn, whyNotReal } from './real-groups.ts'

class FakeVm implements PressedVm {
  readonly run: string
  pool = 'p'
  readonly memoryBytes = 800
  readonly name: string
  canSuspend = true
  guestBytes: number | undefined = 800
  activity: VmActivity | undefined = { connections: 0, accepted: 0, cpuSeconds: 0 }
  isObedient = true
  onSuspend: () => void = () => undefined

  constructor(name: string) {
    this.name = name
    this.run = name
  }

  async sampleBalloon() {
    return this.guestBytes
  }

  async setBalloon(bytes: number) {
    if (this.isObedient) this.guestBytes = bytes
  }

  async sampleActivity() {
    return this.activity
  }

  async suspend() {
    this.onSuspend()
  }
}

t.test('knows since when nobody uses a VM, and whether its balloon obeys', async (t) => {
  const vm = new FakeVm('a')
  const watch = new VmWatch({ floorShare: 0.25, floorBytes: 300, maxFailures: 2, stuckMs: 100 }, 0)
  t.match(await watch.look(vm, 1_000), { idleMs: 1_000, cpuShare: 0, floorBytes: 300, guestBytes: 800 })
  vm.activity = { connections: 0, accepted: 0, cpuSeconds: 0.5 }
  t.match(await watch.look(vm, 2_000), { idleMs: 2_000, cpuShare: 0.5 }, 'work alone is no use')
  vm.activity = { connections: 0, accepted: 1, cpuSeconds: 0.5 }
  t.match(await watch.look(vm, 3_000), { idleMs: 0 }, 'somebody was there meanwhile')
  t.match(await watch.look(vm, 4_000), { idleMs: 1_000 })
  vm.activity = { connections: 1, accepted: 1, cpuSeconds: 0.5 }
  t.match(await watch.look(vm, 5_000), { idleMs: 0 }, 'somebody is there')
  vm.activity = undefined
  t.match(await watch.look(vm, 6_000), { idleMs: 0 }, 'what does not tell is in use')
  for (const [now, isStuck] of [
    [7_000, false],
    [8_000, true],
    [8_099, true],
    [8_100, false],
  ] as const) {
    if (now <= 8_000) watch.noteAsked(700)
    t.match(await watch.look(vm, now), { isStuck }, `${now}`)
  }
  watch.noteAsked(700)
  vm.guestBytes = 700
  t.match(await watch.look(vm, 9_000), { isStuck: false, guestBytes: 700 })
})

/** A pool of 1,000 bytes whose VMs use `extra`, and what their balloons leave them. */
function ladderFor(t: Test, vms: FakeVm[], settings: PressureSettings = {}) {
  const { log, lines } = listLog()
  const pool = { extra: 0, reclaimed: 0, isBroken: false }
  const used = () => pool.extra + vms.reduce((sum, { guestBytes = 0 }) => sum + guestBytes, 0)
  const ladder = startPressureLadder(
    {
      log,
      vms: () => [...vms],
      groups: {
        samplePressure: async () => {
          if (pool.isBroken) throw new Error('gone')
          return { memoryBytes: used(), limitBytes: 1_000 }
        },
        reclaim: async (_, bytes) => {
          pool.reclaimed += bytes
          return true
        },
      },
    },
    {
      intervalMs: 2,
      floorBytes: 200,
      idleMs: 0,
      calmMs: 20,
      reclaimEveryMs: 100,
      waitsSettleMs: 0,
      ...settings,
    },
  )
  t.teardown(() => ladder[Symbol.asyncDispose]())
  for (const vm of vms) {
    vm.onSuspend = () => {
      vms.splice(vms.indexOf(vm), 1)
    }
  }
  return { ladder, pool, vms, lines, steps: () => ladder.states()[0]?.steps }
}

t.test('takes by balloon what is needed and no more, and gives it back', async (t) => {
  const { ladder, pool, vms, lines, steps } = ladderFor(t, [new FakeVm('a')])
  await until(() => ladder.states().length === 1, 'it has looked')
  t.match(ladder.states(), [
    { pool: 'p', usedShare: 0.8, isPressed: false, balloonBytes: 0, steps: { inflate: 0 } },
  ])
  pool.extra = 250
  await until(() => steps()?.inflate === 2, 'two steps')
  await until(() => ladder.states()[0]?.isPressed === false, 'they were enough')
  t.equal(vms[0]?.guestBytes, 600)
  t.match(ladder.states(), [{ balloonBytes: 200, steps: { inflate: 2, reclaim: 0, suspend: 0 } }])
  pool.extra = 0
  await until(() => vms[0]?.guestBytes === 800, 'all of it is back')
  t.match(steps(), { inflate: 2, deflate: 2, reclaim: 0, suspend: 0 })
  t.match(lines[0], {
    level: 'info',
    pool: 'p',
    kind: 'inflate',
    vm: 'a',
    guestBytes: 700,
    memoryBytes: 1_050,
  })
})

t.test('climbs to the top when nothing below helps, one rung at a time', async (t) => {
  const [deaf, pinned] = [new FakeVm('deaf'), new FakeVm('pinned')]
  deaf.isObedient = false
  deaf.guestBytes = 600
  pinned.canSuspend = false
  pinned.guestBytes = undefined
  const { pool, vms, lines, steps } = ladderFor(t, [deaf, pinned])
  pool.extra = 950
  await until(() => vms.length === 1, 'the deaf one sleeps')
  await until(() => lines.some(({ level }) => level === 'warn'), 'nothing is left to do')
  t.match(lines.at(-1), { message: /nothing of it can be freed/ })
  t.match(steps(), { inflate: 3, suspend: 1 })
  t.ok(pool.reclaimed > 0)
  t.equal(vms[0]?.name, 'pinned')
})

t.test('suspends a VM once, however long that takes, and is not ended meanwhile', async (t) => {
  const vm = new FakeVm('slow')
  vm.guestBytes = undefined
  const { promise, resolve } = Promise.withResolvers<void>()
  let asked = 0
  vm.suspend = () => {
    asked += 1
    return promise
  }
  let looks = 0
  const other = Object.assign(new FakeVm('other'), { pool: 'q' })
  other.sampleActivity = async () => {
    looks += 1
    return other.activity
  }
  const { ladder, pool } = ladderFor(t, [vm, other], { reclaimEveryMs: 100_000 })
  pool.extra = 950
  await until(() => asked === 1, 'it is asked')
  const from = looks
  await until(() => looks > from + 3, 'the other pool is looked at meanwhile')
  t.equal(asked, 1)
  let isOver = false
  const ended = ladder[Symbol.asyncDispose]().then(() => {
    isOver = true
  })
  await new Promise((done) => setImmediate(done))
  t.equal(isOver, false)
  resolve()
  await ended
})

t.test('a VM that fails or does not answer holds nobody up', async (t) => {
  const [mute, angry, good] = [new FakeVm('mute'), new FakeVm('angry'), new FakeVm('good')]
  mute.sampleActivity = () => new Promise(() => undefined)
  angry.setBalloon = () => Promise.reject(new Error('no'))
  angry.guestBytes = 300
  const { vms, lines, ladder, pool } = ladderFor(t, [mute, angry, good], { answerMs: 20 })
  await until(() => good.guestBytes === 200, 'the good one has given what it can')
  t.equal(mute.guestBytes, 800, 'one that does not tell of itself is left alone')
  t.ok(lines.some(({ message }) => /inflate failed/.test(message)))
  pool.isBroken = true
  await until(() => lines.some(({ message }) => /not looked at/.test(message)), 'which is logged')
  vms.splice(0)
  await until(() => ladder.states().length === 0, 'a pool without VMs is forgotten')
})

t.test('makes room in a real pool before anybody is killed', { skip: whyNotReal() }, async (t) => {
  const { groups } = await realGroupsFor(t)
  const { log, lines } = listLog()
  await groups.setPool('p', { cpuMillis: 2_000, memoryBytes: 200 * MIB })
  const start = async (name: string) => {
    const { vmm } = await groups.openVm(
      'p',
      { name, createdAt: CREATED_AT },
      { weight: 100, memoryLowBytes: 0 },
    )
    return runIn(t, vmm, HOLDER)
  }
  const [idle, busy] = [await start('idle'), await start('busy')]
  let [guestBytes, isMoving] = [100 * MIB, false]
  await hold(idle, guestBytes)
  const sleeper: PressedVm = {
    run: 'idle',
    name: 'idle',
    pool: 'p',
    memoryBytes: guestBytes,
    canSuspend: true,
    sampleBalloon: async () => guestBytes,
    setBalloon: async (bytes) => {
      isMoving = true
      guestBytes = bytes
      await hold(idle, bytes)
      isMoving = false
    },
    sampleActivity: async () => ({ connections: 0, accepted: 0, cpuSeconds: 0 }),
    suspend: async () => {
      idle.kill('SIGKILL')
    },
  }
  const running = () => (idle.signalCode === null ? [sleeper] : [])
  const ladder = startPressureLadder(
    { groups, log, vms: running },
    { intervalMs: 50, idleMs: 0, floorBytes: 50 * MIB },
  )
  t.teardown(() => ladder[Symbol.asyncDispose]())
  const share = async () => ((await groups.samplePool('p'))?.memoryBytes ?? 0) / (200 * MIB)
  for (const wanted of [60, 80, 90, 100, 110, 120]) {
    await hold(busy, wanted * MIB)
    // Memory that is about to be taken again is no room.
    await until(async () => (await share()) < 0.9 && !isMoving, `there is room beside ${wanted} MiB`)
  }
  t.not(guestBytes, sleeper.memoryBytes, 'by the balloon')
  await hold(busy, 140 * MIB)
  await until(() => idle.signalCode !== null, 'the idle one sleeps')
  t.equal(busy.signalCode, null, 'nobody was killed for memory')
  const kinds = lines.map(({ kind }) => String(kind))
  t.same([...new Set(kinds)], ['inflate', 'reclaim', 'suspend'], 'one rung after the other')
  t.ok(guestBytes >= 50 * MIB, 'never below the floor')
})
