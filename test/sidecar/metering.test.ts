/** What pools are charged with: once, whatever restarts. */

import t, { type Test } from 'tap'
import { type MeteringDeps, type PoolUsage, startMetering } from '../../sidecar/metering.ts'
import type { VmUsage } from '../../sidecar/vmm.ts'
import { until } from '../helpers/until.ts'
import { listLog } from './vms.ts'

const POOLS: Readonly<Record<string, string>> = { one: 'a', two: 'a', three: 'b' }

function usageOf(vm: string, more: Partial<VmUsage>): VmUsage {
  return { vm, run: `${vm}-1`, seconds: 0, cpuSeconds: 0, memoryBytes: 0, diskBytes: 0, ...more }
}

/** Each look takes the next of `samples`, the last of them again and again. */
async function sumsOf(t: Test, samples: readonly (readonly VmUsage[] | Error)[], pools = POOLS) {
  const sums = new Map<string, PoolUsage>()
  const { log, lines } = listLog()
  let looks = 0
  const deps: MeteringDeps = {
    log,
    vmm: {
      sampleUsage: async () => {
        const sample = samples[Math.min(looks, samples.length - 1)] ?? []
        looks += 1
        if (sample instanceof Error) throw sample
        return sample
      },
    },
    findPool: (vm) => pools[vm],
    meter: {
      add: (pool, { cpuSeconds, memoryByteSeconds, diskBytes }) => {
        const before = sums.get(pool) ?? { cpuSeconds: 0, memoryByteSeconds: 0 }
        sums.set(pool, {
          cpuSeconds: before.cpuSeconds + cpuSeconds,
          memoryByteSeconds: before.memoryByteSeconds + memoryByteSeconds,
          diskBytes,
        })
      },
    },
  }
  const metering = startMetering(deps, { intervalMs: 2 })
  t.teardown(() => metering[Symbol.asyncDispose]())
  await until(() => looks > samples.length + 2, 'all was looked at, and more than once at the last')
  await metering[Symbol.asyncDispose]()
  return { sums, lines }
}

t.test('adds up the VMs of a pool, each use once', async (t) => {
  const { sums } = await sumsOf(t, [
    [
      usageOf('one', { seconds: 10, cpuSeconds: 2, memoryBytes: 100, diskBytes: 7 }),
      usageOf('two', { seconds: 5, cpuSeconds: 1, memoryBytes: 10, diskBytes: 3 }),
      usageOf('three', { seconds: 1, cpuSeconds: 1, memoryBytes: 1, diskBytes: 1 }),
    ],
    [
      usageOf('one', { seconds: 20, cpuSeconds: 5, memoryBytes: 200, diskBytes: 9 }),
      usageOf('two', { seconds: 15, cpuSeconds: 1, memoryBytes: 10, diskBytes: 3 }),
      usageOf('three', { seconds: 11, cpuSeconds: 2, memoryBytes: 1, diskBytes: 1 }),
    ],
  ])
  t.same(sums.get('a'), { cpuSeconds: 6, memoryByteSeconds: 1_000 + 2_000 + 150, diskBytes: 12 })
  t.same(sums.get('b'), { cpuSeconds: 2, memoryByteSeconds: 11, diskBytes: 1 })
})

t.test('counts a restart from nothing, and what was before it no second time', async (t) => {
  const { sums } = await sumsOf(t, [
    [usageOf('one', { seconds: 10, cpuSeconds: 4, memoryBytes: 10 })],
    [usageOf('one', { run: 'one-2', seconds: 3, cpuSeconds: 1, memoryBytes: 10 })],
    [usageOf('one', { run: 'one-2', seconds: 13, cpuSeconds: 5, memoryBytes: 10 })],
  ])
  t.match(sums.get('a'), { cpuSeconds: 9, memoryByteSeconds: 230 })
})

t.test('goes on charging for the disk of a VM that was stopped', async (t) => {
  const { sums } = await sumsOf(t, [[usageOf('one', { seconds: 1, cpuSeconds: 1, diskBytes: 50 })], []])
  t.match(sums.get('a'), { cpuSeconds: 1, diskBytes: 50 })
})

t.test('counts nothing for a VM that nobody keeps', async (t) => {
  const { sums } = await sumsOf(t, [[usageOf('stranger', { seconds: 1, cpuSeconds: 1, diskBytes: 50 })]])
  t.equal(sums.size, 0)
})

t.test('counts later what it could not find out', async (t) => {
  const { sums, lines } = await sumsOf(t, [
    [usageOf('one', { seconds: 1, cpuSeconds: 1 })],
    new Error('no /proc'),
    [usageOf('one', { seconds: 3, cpuSeconds: 3, memoryBytes: 5 })],
  ])
  t.match(sums.get('a'), { cpuSeconds: 3, memoryByteSeconds: 10 })
  t.match(lines, [{ level: 'warn', err: { message: 'no /proc' } }])
})
