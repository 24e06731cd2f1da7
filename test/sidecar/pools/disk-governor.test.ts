/** The disk quota of pools: how fast VMs may write, when they are told, and that no other pool feels it. */

import t, { type Test } from 'tap'
import { type GovernedPool, startDiskGovernor } from '../../../sidecar/pools/disk-governor.ts'
import { chooseRate, type DiskRateSettings } from '../../../sidecar/pools/disk-rate.ts'
import type { VmId } from '../../../sidecar/vm-id.ts'
import { until } from '../../helpers/until.ts'
import { listLog } from '../vms.ts'

const KIB = 1_024
const MIB = 1_048_576
const GIB = 1_073_741_824

const SETTINGS: DiskRateSettings = {
  tickMs: 1_000,
  limitedTickMs: 250,
  diskBytesPerSecond: GIB,
  clusterFactor: 16,
  floorBytesPerSecond: 64 * KIB,
  leastBytesPerSecond: 4 * KIB,
}

t.test('chooses a rate by what is left', (t) => {
  const look = { roomBytes: GIB, grownBytes: 0, vms: 1, rate: undefined }
  const cases = [
    { name: 'no limit with room', look: { roomBytes: 2 * GIB }, rate: undefined },
    { name: 'a limit with little', look: {}, rate: 128 * MIB },
    { name: 'shared by all VMs', look: { vms: 4 }, rate: 32 * MIB },
    { name: 'none to limit', look: { vms: 0 }, rate: undefined },
    {
      name: 'falls at once',
      look: { roomBytes: 0.99 * GIB, rate: 128 * MIB },
      rate: Math.floor(126.72 * MIB),
    },
    { name: 'does not rise for a little', look: { rate: 110 * MIB }, rate: 110 * MIB },
    { name: 'rises for more', look: { rate: 100 * MIB }, rate: 128 * MIB },
    { name: 'is not lifted at the edge', look: { roomBytes: 2.1 * GIB, rate: 256 * MIB }, rate: 256 * MIB },
    { name: 'is lifted with more', look: { roomBytes: 2.5 * GIB, rate: 256 * MIB }, rate: undefined },
    { name: 'never below the floor with room', look: { roomBytes: 1, grownBytes: 9 }, rate: 64 * KIB },
    { name: 'the floor when full', look: { roomBytes: 0 }, rate: 64 * KIB },
    { name: 'and over', look: { roomBytes: -GIB, rate: 32 * KIB, grownBytes: -1 }, rate: 64 * KIB },
    { name: 'less while it grows', look: { roomBytes: 0, grownBytes: 1, rate: 64 * KIB }, rate: 32 * KIB },
    { name: 'but some', look: { roomBytes: -1, grownBytes: 1, rate: 4 * KIB }, rate: 4 * KIB },
    { name: 'from no limit too', look: { roomBytes: -1, grownBytes: 1 }, rate: 32 * KIB },
  ]
  for (const { name, look: changes, rate } of cases) {
    t.equal(chooseRate({ ...look, ...changes }, SETTINGS), rate, name)
  }
  t.end()
})

t.test('whatever VMs do, a limited pool is not overrun', (t) => {
  const limitBytes = 10 * GIB
  for (const { vms, factor } of [
    { vms: 1, factor: 16 },
    { vms: 20, factor: 16 },
    { vms: 3, factor: 1 },
  ]) {
    let [used, rate, growth] = [0, undefined as number | undefined, 0]
    for (let look = 0; look < 2_000 && used < limitBytes; look += 1) {
      rate = chooseRate({ roomBytes: limitBytes - used, grownBytes: growth, vms, rate }, SETTINGS)
      // As fast as they may, each write in a cluster of its own; the disk itself bounds them where nothing else does.
      growth = rate === undefined ? GIB : Math.min(rate * vms * factor, GIB) * 0.25
      used += growth
    }
    const over = used - limitBytes
    const floorGrowth = 64 * KIB * vms * 16 * 0.25
    t.ok(over <= floorGrowth, `${vms} VMs were ${over} bytes over`)
  }
  t.end()
})

const vm = (name: string): VmId => ({ name, createdAt: '2026-01-31T12:00:00.123Z' })

function governorFor(t: Test, first: Record<string, { used: number; vms: string[] }>, limitBytes = 8 * GIB) {
  const pools = new Map(Object.entries(first))
  const calls: string[] = []
  const told: string[] = []
  const refused = new Set<string>()
  const measured = new Map<string, number>()
  const { log, lines } = listLog()
  const governor = startDiskGovernor(
    {
      log,
      pools: () =>
        [...pools].map(
          ([pool, { vms }]): GovernedPool => ({ pool, diskBytes: limitBytes, vms: vms.map(vm) }),
        ),
      disks: {
        measurePool: async (pool) => {
          measured.set(pool, (measured.get(pool) ?? 0) + 1)
          const used = pools.get(pool)?.used ?? 0
          if (Number.isNaN(used)) throw new Error('no such folder')
          return used
        },
        limitWrites: async ({ name }, limit) => {
          if (refused.has(name)) throw new Error('away')
          calls.push(`${name} ${limit?.bytesPerSecond ?? 'free'}`)
        },
      },
      onFull: (pool, isFull) => told.push(`${pool} ${isFull ? 'full' : 'room'}`),
    },
    { tickMs: 20, limitedTickMs: 5, diskBytesPerSecond: 50 * GIB },
  )
  t.teardown(() => governor[Symbol.asyncDispose]())
  const looks = async (pool: string, count = 2) => {
    const from = measured.get(pool) ?? 0
    await until(() => (measured.get(pool) ?? 0) >= from + count, `${pool} is looked at`)
  }
  return { governor, pools, calls, told, refused, lines, looks }
}

t.test('limits the VMs of a pool that gets full, tells them, and lets them go again', async (t) => {
  const { pools, calls, told, lines, looks, governor } = governorFor(t, {
    tight: { used: 0, vms: ['a', 'b'] },
    roomy: { used: 0, vms: ['c'] },
  })
  await looks('tight')
  t.same(
    calls.splice(0).toSorted(),
    ['a free', 'b free', 'c free'],
    'lifts what an earlier process left, once',
  )
  pools.set('tight', { used: 8 * GIB, vms: ['a', 'b'] })
  await until(() => told.length === 1, 'they are told')
  await looks('tight')
  t.same([told, calls.splice(0)], [['tight full'], ['a 32768', 'b 32768', 'a 65536', 'b 65536']])
  t.match(governor.states(), [
    { pool: 'tight', isFull: true, bytesPerSecond: 65_536 },
    { pool: 'roomy', isFull: false, bytesPerSecond: undefined },
  ])
  pools.set('tight', { used: 8 * GIB - MIB, vms: ['a', 'b'] })
  await looks('tight')
  t.same(told, ['tight full'], 'a little room is none')
  pools.set('tight', { used: GIB, vms: ['a', 'b'] })
  await until(() => told.length === 2, 'they are told')
  await looks('tight')
  t.same([told.at(-1), calls.slice(-2)], ['tight room', ['a free', 'b free']])
  t.notOk(
    calls.some((call) => call.startsWith('c')),
    'the other pool was left alone',
  )
  t.match(lines.filter(({ level }) => level === 'warn').length, 2)
})

t.test('a disk that comes to be served is limited when asked at once', async (t) => {
  const { pools, calls, looks, governor } = governorFor(t, { p: { used: 8 * GIB, vms: ['a'] } })
  await looks('p')
  pools.set('p', { used: 8 * GIB, vms: ['a', 'late'] })
  await governor.look('p')
  t.match(calls.at(-1), 'late 65536')
  await t.resolves(governor.look('absent'))
})

t.test('tells a VM again that did not take its limit, and forgets what is gone', async (t) => {
  const { pools, calls, looks, refused, governor } = governorFor(t, { p: { used: 8 * GIB, vms: ['a', 'b'] } })
  refused.add('a')
  await looks('p')
  t.notOk(calls.some((call) => call.startsWith('a')))
  refused.delete('a')
  await until(() => calls.includes('a 65536'), 'a was told again')
  pools.delete('p')
  await until(() => governor.states().length === 0, 'it is forgotten')
})

t.test('keeps the limits of a pool that cannot be measured, and looks on', async (t) => {
  const { pools, calls, lines, looks } = governorFor(t, { p: { used: 8 * GIB, vms: ['a'] } })
  await looks('p', 3)
  calls.splice(0)
  pools.set('p', { used: Number.NaN, vms: ['a'] })
  await until(() => lines.some(({ message }) => /not measured/.test(message)), 'it is logged')
  t.same(calls, [])
  pools.set('p', { used: 0, vms: ['a'] })
  await until(() => calls.includes('a free'), 'it was looked at again')
})
