/**
 * A guest has broken into its VMM, and its owner asks for it to be put to sleep: the VMM sends memory without end, to
 * fill the disk that all VMs of the host share. It is cut off at what its memory can take.
 * Or he has many VMs, and puts one after the other to sleep: the last of the host's disk stays free.
 */

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import { receiveMemory } from '../../sidecar/hypervisor/memory-file.ts'
import { folderFor } from '../helpers/folder.ts'

const MIB = 1_048_576

t.test('memory that does not end is not written down', async (t) => {
  const folder = join(folderFor(t), 'suspended')
  const chunk = Buffer.alloc(MIB)
  const sent = { chunks: 0 }
  const endless = Readable.from(
    (function* () {
      // As good as without end, should it be believed.
      for (; sent.chunks < 256; sent.chunks += 1) yield chunk
    })(),
    { objectMode: false },
  )
  await t.rejects(receiveMemory(folder, endless, 8 * MIB), /takes more than/)
  t.ok(sent.chunks < 32, `${sent.chunks} MiB were taken`)
  t.ok(endless.destroyed, 'and no more are')
  const [name = ''] = await readdir(`${folder}.new`)
  t.ok((await stat(join(`${folder}.new`, name))).size <= 8 * MIB)
})

t.test('memory for which the disk has no room is not even begun', async (t) => {
  const folder = join(folderFor(t), 'suspended')
  const taken = { chunks: 0 }
  const stream = Readable.from(
    (function* () {
      taken.chunks += 1
      yield Buffer.alloc(MIB)
    })(),
  )
  await t.rejects(receiveMemory(folder, stream, 2 ** 60), /no room/)
  t.equal(taken.chunks, 0)
})

t.test('memory of just that size is', async (t) => {
  const folder = join(folderFor(t), 'suspended')
  const saved = await receiveMemory(folder, Readable.from([Buffer.alloc(8 * MIB)]), 8 * MIB)
  t.equal(saved.bytes, 8 * MIB)
})
