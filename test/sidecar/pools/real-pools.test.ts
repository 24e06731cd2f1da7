/** Pools in the cgroups that this machine has: what they hold back, whom they end, and that nothing is left. */

import { type ChildProcess, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { OwnedPoolGroups } from '../../../sidecar/pools/cgroup-pools.ts'
import type { VmShare } from '../../../sidecar/pools/pool-groups.ts'
import { until } from '../../helpers/until.ts'
import {
  CREATED_AT,
  foldersOf,
  HOLDER,
  hold,
  MIB,
  readPids,
  realGroupsFor,
  runIn,
  SPIN,
  whyNotReal,
} from './real-groups.ts'

const skip = whyNotReal()
const SHARE: VmShare = { weight: 100, memoryLowBytes: 0 }
const ROOMY = { cpuMillis: 2_000, memoryBytes: 1_024 * MIB }
const KEY = (name: string) => `${name}-20260131T120000123Z`

const vm = (name: string) => ({ name, createdAt: CREATED_AT })
const spin = (t: Test, groups: readonly string[]) => runIn(t, groups, ['/bin/sh', '-c', SPIN])

/** CPU seconds that an action takes in a pool, and seconds that it takes. */
async function cpuOf(groups: OwnedPoolGroups, pool: string, act: () => Promise<unknown>) {
  const [start, before] = [performance.now(), (await groups.samplePool(pool))?.cpuSeconds ?? Number.NaN]
  await act()
  const after = (await groups.samplePool(pool))?.cpuSeconds ?? Number.NaN
  return { cpu: after - before, seconds: (performance.now() - start) / 1_000 }
}

t.test('holds the cap of a pool over all its VMs, and not that of another', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t)
  await groups.setPool('half', { ...ROOMY, cpuMillis: 500 })
  await groups.setPool('other', ROOMY)
  for (const name of ['a', 'b']) spin(t, (await groups.openVm('half', vm(name), SHARE)).vmm)
  const other = await groups.openVm('other', vm('c'), SHARE)
  spin(t, other.vmm)
  await until(async () => ((await groups.samplePool('half'))?.cpuSeconds ?? 0) > 0.2, 'it has begun')
  const before = (await other.sampleUsage())?.cpuSeconds ?? 0
  const { cpu, seconds } = await cpuOf(groups, 'half', () => sleep(6_000))
  const share = cpu / seconds
  t.ok(share < 0.525, `${cpu} s of CPU in ${seconds} s, wanted half of it`)
  // What else the machine does at the time takes from both.
  t.ok(share > 0.05, `a share of ${share}`)
  const used = ((await other.sampleUsage())?.cpuSeconds ?? 0) - before
  t.ok(used > cpu * 0.6, `the other pool got ${used} s of CPU meanwhile`)
  t.comment(`share ${share.toFixed(4)}, other ${(used / seconds).toFixed(3)}`)
})

t.test('shares one CPU by weight, and anew when a weight changes', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t)
  await groups.setPool('one', ROOMY)
  const [big, small] = [
    await groups.openVm('one', vm('big'), { ...SHARE, weight: 300 }),
    await groups.openVm('one', vm('small'), SHARE),
  ]
  for (const { vmm } of [big, small]) runIn(t, vmm, ['taskset', '-c', '0', '/bin/sh', '-c', SPIN])
  const usages = async () =>
    Promise.all([big, small].map(async (one) => (await one.sampleUsage())?.cpuSeconds ?? 0))
  const ratio = async () => {
    const [before, after] = [await usages(), await sleep(4_000).then(usages)]
    return ((after[0] ?? 0) - (before[0] ?? 0)) / ((after[1] ?? 0) - (before[1] ?? 0))
  }
  await until(async () => (await usages()).every((one) => one > 0.05), 'both have begun')
  // Whatever else runs on that CPU may disturb a measurement, but hardly three of them.
  const isWithin = async (least: number, most: number) => {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const measured = await ratio()
      t.comment(`${measured.toFixed(2)} to 1`)
      if (measured > least && measured < most) return true
    }
    return false
  }
  t.ok(await isWithin(2.4, 3.6), 'wanted 3 to 1')
  await big.setShare(SHARE)
  t.ok(await isWithin(0.75, 1.33), 'wanted 1 to 1')
})

t.test('kills for memory inside of the pool only', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t)
  await groups.setPool('tight', { ...ROOMY, memoryBytes: 96 * MIB })
  await groups.setPool('roomy', ROOMY)
  const holder = async (pool: string, name: string) =>
    runIn(t, (await groups.openVm(pool, vm(name), SHARE)).vmm, HOLDER)
  const [greedy, modest] = [await holder('tight', 'greedy'), await holder('tight', 'modest')]
  const other = await holder('roomy', 'other')
  await hold(other, 200 * MIB)
  await hold(modest, 10 * MIB)
  const usage = await groups.samplePool('roomy')
  t.ok((usage?.memoryBytes ?? 0) > 200 * MIB, 'memory is counted')
  const killed = once(greedy, 'exit')
  await hold(greedy, 200 * MIB)
  t.match(await killed, [null, 'SIGKILL'])
  t.same([modest, other].map(stateOf), ['runs', 'runs'])
})

function stateOf({ exitCode, signalCode }: ChildProcess): string {
  return signalCode ?? (exitCode === null ? 'runs' : `code ${exitCode}`)
}

t.test('bounds a fork bomb, while another pool may fork', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t, { pids: 40 })
  for (const pool of ['bombed', 'other']) await groups.setPool(pool, ROOMY)
  const [bombed, other] = [
    await groups.openVm('bombed', vm('a'), SHARE),
    await groups.openVm('other', vm('a'), SHARE),
  ]
  const bomb = runIn(t, bombed.vmm, [
    '/bin/sh',
    '-c',
    'i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done',
  ])
  let complaint = ''
  bomb.stderr?.on('data', (text) => {
    complaint += text
  })
  await once(bomb, 'exit')
  t.match(complaint, /fork|unavailable/i)
  const [leaf = ''] = foldersOf(bombed).map((folder) => join(folder, 'vmm'))
  t.ok(readPids(leaf).length <= 40, `${readPids(leaf).length} processes`)
  const friend = runIn(t, other.vmm, ['/bin/sh', '-c', 'for i in 1 2 3; do sleep 0.01 & done; wait'])
  t.match(await once(friend, 'exit'), [0, null])
  await bombed.remove()
  t.same(foldersOf(bombed).filter(existsSync), [], 'all of it is gone')
})

t.test('ends all that a VM started, frozen or not, and removes its groups', { skip }, async (t) => {
  const { groups, reopen } = await realGroupsFor(t)
  await groups.setPool('tasks', ROOMY)
  const group = await groups.openVm('tasks', vm('one'), SHARE)
  const child = runIn(t, group.vmm, ['/bin/sh', '-c', 'setsid sleep 100 & setsid sleep 100 & wait'])
  const disk = runIn(t, group.disk, ['sleep', '100'])
  const leaves = foldersOf(group)
    .slice(0, 1)
    .flatMap((folder) => ['vmm', 'disk'].map((leaf) => join(folder, leaf)))
  await until(() => leaves.map((leaf) => readPids(leaf).length).join() === '3,1', 'all have entered')
  t.equal(await group.freeze(true), true)
  const again = await reopen()
  t.same([...(await again.listVms())], [['tasks', [KEY('one')]]], 'is found again')
  await again.setPool('tasks', ROOMY)
  t.same(await again.openVm('tasks', vm('one'), SHARE).then(({ vmm }) => vmm), group.vmm, 'and is the same')
  const ends = [child, disk].map((one) => once(one, 'exit'))
  await again.removeVm('tasks', KEY('one'))
  t.match(await Promise.all(ends), [
    [null, 'SIGKILL'],
    [null, 'SIGKILL'],
  ])
  t.same(foldersOf(group).filter(existsSync), [])
  await group.remove()
  t.same([...(await groups.listVms())], [['tasks', []]], 'removing twice is harmless')
  t.equal(await group.sampleUsage(), undefined)
  t.equal(await group.freeze(true), false)
})

t.test('a frozen VM stands still until it goes on', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t)
  await groups.setPool('p', ROOMY)
  const group = await groups.openVm('p', vm('one'), SHARE)
  spin(t, group.vmm)
  const used = async () => (await group.sampleUsage())?.cpuSeconds ?? 0
  await until(async () => (await used()) > 0.05, 'it has begun')
  t.equal(await group.freeze(true), true)
  const before = await used()
  await sleep(200)
  t.equal(await used(), before)
  t.equal(await group.freeze(false), true)
  await until(async () => (await used()) > before + 0.05, 'it goes on')
})

t.test('changes the limits of a running pool, but kills nobody for it', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t)
  await groups.setPool('p', { ...ROOMY, ioBytesPerSecond: 10 * MIB })
  const holder = runIn(t, (await groups.openVm('p', vm('one'), SHARE)).vmm, HOLDER)
  await hold(holder, 100 * MIB)
  await t.rejects(groups.setPool('p', { cpuMillis: 10, memoryBytes: 64 * MIB }), {
    code: 'pool_group_failed',
  })
  t.equal(stateOf(holder), 'runs')
  t.match(await groups.samplePressure('p'), { limitBytes: 64 * MIB }, 'it is held to the new limit')
  await hold(holder, 10 * MIB)
  await groups.setPool('p', { cpuMillis: 300, memoryBytes: 64 * MIB })
  const pressure = await groups.samplePressure('p')
  t.match(pressure, { memorySome: Number, limitBytes: 64 * MIB })
  t.ok((pressure?.memoryBytes ?? 0) > 10 * MIB && (pressure?.memoryBytes ?? 0) < 64 * MIB)
})

t.test('tells of pressure, and drops what is not needed when it is asked', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t)
  await groups.setPool('p', { ...ROOMY, memoryBytes: 64 * MIB })
  const group = await groups.openVm('p', vm('one'), SHARE)
  const file = join(t.testdir(), 'big')
  const write = (count: number) => [
    'dd',
    'if=/dev/zero',
    `of=${file}`,
    'bs=1M',
    `count=${count}`,
    'conv=notrunc',
  ]
  await once(runIn(t, group.vmm, write(48)), 'exit')
  execFileSync('sync', [file])
  const cached = (await groups.samplePool('p'))?.memoryBytes ?? 0
  t.ok(cached > 40 * MIB, `${cached} bytes are in use`)
  t.ok(((await groups.samplePressure('p'))?.memoryBytes ?? cached) < 8 * MIB, 'of which nothing is needed')
  t.equal(await groups.reclaim('p', 64 * MIB), true)
  const left = (await groups.samplePool('p'))?.memoryBytes ?? cached
  t.ok(left < 8 * MIB, `${left} bytes are left`)
})

t.test('limits the direct reads and writes of a pool', { skip }, async (t) => {
  const { groups } = await realGroupsFor(t)
  const group = async (ioBytesPerSecond?: number) => {
    await groups.setPool('p', { ...ROOMY, ...(ioBytesPerSecond && { ioBytesPerSecond }) })
    return groups.openVm('p', vm('one'), SHARE)
  }
  const file = join(t.testdir(), 'big')
  const seconds = async (ioBytesPerSecond?: number) => {
    const { disk } = await group(ioBytesPerSecond)
    const start = performance.now()
    const dd = runIn(t, disk, ['dd', 'if=/dev/zero', `of=${file}`, 'bs=64K', 'count=128', 'oflag=direct'])
    t.match(await once(dd, 'exit'), [0, null])
    return (performance.now() - start) / 1_000
  }
  const slow = await seconds(4 * MIB)
  t.ok(slow > 1.6 && slow < 4, `8 MiB at 4 MiB/s took ${slow} s`)
  const fast = await seconds()
  t.ok(fast < slow / 2, `${fast} s without the limit`)
})

t.test('takes no name that is none, and leaves nothing behind', { skip }, async (t) => {
  const { groups, roots } = await realGroupsFor(t)
  for (const name of ['', '..', 'a/b', 'A', 'a.b', 'x'.repeat(64)]) {
    await t.rejects(groups.setPool(name, ROOMY), { code: 'pool_group_failed' }, name)
    await t.rejects(groups.openVm('p', { name, createdAt: CREATED_AT }, SHARE), { code: 'vm_name' })
    await t.rejects(groups.removeVm('p', `../${name}-1Z`), { code: 'pool_group_failed' })
  }
  await t.rejects(groups.openVm('absent', vm('one'), SHARE), { code: 'pool_group_failed' }, 'has no limits')
  await groups.setPool('p', ROOMY)
  const { vmm, remove } = await groups.openVm('p', vm('one'), SHARE)
  await t.rejects(groups.removePool('p'), { code: 'pool_group_failed' }, 'has a VM')
  await groups[Symbol.asyncDispose]()
  t.ok(vmm.every(existsSync), 'a VM outlives us')
  await remove()
  await groups.removePool('p')
  await groups.removePool('p')
  await groups[Symbol.asyncDispose]()
  t.same(
    roots
      .filter(existsSync)
      .flatMap((root) => readdirSync(root, { withFileTypes: true }).filter((one) => one.isDirectory())),
    [],
  )
})
