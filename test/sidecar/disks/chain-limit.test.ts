/** When a cut adds a layer, and when a chain is long enough. */

import t from 'tap'
import { until } from '../../helpers/until.ts'
import { cannotServe, diskSceneFor, MIB, vmOf } from './disk-scene.ts'

const skip = { skip: cannotServe }
t.setTimeout(110_000)

for (const state of ['served', 'at rest'] as const)
  t.test(`a disk that is ${state} gets no layer while nothing is written to it`, skip, async (t) => {
    const { make, open, read, write, copy, folder, disks } = await diskSceneFor(t)
    await make('a')
    const served = await open('a')
    await write('a', 0, 1)
    if (state === 'at rest') await served.close()
    for (const id of ['one', 'two']) await disks.takeSnapshot(vmOf('a'), id)
    for (const name of ['b', 'c']) await copy('a', name)
    t.equal(folder.manifestOf('a').layers.length, 2)
    t.same((await disks.listSnapshots(vmOf('a'))).toSorted(), ['one', 'two'])
    if (state === 'at rest') await open('a')
    await write('a', 0, 2)
    await disks.takeSnapshot(vmOf('a'), 'three')
    await write('a', 0, 3)
    for (const id of ['one', 'two', 'three']) await copy('a', id, id)
    for (const name of ['a', 'b', 'c', 'one', 'two', 'three']) if (name !== 'a') await open(name)
    const seen: number[] = []
    for (const name of ['a', 'b', 'c', 'one', 'two', 'three']) seen.push(await read(name, 0))
    t.same(seen, [3, 1, 1, 1, 1, 2])
  })

t.test(
  'every write that was answered is in the next snapshot, however small and wherever',
  skip,
  async (t) => {
    const { make, open, copy, folder, disks } = await diskSceneFor(t)
    await make('a')
    await open('a')
    const disk = await folder.connect('a')
    for (let index = 0; index < 30; index += 1) {
      const block = Buffer.alloc(512, index + 1)
      if (index % 3 === 2) await disk.discard(0, 131_072)
      else await disk.write(index * 30 * MIB, block)
      await disks.takeSnapshot(vmOf('a'), `s${index}`)
    }
    disk.close()
    t.equal(folder.manifestOf('a').layers.length, 31)
    for (const index of [0, 1, 3, 16, 28]) {
      await copy('a', `c${index}`, `s${index}`)
      await open(`c${index}`)
      const seen = await folder.connect(`c${index}`)
      t.same(await seen.read(index * 30 * MIB, 512), Buffer.alloc(512, index + 1), `snapshot ${index}`)
      seen.close()
    }
  },
)

t.test('a chain of 64 layers gets no more until its disk was at rest', skip, async (t) => {
  const { make, open, read, write, copy, folder, disks } = await diskSceneFor(t)
  await make('a')
  const served = await open('a')
  for (let index = 0; index < 63; index += 1) {
    await write('a', index * 65_536, index + 1)
    await disks.takeSnapshot(vmOf('a'), `s${index}`)
  }
  await disks.takeSnapshot(vmOf('a'), 'same')
  await write('a', 63 * 65_536, 64)
  await t.rejects(disks.takeSnapshot(vmOf('a'), 'late'), {
    code: 'disk_chain_long',
    message: /The disk has 64 layers/,
  })
  await t.rejects(copy('a', 'b'), { code: 'disk_chain_long' })
  t.equal(await read('a', 63 * 65_536), 64, 'it goes on')
  t.equal(folder.layerFiles().length, 64, 'nothing is left of what was refused')
  await served.close()
  await until(() => folder.manifestOf('a').layers.length <= 8, 'the chain is short', 60_000)
  await disks.takeSnapshot(vmOf('a'), 'late')
  await copy('a', 'b')
  await open('b')
  for (const index of [0, 30, 62, 63]) t.equal(await read('b', index * 65_536), index + 1)
})
