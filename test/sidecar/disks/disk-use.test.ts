/** What disks are counted for. */

import t from 'tap'
import { keyOfVm } from '../../../sidecar/vm-id.ts'
import { cannotServe, diskSceneFor, MIB, POOL, vmOf } from './disk-scene.ts'

const skip = { skip: cannotServe }

t.test('each layer counts once for the pool, and for a VM only what it alone needs', skip, async (t) => {
  const { make, open, write, folder, disks, copy } = await diskSceneFor(t)
  await make('a')
  const first = await open('a')
  const disk = await folder.connect('a')
  await disk.write(0, Buffer.alloc(8 * MIB, 1))
  disk.close()
  await first.close()
  for (const name of ['b', 'c', 'd']) await copy('a', name)
  const whole = await disks.measurePool(POOL)
  t.ok(whole > 8 * MIB && whole < 11 * MIB, String(whole))
  t.ok((await disks.measure(vmOf('a'))) < 2 * MIB)
  for (const name of ['b', 'c', 'd']) await disks.remove(vmOf(name))
  t.ok((await disks.measure(vmOf('a'))) > 8 * MIB)
  t.equal(await disks.measurePool(POOL, (key) => key === keyOfVm(vmOf('a'))), 0, 'not of a deleted VM')
  await disks.takeSnapshot(vmOf('a'), 'one')
  await disks.takeSnapshot(vmOf('a'), 'two')
  await disks.restore(vmOf('a'), { id: 'one', keepAs: 'kept' })
  await open('a')
  await write('a', 0, 1)
  await disks.takeSnapshot(vmOf('a'), 'three')
  const all = await disks.measurePool(POOL)
  const isDeleted = (id: string) => disks.measurePool(POOL, (_key, snapshot) => snapshot === id)
  t.equal(await isDeleted('three'), all, 'the disk stands on it')
  t.ok((await isDeleted('kept')) < all, 'not of a deleted snapshot')
})

t.test('what a guest discards is given back to its pool, and reads as zeros', skip, async (t) => {
  const { make, open, read, folder, disks } = await diskSceneFor(t)
  await make('a')
  await open('a')
  const disk = await folder.connect('a')
  await disk.write(0, Buffer.alloc(8 * MIB, 1))
  await disk.flush()
  const full = await disks.measurePool(POOL)
  await disk.discard(0, 8 * MIB)
  await disk.flush()
  t.ok((await disks.measurePool(POOL)) < full - 7 * MIB)
  t.equal(await read('a', 0), 0)
  disk.close()
})
