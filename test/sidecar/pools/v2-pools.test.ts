/** Pools in the v2 tree, on a strict imitation of it: machines whose v2 tree has controllers are not at hand. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createV2Dialect } from '../../../sidecar/pools/cgroup-v2.ts'
import { openPoolGroups } from '../../../sidecar/pools/open-pool-groups.ts'
import { listLog } from '../vms.ts'
import { createFakeCgroups } from './fake-cgroups.ts'

const MOUNT = '/cg'
const MOUNT_INFO = `30 23 0:26 / ${MOUNT} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n`
const ALL = 'cpuset cpu io memory pids'
const CREATED_AT = '2026-01-31T12:00:00.123Z'
const VM = { name: 'one', createdAt: CREATED_AT }
const KEY = 'one-20260131T120000123Z'
const LIMITS = { cpuMillis: 500, memoryBytes: 1_073_741_824 }
const SHARE = { weight: 200, memoryLowBytes: 4_096 }

async function v2For(t: Test, { controllers = ALL, root = 'landfall', rootPids = [] as string[] } = {}) {
  const fake = createFakeCgroups(MOUNT, controllers, rootPids)
  const { log, lines } = listLog()
  const folder = t.testdir()
  const open = () => openPoolGroups({ log, files: fake.files, mountInfo: MOUNT_INFO }, { root, folder })
  const groups = await open()
  const own = fake.paths().find((path) => /\/[0-9a-f]{8}$/.test(path)) ?? ''
  /** What was written since the last call, below our subtree. */
  const written = () => fake.writes.splice(0).map((line) => line.replace(`${own}/`, ''))
  return { ...fake, groups, open, lines, own, written }
}

t.test('makes pools with limits, and VMs with a share only, in leaves', async (t) => {
  const { groups, written, own, enter } = await v2For(t)
  t.equal(groups.kind, 'v2')
  t.match(written().slice(-3), [
    /^landfall\/cgroup.subtree_control \+cpu \+memory \+pids \+io$/,
    'cgroup.subtree_control +cpu +memory +pids +io',
    'pools/cgroup.subtree_control +cpu +memory +pids +io',
  ])
  await groups.setPool('p', { ...LIMITS, ioBytesPerSecond: 1_000 })
  t.match(
    written().map((line) => line.replace(/^pools\/p\.pool\//, '')),
    [
      'cgroup.subtree_control +cpu +memory +pids +io',
      'cpu.max.burst 0',
      'cpu.max 25000 50000',
      'cpu.max.burst 25000',
      'pids.max 8192',
      /^io.max \d+:\d+ rbps=1000 wbps=1000$/,
      'memory.high 1040187392',
      'memory.max 1073741824',
    ],
  )
  const group = await groups.openVm('p', VM, SHARE)
  const folder = `${MOUNT}/${own}/pools/p.pool/${KEY}`
  t.same(group.vmm, [`${folder}/vmm/cgroup.procs`])
  t.same(group.disk, [`${folder}/disk/cgroup.procs`])
  t.same(
    written().map((line) => line.replace(`pools/p.pool/${KEY}/`, '')),
    ['cpu.weight 200', 'memory.low 4096', 'memory.oom.group 1'],
    'no cap, and no controllers for the leaves',
  )
  await t.resolves(enter(group.vmm[0] ?? '', '4711'))
  await groups.setPool('p', LIMITS)
  t.ok(
    written().some((line) => / rbps=max wbps=max$/.test(line)),
    'takes the limit on I/O away',
  )
})

t.test('reads what groups use, and how much memory they need', async (t) => {
  const { groups, set, own, written } = await v2For(t)
  await groups.setPool('p', LIMITS)
  const group = await groups.openVm('p', VM, SHARE)
  const at = (path: string, file: string, value: string) => set(`${own}/pools/p.pool${path}/${file}`, value)
  at(`/${KEY}`, 'cpu.stat', 'usage_usec 1500000\nuser_usec 1\n')
  at(`/${KEY}`, 'memory.current', '4096\n')
  t.same(await group.sampleUsage(), { cpuSeconds: 1.5, memoryBytes: 4_096 })
  at('', 'memory.current', '1000000\n')
  at('', 'memory.stat', 'anon 1\ninactive_file 400000\n')
  t.same(await groups.samplePressure('p'), { memoryBytes: 600_000, limitBytes: LIMITS.memoryBytes })
  t.equal(await groups.samplePressure('absent'), undefined)
  t.equal(await groups.samplePool('absent'), undefined)
  written()
  t.equal(await groups.reclaim('p', 4_096), true)
  t.same(written(), ['pools/p.pool/memory.reclaim 4096'])
  t.equal(await groups.reclaim('absent', 1), false)
})

t.test('slows a pool that is above its new limit, and does not let it be killed', async (t) => {
  const { groups, set, own, written } = await v2For(t)
  await groups.setPool('p', LIMITS)
  set(`${own}/pools/p.pool/memory.current`, '900000000\n')
  written()
  const smaller = { ...LIMITS, memoryBytes: 800_000_000 }
  await t.rejects(groups.setPool('p', smaller), { code: 'pool_group_failed', detail: /uses 900000000 bytes/ })
  t.same(
    written().filter((line) => /memory\./.test(line)),
    ['pools/p.pool/memory.high 775000000'],
  )
  t.match(await groups.samplePressure('p'), { limitBytes: 800_000_000 })
})

t.test('finds VMs of an earlier process, ends and removes them', async (t) => {
  const { groups, open, enter, pidsIn, own, ...fake } = await v2For(t)
  await groups.setPool('p', LIMITS)
  const group = await groups.openVm('p', VM, SHARE)
  await enter(group.vmm[0] ?? '', '1')
  await enter(group.disk[0] ?? '', '2')
  await fake.files.make(`${MOUNT}/${own}/pools/other`)
  await fake.files.make(`${MOUNT}/${own}/pools/p.pool/No-Key`)
  const again = await open()
  t.same([...(await again.listVms())], [['p', [KEY]]], 'and nothing else')
  t.equal(await (await again.openVm('p', VM, SHARE)).freeze(true), true)
  t.same(pidsIn(`${own}/pools/p.pool/${KEY}/vmm`), ['1'], 'is as it was')
  await again.removeVm('p', KEY)
  t.notOk(fake.paths().some((path) => path.includes(KEY)))
  await fake.files.remove(`${MOUNT}/${own}/pools/p.pool/No-Key`)
  await fake.files.remove(`${MOUNT}/${own}/pools/other`)
  await again[Symbol.asyncDispose]()
  t.same(fake.paths(), ['landfall'])
})

t.test('moves itself out of a delegated group, which may have no processes of its own', async (t) => {
  const root = 'system.slice/landfall.service'
  const fake = createFakeCgroups(MOUNT, ALL)
  await fake.files.write(`${MOUNT}/cgroup.subtree_control`, '+cpu +memory +pids')
  await fake.files.make(`${MOUNT}/system.slice`)
  await fake.files.write(`${MOUNT}/system.slice/cgroup.subtree_control`, '+cpu +memory +pids')
  await fake.files.make(`${MOUNT}/${root}`)
  for (const pid of ['10', '11']) await fake.enter(`${MOUNT}/${root}/cgroup.procs`, pid)
  const { log } = listLog()
  const deps = { log, files: fake.files, mountInfo: MOUNT_INFO }
  const groups = await openPoolGroups(deps, { root, folder: t.testdir() })
  t.equal(groups.kind, 'v2')
  t.same(fake.pidsIn(`${root}/sidecar`), ['10', '11'])
  t.notOk(
    fake.writes.some((line) => line.includes('system.slice/cgroup.subtree_control +io')),
    'asks for no more',
  )
  await groups.setPool('p', { ...LIMITS, ioBytesPerSecond: 1 })
  t.notOk(
    fake.writes.some((line) => line.includes('io.max')),
    'without the controller there is no limit on I/O',
  )
})

t.test('does without cgroups where it has no rights, and says what is needed', async (t) => {
  const cases = [
    { name: 'no controllers anywhere', controllers: '' },
    { name: 'too few controllers', controllers: 'cpu pids' },
  ]
  for (const { name, controllers } of cases) {
    const { groups, lines } = await v2For(t, { controllers })
    t.equal(groups.kind, 'none', name)
    t.match(lines, [{ level: 'warn', message: /Delegate=yes, KillMode=process.*LANDFALL_CGROUP/ }])
  }
  const fake = createFakeCgroups(MOUNT, ALL)
  const make = () => Promise.reject(Object.assign(new Error('EACCES'), { code: 'EACCES' }))
  const { log, lines } = listLog()
  const deps = { log, files: { ...fake.files, make }, mountInfo: MOUNT_INFO }
  const groups = await openPoolGroups(deps, { root: 'landfall', folder: t.testdir() })
  t.equal(groups.kind, 'none')
  t.match(lines, [{ level: 'warn', err: { code: 'EACCES' } }])
  const group = await groups.openVm('p', VM, SHARE)
  t.same(
    [group.vmm, group.disk, await group.sampleUsage(), await group.freeze(true)],
    [[], [], undefined, false],
  )
  for (const act of [
    groups.setPool('p', LIMITS),
    groups.removePool('p'),
    group.setShare(SHARE),
    group.remove(),
  ]) {
    await t.resolves(act)
  }
  t.same([...(await groups.listVms())], [])
  t.equal(await groups.samplePool('p'), undefined)
  t.equal(await groups.samplePressure('p'), undefined)
  t.equal(await groups.reclaim('p', 1), false)
})

t.test('does as the setting says', async (t) => {
  const { groups, lines } = await v2For(t, { root: 'none' })
  t.equal(groups.kind, 'none')
  t.same(lines, [], 'which is no reason for a warning')
  for (const root of ['', '..', '/a', 'a/../b', 'a//b', 'a\nb', 'a/.']) {
    await t.rejects(v2For(t, { root }), { code: 'pool_group_failed' }, root)
  }
})

t.test('two hosts on one machine have groups of their own', async (t) => {
  const fake = createFakeCgroups(MOUNT, ALL)
  const { log } = listLog()
  const folder = t.testdir({ a: {}, b: {} })
  const open = (name: string) =>
    openPoolGroups(
      { log, files: fake.files, mountInfo: MOUNT_INFO },
      { root: 'landfall', folder: join(folder, name) },
    )
  const [one, other] = [await open('a'), await open('b')]
  await one.setPool('p', LIMITS)
  await one.openVm('p', VM, SHARE)
  t.same([...(await other.listVms())], [])
  writeFileSync(join(folder, 'c'), '')
  t.equal((await (await open('a')).listVms()).size, 1)
})

t.test('writes no limit on I/O where the disk is unknown', (t) => {
  const { toPoolFiles } = createV2Dialect('/x', { pids: 10, controllers: ALL })
  const files = toPoolFiles({ ...LIMITS, ioBytesPerSecond: 1 }).map(({ file }) => file)
  t.notOk(files.includes('io.max'))
  t.end()
})
