/** The small parts of the cgroup drivers: mounts, quotas, shares, disks. */

import { mkdirSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findBlockDevice, toDeviceNumbers } from '../../../sidecar/pools/block-device.ts'
import { toCpuQuota } from '../../../sidecar/pools/cgroup-dialect.ts'
import { createHybridDialect } from '../../../sidecar/pools/cgroup-hybrid.ts'
import { parseCgroupMounts } from '../../../sidecar/pools/cgroup-mounts.ts'

t.test('finds where hierarchies are mounted', (t) => {
  const hybrid = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 24 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
31 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
32 24 0:29 / /sys/fs/c\\040g/memory rw - cgroup cgroup rw,memory
33 24 0:29 / /elsewhere rw - cgroup cgroup rw,memory
broken`
  const { unified, v1 } = parseCgroupMounts(hybrid)
  t.equal(unified, '/sys/fs/cgroup/unified')
  t.equal(v1.get('cpu'), '/sys/fs/cgroup/cpu,cpuacct')
  t.equal(v1.get('memory'), '/sys/fs/c g/memory')
  t.equal(v1.get('pids'), undefined)
  t.equal(parseCgroupMounts('').unified, undefined)
  t.end()
})

t.test('a quota is the share of a period that the kernel takes', (t) => {
  const cases: [number, number, number][] = [
    [2_000, 100_000, 50_000],
    [500, 25_000, 50_000],
    [20, 1_000, 50_000],
    [10, 1_000, 100_000],
    [1, 1_000, 1_000_000],
    [0, 1_000, 1_000_000],
  ]
  for (const [cpuMillis, quotaMicros, periodMicros] of cases) {
    t.same(toCpuQuota(cpuMillis), { quotaMicros, periodMicros }, `${cpuMillis}`)
  }
  t.end()
})

t.test('v1 has shares for weights, and the limit on I/O where no VM has a group', (t) => {
  const trees = { unified: '/u', cpu: '/c', memory: '/m', pids: '/p', blkio: '/b' }
  const { toVmFiles, toPoolFiles, ...dialect } = createHybridDialect(trees, { device: '8:0', pids: 9 })
  const shares = (weight: number) => toVmFiles({ weight, memoryLowBytes: 0 })[0]?.value
  t.same([1, 100, 10_000].map(shares), ['10', '1024', '102400'])
  t.same([dialect.trees, dialect.flatTrees], [['/u', '/c', '/m', '/p'], ['/b']])
  const writes = toPoolFiles({ cpuMillis: 1_000, memoryBytes: 1, ioBytesPerSecond: 5 })
  t.same(
    writes.map(({ tree, file, value }) => `${tree}/${file} ${value}`),
    [
      '/c/cpu.cfs_burst_us 0',
      '/c/cpu.cfs_period_us 50000',
      '/c/cpu.cfs_quota_us 50000',
      '/c/cpu.cfs_burst_us 50000',
      '/p/pids.max 9',
      '/b/blkio.throttle.read_bps_device 8:0 5',
      '/b/blkio.throttle.write_bps_device 8:0 5',
    ],
  )
  const shared = createHybridDialect({ ...trees, memory: '/c', pids: '/c' }, { pids: 9 })
  t.same(shared.trees, ['/u', '/c'], 'controllers that share a hierarchy share a group')
  t.end()
})

t.test('names the disk of a folder, and for a partition its disk', async (t) => {
  t.equal(toDeviceNumbers(65_024n), '254:0')
  t.equal(toDeviceNumbers(0x1000_0010_0323n), '4099:291', 'numbers above 8 and 12 bits')
  const folder = t.testdir()
  const numbers = toDeviceNumbers(statSync(folder, { bigint: true }).dev)
  t.equal(await findBlockDevice(folder, join(folder, 'none')), undefined)
  const sys = t.testdir({
    disk: { dev: '8:0\n', sda1: { dev: '8:1\n', partition: '1\n' } },
    dev: {},
  })
  mkdirSync(join(sys, 'dev/block'))
  symlinkSync(join(sys, 'disk/sda1'), join(sys, 'dev/block', numbers))
  t.equal(await findBlockDevice(sys, sys), '8:0')
})
