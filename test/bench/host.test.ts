/** The host benchmark without a guest: the program that times blocks, the network that is far away, what is said of the times. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { toSvg } from '../../bench/frame/bar-chart.ts'
import { assemble } from '../../bench/host/assembly.ts'
import { measureRoundTrips, startDelayProxy } from '../../bench/host/delay-proxy.ts'
import { BLOCK_BYTES, parseJobOutput, toIoProgram, toJobInput } from '../../bench/host/io-program.ts'
import type { Latency } from '../../bench/host/latency.ts'
import { connectNbd } from '../../bench/host/nbd-client.ts'
import { type HostMeasured, type Line, toChart, toLines, toRows, toTable } from '../../bench/host/report.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { until } from '../helpers/until.ts'

const MIB = 1_048_576

t.test('a jump leads to its label, forwards and backwards', (t) => {
  const nop = Buffer.from([0x90])
  const program = assemble([
    { label: 'start' },
    nop,
    { jump: 'if equal', to: 'end' },
    { jump: 'always', to: 'start' },
    { label: 'end' },
  ])
  t.equal(program.toString('hex'), '900f8405000000e9f4ffffff')
  t.throws(() => assemble([{ jump: 'always', to: 'nowhere' }]), /nowhere/)
  t.end()
})

t.test('the program writes and reads the blocks that it is told, and times each', (t) => {
  const folder = t.testdir()
  const [program, disk] = [join(folder, 'io'), join(folder, 'disk')]
  writeFileSync(program, toIoProgram())
  chmodSync(program, 0o755)
  writeFileSync(disk, Buffer.alloc(MIB))
  const blocks = [7, 255, 0, 7]
  for (const operation of ['write', 'durable write', 'read'] as const) {
    const job = { operation, isDirect: false, blocks, tag: operation === 'read' ? 4_095 : 12 }
    const { status, stdout } = spawnSync(program, [disk], { input: toJobInput(job) })
    t.equal(status, 0)
    const timed = parseJobOutput(stdout, job)
    t.same(
      timed.map(({ block, tag }) => ({ block, tag })),
      blocks.map((block) => ({ block, tag: 12 })),
    )
    t.ok(timed.every(({ nanos }) => nanos > 0 && nanos < 10_000_000_000))
  }
  t.equal(readFileSync(disk).readBigUInt64LE(255 * BLOCK_BYTES), 255n * 4_096n + 12n)
  t.equal(readFileSync(disk).readBigUInt64LE(1 * BLOCK_BYTES), 0n)
  t.end()
})

t.test('the program fails at a block that is not there, at half a mark, and without a disk', (t) => {
  const folder = t.testdir()
  const [program, disk] = [join(folder, 'io'), join(folder, 'disk')]
  writeFileSync(program, toIoProgram())
  chmodSync(program, 0o755)
  writeFileSync(disk, Buffer.alloc(MIB))
  const job = { operation: 'read', isDirect: false, blocks: [1, 256], tag: 1 } as const
  const input = toJobInput(job)
  const past = spawnSync(program, [disk], { input })
  t.equal(past.status, 1)
  t.throws(() => parseJobOutput(past.stdout, job), /1 of 2 blocks/)
  t.equal(spawnSync(program, [disk], { input: input.subarray(0, -12) }).status, 1)
  t.equal(spawnSync(program, [join(folder, 'none')], { input }).status, 1)
  t.end()
})

t.test('the delaying proxy holds bytes back each way, changes none, and counts them', async (t) => {
  const times = await measureRoundTrips(5, 5)
  t.ok(
    times.every((ms) => ms >= 10),
    times.join(),
  )
  await using echo = createServer((socket) => void socket.pipe(socket)).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const address = echo.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  await using proxy = await startDelayProxy({ targetPort: address.port, oneWayMs: 1 })
  const socket = connect(proxy.port, '127.0.0.1')
  const sent = Buffer.alloc(300_000, 'landfall')
  socket.end(sent)
  t.ok(sent.equals(Buffer.concat(await socket.toArray())))
  t.equal(await proxy.countBytes(), sent.length)
})

t.test('the NBD client reads what it wrote, and says when it is refused', async (t) => {
  const folder = t.testdir()
  writeFileSync(join(folder, 'disk'), Buffer.alloc(MIB))
  const port = await findFreePort()
  const daemon = spawn(
    'qemu-storage-daemon',
    [
      ...['--blockdev', 'driver=file,node-name=disk,filename=disk'],
      ...['--nbd-server', `addr.type=inet,addr.host=127.0.0.1,addr.port=${port}`],
      ...['--export', 'nbd,id=disk,node-name=disk,writable=on', '--pidfile', 'up'],
    ],
    { cwd: folder, stdio: 'inherit' },
  )
  t.teardown(() => void daemon.kill('SIGKILL'))
  await until(() => existsSync(join(folder, 'up')), 'the daemon serves')
  using client = await connectNbd(port, 'disk')
  t.match(await client.run('read', 3, 0), { block: 0, tag: 0 })
  await client.run('write', 3, 9)
  await client.run('durable write', 4, 10)
  t.match(await client.run('read', 3, 0), { block: 3, tag: 9 })
  t.match(await client.run('read', 4, 0), { block: 4, tag: 10 })
  t.equal(readFileSync(join(folder, 'disk')).readBigUInt64LE(3 * BLOCK_BYTES), 3n * 4_096n + 9n)
  await t.rejects(client.run('read', 256, 0), /refused a read/)
})

function latenciesOf(near: number, far: number): Latency[] {
  return (['read', 'write', 'durable write'] as const).flatMap((operation) =>
    (['guest', 'host'] as const).flatMap((place) => [
      { operation, place, way: 'near' as const, times: [near, near, near * 2] },
      { operation, place, way: 'far' as const, times: [far, far, far * 2] },
    ]),
  )
}

function measuredOf(near: number, far: number): HostMeasured {
  const [created, saved, suspended] = [[3_501], [199, 200, 900], [250]]
  const copies = { copied: [42], reachable: [2_000], snapshots: [301] }
  const woken = Array.from({ length: 100 }, (_, index) => 301 + index)
  return {
    times: { created, saved, suspended, woken, wokenToHello: [500], ...copies },
    stopped: { residentKibPerVm: -1.5, groupKibPerVm: 132, moreProcesses: 0 },
    latencies: { latencies: latenciesOf(near, far), nullMs: [0.005], roundTripMs: 1.05 },
  }
}

const lineOf = (lines: readonly string[], start: string) => lines.find((line) => line.startsWith(start))

t.test('the table says whether each target is met', (t) => {
  const lines = toTable(toLines(measuredOf(0.2, 2))).map((cells) => cells.join('|'))
  t.equal(lineOf(lines, 'create to'), 'create to reachable|p50 of 1|3501|ms|at most 3500 ms: not met')
  t.equal(lineOf(lines, 'wake on'), 'wake on request|p50 of 100|350|ms|at most 350 ms: met')
  t.equal(lineOf(lines, '|p99 of 100'), '|p99 of 100|399|ms|at most 700 ms: met')
  t.match(lineOf(lines, 'suspend: '), '|p50 of 3|200|ms|at most 200 ms: met')
  t.match(lineOf(lines, 'copy of 20 GiB'), '|p50 of 1|42|ms|at most 300 ms: met')
  t.match(lineOf(lines, 'snapshot'), '|301|ms|at most 300 ms: not met')
  t.match(lineOf(lines, '100 stopped VMs'), '|-1.5|KiB/VM|at most 131 KiB/VM: met')
  t.equal(lineOf(lines, '|cgroups'), '|cgroups of the pools|132.0|KiB/VM|at most 131 KiB/VM: not met')
  t.equal(lines.filter((line) => line === '|factor, p50|10.0|×|at least 10×: met').length, 3)
  t.equal(lines.filter((line) => line === '|factor, p50|10.0|×|').length, 3, 'on the host there is no target')
  const slower = toTable(toLines(measuredOf(0.2, 1.98))).map((cells) => cells.join('|'))
  t.equal(slower.filter((line) => line === '|factor, p50|9.9|×|at least 10×: not met').length, 3)
  t.end()
})

t.test('every line has a row with its target', (t) => {
  const lines = toLines(measuredOf(0.2, 2))
  const rows = toRows(lines)
  t.equal(rows.length, lines.length)
  t.match(rows[0], { measure: 'create to reachable', value: 3_501, unit: 'ms', target: 'at most 3500' })
  t.notOk(rows.some(({ value }) => Number.isNaN(value)))
  t.end()
})

t.test('the picture begins with the disks, and has targets as bars', (t) => {
  const lines: Line[] = toLines(measuredOf(0.2, 2))
  const chart = toChart(lines, 'a machine')
  t.match(chart.groups[0], {
    name: '4 KiB read, in the guest',
    unit: 'ms',
    bars: [
      { name: 'local disk p50', value: 0.2, isOurs: true },
      { name: 'local disk p99', value: 0.4 },
      { name: '1 ms away p50', value: 2, note: '10.0× the local disk', isOurs: false },
      { name: '1 ms away p99', value: 4 },
    ],
  })
  const wake = chart.groups.find(({ name }) => name === 'wake on request')
  t.same(
    wake?.bars.map(({ name, value }) => `${name} ${value}`),
    ['p50 of 100 350', 'target 350', 'p99 of 100 399', 'target 700'],
  )
  t.ok(chart.groups.every(({ bars }) => bars.every(({ value }) => value >= 0)))
  t.notMatch(toSvg(chart), /NaN|width="-/)
  t.end()
})
