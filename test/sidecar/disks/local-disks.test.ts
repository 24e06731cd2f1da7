/** Disks with a real storage daemon: what each operation promises. */

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cannotServe, diskSceneFor, endDaemons, GIB, MIB, POOL, TEMPLATE_BYTE, vmOf } from './disk-scene.ts'

const skip = { skip: cannotServe }

t.test('a new disk shows its template and takes what is written, which survives a close', skip, async (t) => {
  const { make, open, read, write, disks, folder } = await diskSceneFor(t)
  await make('a', 20 * GIB)
  await make('b')
  const first = await open('a')
  t.equal(await read('a', 0), TEMPLATE_BYTE)
  t.equal((await folder.connect('a')).sizeBytes, 20 * GIB)
  await write('a', 0, 1)
  await first.close()
  await first.exited
  await open('a')
  await open('b')
  t.equal(await read('a', 0), 1)
  t.equal(await read('b', 0), TEMPLATE_BYTE, 'another disk over the template does not see it')
  t.same(readFileSync(folder.template).subarray(0, MIB), Buffer.alloc(MIB, TEMPLATE_BYTE))
  await make('a')
  t.equal(await read('a', 0), 1, 'making it once more leaves it')
  t.ok((await disks.measurePool(POOL)) < 4 * MIB)
})

for (const state of ['served', 'at rest'] as const)
  t.test(
    `a copy of a disk that is ${state} has what was there, and neither sees the other's writes`,
    skip,
    async (t) => {
      const { make, open, read, write, copy, disks } = await diskSceneFor(t)
      await make('a')
      const source = await open('a')
      await write('a', MIB, 1)
      if (state === 'at rest') await source.close()
      await copy('a', 'b')
      if (state === 'at rest') await open('a')
      await open('b')
      await write('a', MIB, 2)
      await write('b', 2 * MIB, 3)
      t.same([await read('a', MIB), await read('a', 2 * MIB)], [2, 0])
      t.same([await read('b', MIB), await read('b', 2 * MIB)], [1, 3])
      await disks.remove(vmOf('a'))
      t.same([await read('b', 0), await read('b', MIB), await read('b', 2 * MIB)], [TEMPLATE_BYTE, 1, 3])
    },
  )

t.test(
  'a snapshot keeps the moment: it can be copied from, and asking again changes nothing',
  skip,
  async (t) => {
    const { make, open, read, write, copy, disks } = await diskSceneFor(t)
    await make('a')
    await open('a')
    await write('a', 0, 1)
    const point = await disks.takeSnapshot(vmOf('a'), 'one')
    await write('a', 0, 2)
    t.same(await disks.takeSnapshot(vmOf('a'), 'one'), point)
    t.ok(point.bytes > 65_536 && point.bytes < 4 * MIB, String(point.bytes))
    await copy('a', 'b', 'one')
    await open('b')
    t.same([await read('a', 0), await read('b', 0)], [2, 1])
    t.same(await disks.listSnapshots(vmOf('a')), ['one'])
    await t.rejects(copy('a', 'c', 'none'), { code: 'disk_source_unknown' })
    await t.rejects(copy('nobody', 'c'), { code: 'disk_source_unknown' })
    const other = { pool: 'other', from: { kind: 'vm', vm: vmOf('a') }, sizeBytes: 0 } as const
    await t.rejects(disks.create(vmOf('c'), other), { code: 'disk_source_unknown' }, 'another pool')
  },
)

t.test('a restore brings back a snapshot and keeps the present', skip, async (t) => {
  const { make, open, read, write, disks } = await diskSceneFor(t)
  const a = vmOf('a')
  await make('a')
  const first = await open('a')
  await write('a', 0, 1)
  await disks.takeSnapshot(a, 'old')
  await write('a', 0, 2)
  await t.rejects(
    disks.restore(a, { id: 'old', keepAs: 'kept' }),
    { code: 'disk_failed' },
    'while it is served',
  )
  t.equal(await read('a', 0), 2)
  await first.close()
  await t.rejects(disks.restore(a, { id: 'none', keepAs: 'kept' }), { code: 'disk_source_unknown' })
  await disks.restore(a, { id: 'old', keepAs: 'kept' })
  const second = await open('a')
  t.equal(await read('a', 0), 1)
  await write('a', 0, 3)
  await second.close()
  await disks.restore(a, { id: 'old', keepAs: 'kept' })
  const third = await open('a')
  t.equal(await read('a', 0), 3, 'carrying out the same restore again loses nothing')
  await third.close()
  await disks.restore(a, { id: 'kept', keepAs: 'three' })
  await open('a')
  t.equal(await read('a', 0), 2)
  t.same((await disks.listSnapshots(a)).toSorted(), ['kept', 'old', 'three'])
})

t.test('layers go when nothing needs them, and not before', skip, async (t) => {
  const { make, open, write, copy, read, disks, folder } = await diskSceneFor(t)
  await make('a')
  const first = await open('a')
  await write('a', 0, 1)
  await disks.takeSnapshot(vmOf('a'), 'one')
  await write('a', 0, 2)
  await first.close()
  await disks.restore(vmOf('a'), { id: 'one', keepAs: 'kept' })
  await copy('a', 'b', 'kept')
  t.equal(folder.layerFiles().length, 4)
  await disks.deleteSnapshot(vmOf('a'), 'kept')
  t.equal(folder.layerFiles().length, 4, 'the copy stands on it')
  await disks.remove(vmOf('a'))
  t.equal(folder.layerFiles().length, 3)
  await open('b')
  t.equal(await read('b', 0), 2)
  await disks.remove(vmOf('b'))
  t.same(folder.layerFiles(), [])
  await disks.remove(vmOf('b'))
  t.equal(folder.pidOf('b'), undefined, 'removing it ended its process')
})

t.test(
  'while one manifest cannot be read nothing is deleted, and its disk is not served',
  skip,
  async (t) => {
    const { make, disks, folder } = await diskSceneFor(t)
    await make('a')
    await make('b')
    const file = join(folder.vmFolder('b'), 'disk.json')
    const good = readFileSync(file, 'utf8')
    for (const text of ['', '{}', good.replace('landfall-disk/1', 'landfall-disk/2'), good.slice(0, -20)]) {
      writeFileSync(file, text)
      await disks.remove(vmOf('a'))
      t.equal(folder.layerFiles().length, 2, text)
    }
    await disks[Symbol.asyncDispose]()
    await using again = await folder.start()
    t.equal(folder.layerFiles().length, 2)
    await t.rejects(again.open(vmOf('b'), folder.runOf('b')), { code: 'disk_failed' })
    await again.remove(vmOf('b'))
    t.same(folder.layerFiles(), [], 'removing that VM for good frees what waited')
  },
)

t.test('a head that stands below another disk is not opened for writing', skip, async (t) => {
  const { make, copy, disks, folder } = await diskSceneFor(t)
  await make('a')
  await copy('a', 'b')
  const manifest = folder.manifestOf('b')
  writeFileSync(
    join(folder.vmFolder('b'), 'disk.json'),
    JSON.stringify({ ...manifest, layers: manifest.layers.slice(0, 1) }),
  )
  await disks[Symbol.asyncDispose]()
  await using again = await folder.start()
  await t.rejects(again.open(vmOf('b'), folder.runOf('b')), { code: 'disk_failed' })
  t.equal(folder.pidOf('b'), undefined)
})

t.test('frozen layers cannot be written, and what their headers say is not believed', skip, async (t) => {
  const { make, copy, open, read, write, folder } = await diskSceneFor(t)
  await make('a')
  const first = await open('a')
  await write('a', 0, 1)
  await first.close()
  await copy('a', 'b')
  const [frozen = '', head = ''] = folder
    .manifestOf('b')
    .layers.map((layer) => join(folder.path, 'disks', POOL, `${layer}.qcow2`))
  t.equal(statSync(frozen).mode & 0o777, 0o444)
  t.equal(statSync(head).mode & 0o777, 0o600)
  const secret = join(folder.path, 'secret')
  writeFileSync(secret, Buffer.alloc(MIB, 9))
  const image = readFileSync(head)
  const nameAt = Number(image.readBigUInt64BE(8))
  image.writeUInt32BE(secret.length, 16)
  image.write(secret, nameAt, 'latin1')
  writeFileSync(head, image)
  await open('b')
  t.equal(await read('b', 0), 1)
})

t.test('a disk grows, at rest and while it is served, and never shrinks', skip, async (t) => {
  const { make, open, disks, folder } = await diskSceneFor(t)
  await make('a')
  await disks.grow(vmOf('a'), 2 * GIB)
  await disks.grow(vmOf('a'), GIB)
  const first = await open('a')
  t.equal((await folder.connect('a')).sizeBytes, 2 * GIB)
  await first.close()
  await disks[Symbol.asyncDispose]()
  // An NBD export forbids what a vhost-user one allows.
  await using plain = await folder.start({ moreArguments: [] })
  const second = await plain.open(vmOf('a'), folder.runOf('a'))
  await plain.grow(vmOf('a'), 3 * GIB)
  await second.close()
  await plain[Symbol.asyncDispose]()
  await using again = await folder.start()
  await again.open(vmOf('a'), folder.runOf('a'))
  t.equal((await folder.connect('a')).sizeBytes, 3 * GIB)
})

t.test('a process that serves goes on without us and is found again', skip, async (t) => {
  const { make, open, read, write, disks, folder } = await diskSceneFor(t)
  await make('a')
  const first = await open('a')
  await write('a', 0, 1)
  const pid = folder.pidOf('a')
  first.detach()
  await disks[Symbol.asyncDispose]()
  await using again = await folder.start()
  const found = await again.adopt(vmOf('a'), folder.runOf('a'))
  t.equal(folder.pidOf('a'), pid)
  t.equal(await read('a', 0), 1)
  await again.takeSnapshot(vmOf('a'), 'one')
  await write('a', 0, 2)
  await found?.close()
  await found?.exited
  t.equal(await again.adopt(vmOf('a'), folder.runOf('a')), undefined)
})

t.test(
  'the end of a process that was killed is seen, and the disk opens again with all that was flushed',
  skip,
  async (t) => {
    const { make, open, read, write, folder, disks } = await diskSceneFor(t)
    await make('a')
    const first = await open('a')
    for (let at = 0; at < 20; at += 1) await write('a', at * MIB, at + 1)
    endDaemons(folder)
    await first.exited
    await disks.takeSnapshot(vmOf('a'), 'after')
    const second = await open('a')
    const seen: number[] = []
    for (let at = 0; at < 20; at += 1) seen.push(await read('a', at * MIB))
    t.same(
      seen,
      Array.from({ length: 20 }, (_, at) => at + 1),
    )
    await second.close()
    t.same(folder.checkLayers(), [])
  },
)

t.test('two processes never look after one data folder', skip, async (t) => {
  const { folder, disks } = await diskSceneFor(t)
  await t.rejects(folder.start(), { code: 'disk_failed' })
  await disks[Symbol.asyncDispose]()
  await using again = await folder.start()
  t.ok(again)
})

t.test('writes are limited, and not any more', skip, async (t) => {
  const { make, open, folder, disks } = await diskSceneFor(t)
  await make('a')
  await open('a')
  const disk = await folder.connect('a')
  const timeMs = async () => {
    const started = performance.now()
    for (let at = 0; at < 4; at += 1) await disk.write(at * MIB, Buffer.alloc(MIB, 1))
    return performance.now() - started
  }
  await disks.limitWrites(vmOf('a'), { bytesPerSecond: MIB })
  t.ok((await timeMs()) > 2_000)
  await disks.limitWrites(vmOf('a'), undefined)
  t.ok((await timeMs()) < 1_500)
  disk.close()
})
