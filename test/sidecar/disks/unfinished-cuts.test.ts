/** Cuts that were begun and not ended, written by hand: whatever runs, what was written since then is kept. */

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { headNode, nodeOf, QMP_SOCKET } from '../../../sidecar/disks/daemon-graph.ts'
import { LayerFiles } from '../../../sidecar/disks/layer-files.ts'
import { connectQmp, type Qmp } from '../../../sidecar/qmp/qmp-client.ts'
import {
  cannotServe,
  type DiskScene,
  diskSceneFor,
  endDaemons,
  GIB,
  nbdAt,
  POOL,
  vmOf,
} from './disk-scene.ts'

const skip = { skip: cannotServe }
const NEXT = 'a'.repeat(20)
const SNAPSHOT = { id: 'begun', takenAt: '2026-01-02T00:00:00.000Z' }
/** Nobody's. */
const JAIL = { uid: 654_321, gid: 654_321 }

/** Where a process in a jail may make it. */
const SOCKET = 'export/nbd.sock'

interface Crash {
  /** Whether the process that serves the disk has put the next head over the old one. */
  readonly isAttached: boolean
  readonly owner?: typeof JAIL
}

/** As a process of ours leaves it that was killed in the middle of a cut. */
async function crash({ folder, disks }: DiskScene, { isAttached, owner }: Crash): Promise<void> {
  await disks[Symbol.asyncDispose]()
  const layers = new LayerFiles(folder.path)
  const file = join(folder.vmFolder('a'), 'disk.json')
  const manifest = JSON.parse(readFileSync(file, 'utf8'))
  const head = manifest.layers.at(-1)
  await layers.create(POOL, NEXT, { sizeBytes: GIB, below: { layer: head } })
  await layers.claim(POOL, NEXT, owner)
  writeFileSync(file, JSON.stringify({ ...manifest, next: { layer: NEXT, snapshot: SNAPSHOT } }))
  if (!isAttached) return
  const qmp = await qmpOf(folder, owner)
  const next = headNode({ layer: NEXT, file: layers.pathOf(POOL, NEXT) }, null, false)
  await qmp.execute('blockdev-add', next)
  await qmp.execute('blockdev-snapshot', { node: nodeOf(head), overlay: nodeOf(NEXT) })
  qmp.close()
}

function qmpOf(folder: DiskScene['folder'], owner: Crash['owner']): Promise<Qmp> {
  return connectQmp(join(folder.runOf('a').folder, QMP_SOCKET), { uid: owner?.uid })
}

t.test('a cut that a living process has made is completed, and no write is lost', skip, async (t) => {
  const scene = await diskSceneFor(t)
  const { make, open, write, read, folder } = scene
  await make('a')
  await open('a')
  await write('a', 0, 1)
  await crash(scene, { isAttached: true })
  await write('a', 0, 2)
  await using again = await folder.start()
  const served = await again.adopt(vmOf('a'), folder.runOf('a'))
  t.equal(await read('a', 0), 2)
  t.same(folder.manifestOf('a').layers.at(-1), NEXT)
  t.equal(folder.manifestOf('a').next, undefined)
  await served?.close()
  await again.open(vmOf('a'), folder.runOf('a'))
  t.equal(await read('a', 0), 2, 'also once it is served anew')
  await again.create(vmOf('b'), {
    pool: POOL,
    from: { kind: 'vm', vm: vmOf('a'), snapshot: SNAPSHOT.id },
    sizeBytes: 0,
  })
  await again.open(vmOf('b'), folder.runOf('b'))
  t.equal(await read('b', 0), 1, 'the snapshot is the moment of the cut')
})

t.test(
  'a cut is completed when the process that had made it is dead, and no write is lost',
  skip,
  async (t) => {
    const scene = await diskSceneFor(t)
    const { make, open, write, read, folder } = scene
    await make('a')
    await open('a')
    await write('a', 0, 1)
    await crash(scene, { isAttached: true })
    await write('a', 0, 2)
    endDaemons(folder)
    await using again = await folder.start()
    await again.open(vmOf('a'), folder.runOf('a'))
    t.equal(await read('a', 0), 2)
    t.same(await again.listSnapshots(vmOf('a')), [SNAPSHOT.id])
  },
)

t.test('a cut is completed when the process that had not made it is dead', skip, async (t) => {
  const scene = await diskSceneFor(t)
  const { make, open, write, read, folder } = scene
  await make('a')
  await open('a')
  await write('a', 0, 1)
  await crash(scene, { isAttached: false })
  await write('a', 0, 2)
  endDaemons(folder)
  await using again = await folder.start()
  t.same(await again.listSnapshots(vmOf('a')), [SNAPSHOT.id])
  await again.open(vmOf('a'), folder.runOf('a'))
  t.equal(await read('a', 0), 2)
  t.equal(folder.manifestOf('a').layers.length, 2)
})

t.test('a cut that a living process has not made is forgotten, and can be made again', skip, async (t) => {
  const scene = await diskSceneFor(t)
  const { make, open, write, read, folder } = scene
  await make('a')
  await open('a')
  await write('a', 0, 1)
  await crash(scene, { isAttached: false })
  await using again = await folder.start()
  await again.adopt(vmOf('a'), folder.runOf('a'))
  t.same(await again.listSnapshots(vmOf('a')), [])
  t.equal(folder.manifestOf('a').layers.length, 1)
  t.equal(folder.layerFiles().length, 1, 'its layer is gone')
  await write('a', 0, 2)
  await again.takeSnapshot(vmOf('a'), SNAPSHOT.id)
  t.equal(await read('a', 0), 2)
})

t.test(
  'a process in a jail whose cut was completed by the next sidecar can be cut and grown again',
  { skip: cannotServe || (process.getuid?.() !== 0 && 'a jail of another user needs root') },
  async (t) => {
    const scene = await diskSceneFor(t, { moreArguments: nbdAt(SOCKET) })
    const { make, folder, disks } = scene
    await make('a')
    const run = { ...folder.runOf('a'), jail: JAIL }
    await disks.open(vmOf('a'), run)
    await write(folder, 1)
    await disks.takeSnapshot(vmOf('a'), 'before')
    await write(folder, 2)
    await crash(scene, { isAttached: true, owner: JAIL })
    await using again = await folder.start()
    await again.adopt(vmOf('a'), run)
    const owned = folder.layerFiles().filter((file) => statSync(file).uid === JAIL.uid)
    t.equal(owned.length, 1, 'only the head is its own')
    for (const id of ['after', 'last']) {
      await write(folder, 3)
      await again.takeSnapshot(vmOf('a'), id)
    }
    t.equal(folder.manifestOf('a').layers.length, 5)
    await again[Symbol.asyncDispose]()
    // It forbids to grow.
    const qmp = await qmpOf(folder, JAIL)
    await qmp.execute('block-export-del', { id: 'nbd', mode: 'hard' })
    qmp.close()
    await using last = await folder.start()
    await last.adopt(vmOf('a'), run)
    await last.grow(vmOf('a'), 2 * GIB)
    await last.takeSnapshot(vmOf('a'), 'grown')
  },
)

async function write(folder: DiskScene['folder'], byte: number): Promise<void> {
  const disk = await folder.connect('a', SOCKET)
  await disk.write(0, Buffer.alloc(4_096, byte))
  disk.close()
}
