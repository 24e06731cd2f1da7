/** Copies, snapshots, restores and long chains while a writer runs: every point holds a consistent prefix. */

import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { until } from '../../helpers/until.ts'
import { cannotServe, type DiskScene, diskSceneFor, endDaemons, GIB, vmOf } from './disk-scene.ts'
import { readOrder, startOrderedWriter } from './ordered-writer.ts'

const skip = { skip: cannotServe }
t.setTimeout(110_000)

async function orderOf({ folder, open, disks }: DiskScene, name: string) {
  const served = (await disks.adopt(vmOf(name), folder.runOf(name))) ?? (await open(name))
  const disk = await folder.connect(name)
  const order = await readOrder(disk)
  disk.close()
  await served.close()
  return order
}

t.test('every copy and snapshot of a disk that is written holds a consistent prefix', skip, async (t) => {
  const scene = await diskSceneFor(t)
  const { make, open, copy, folder, disks } = scene
  await make('a', 20 * GIB)
  const source = await open('a')
  const disk = await folder.connect('a')
  const writer = startOrderedWriter(disk)
  const points: { name: string; before: number; after: number }[] = []
  const times: number[] = []
  for (let index = 0; index < 20; index += 1) {
    const before = writer.written
    await until(() => writer.written > before + 2, 'the writer writes on')
    const floor = writer.written
    const started = performance.now()
    if (index % 2 === 0) await copy('a', `c${index}`)
    else await disks.takeSnapshot(vmOf('a'), `s${index}`)
    times.push(performance.now() - started)
    points.push({ name: `${index}`, before: floor, after: writer.written })
  }
  await writer.stop()
  const last = writer.written
  t.equal((await readOrder(disk)).second, last)
  disk.close()
  await source.close()
  for (const [index, { before, after }] of points.entries()) {
    const name = `c${index}`
    if (index % 2 === 1) await copy('a', name, `s${index}`)
    const { first, second } = await orderOf(scene, name)
    t.ok(first === second || first === second + 1, `${name}: ${first}, ${second}`)
    t.ok(second >= before && second <= after + 1, `${name}: ${before} <= ${second} <= ${after}`)
  }
  t.same(await orderOf(scene, 'a'), { first: last, second: last })
  await disks[Symbol.asyncDispose]()
  t.same(folder.checkLayers(), [])
  const median = times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0
  t.ok(median < 300, `median ${Math.round(median)} ms`)
})

t.test(
  'a chain that grew long under a writer becomes short once nobody serves it; its snapshots stay',
  skip,
  async (t) => {
    const scene = await diskSceneFor(t)
    const { make, open, copy, folder, disks } = scene
    await make('a')
    const source = await open('a')
    const disk = await folder.connect('a')
    const writer = startOrderedWriter(disk)
    const floors: number[] = []
    for (let index = 0; index < 14; index += 1) {
      const floor = writer.written
      floors.push(floor)
      await until(() => writer.written > floor, 'the writer writes on')
      await disks.takeSnapshot(vmOf('a'), `s${index}`)
    }
    await writer.stop()
    const last = writer.written
    disk.close()
    t.equal(folder.manifestOf('a').layers.length, 15, 'not while it is served')
    await source.close()
    await until(() => folder.manifestOf('a').layers.length <= 8, 'the chain is short')
    for (const index of [0, 5, 9, 13]) {
      await copy('a', `c${index}`, `s${index}`)
      const { first, second } = await orderOf(scene, `c${index}`)
      t.ok(first === second || first === second + 1, `s${index}: ${first}, ${second}`)
      t.ok(second >= (floors[index] ?? 0))
    }
    t.same(await orderOf(scene, 'a'), { first: last, second: last })
    for (let index = 0; index < 14; index += 1) await disks.deleteSnapshot(vmOf('a'), `s${index}`)
    t.same(await orderOf(scene, 'a'), { first: last, second: last }, 'also when the snapshots are gone')
    await disks[Symbol.asyncDispose]()
    t.same(folder.checkLayers(), [])
  },
)

t.test(
  'a long chain that nobody serves becomes short too, also when a VM wants the disk meanwhile',
  skip,
  async (t) => {
    const scene = await diskSceneFor(t, { shortenBytesPerSecond: 100_000 })
    const { make, open, write, read, folder, disks } = scene
    await make('a')
    for (let index = 0; index < 8; index += 1) {
      const served = await open('a')
      await write('a', index * 1_048_576, index + 1)
      await served.close()
      await disks.takeSnapshot(vmOf('a'), `s${index}`)
    }
    await until(() => folder.pidOf('a') !== undefined, 'it is being shortened')
    const served = await open('a')
    t.equal(folder.manifestOf('a').layers.length, 9)
    for (let index = 0; index < 7; index += 1) t.equal(await read('a', index * 1_048_576), index + 1)
    await served.close()
    await disks[Symbol.asyncDispose]()
    await using again = await folder.start()
    await until(() => folder.manifestOf('a').layers.length <= 8, 'the chain is short')
    await until(() => folder.pidOf('a') === undefined, 'the process has ended')
    await again.open(vmOf('a'), folder.runOf('a'))
    for (let index = 0; index < 7; index += 1) t.equal(await read('a', index * 1_048_576), index + 1)
  },
)

t.test('after the process is killed under the writer the disk has all that was flushed', skip, async (t) => {
  const scene = await diskSceneFor(t)
  const { make, open, folder, disks } = scene
  await make('a')
  let last = 0
  for (let kill = 0; kill < 10; kill += 1) {
    const served = await open('a')
    const disk = await folder.connect('a')
    const writer = startOrderedWriter(disk, last)
    const cutting = disks.takeSnapshot(vmOf('a'), `s${kill}`).catch(() => undefined)
    await until(() => writer.written > last + 3 + kill * 2, 'the writer writes')
    if (kill % 3 === 0) await cutting
    endDaemons(folder)
    await served.exited
    await t.rejects(writer.stop())
    await cutting
    const { first, second } = await orderOf(scene, 'a')
    t.ok(
      second >= writer.written && first >= second && first - second <= 1,
      `${writer.written}: ${first}, ${second}`,
    )
    last = first
  }
  await disks[Symbol.asyncDispose]()
  t.same(folder.checkLayers(), [])
})

const noMount = process.getuid?.() !== 0 && 'mounting needs root'

t.test(
  'a full disk refuses a snapshot and a copy, and nothing is lost',
  { skip: cannotServe || noMount },
  async (t) => {
    const scene = await diskSceneFor(t)
    const small = join(scene.folder.path, 'disks', 'pool')
    mkdirSync(small, { recursive: true })
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', small])
    t.equal(mounted.status, 0, 'a tmpfs is mounted')
    t.teardown(() => spawnSync('umount', ['-l', small]))
    const { make, open, write, read, copy, folder, disks } = scene
    await make('a')
    const served = await open('a')
    await write('a', 0, 1)
    const disk = await folder.connect('a')
    const fill = async () => {
      for (let at = 16; at < 96; at += 1) await disk.write(at * 131_072, Buffer.alloc(131_072, 7))
    }
    await t.rejects(fill(), /failed/)
    await t.rejects(disks.takeSnapshot(vmOf('a'), 'one'), { code: 'disk_failed' })
    await t.rejects(copy('a', 'b'), { code: 'disk_failed' })
    t.equal(await read('a', 0), 1)
    disk.close()
    spawnSync('mount', ['-o', 'remount,size=64m', small])
    await disks.takeSnapshot(vmOf('a'), 'one')
    t.same(await disks.listSnapshots(vmOf('a')), ['one'])
    await served.close()
    t.same(folder.checkLayers(), [])
  },
)
