/**
 * An image has millions of empty files, and its data behind them. Who measures only the first so many sees an empty
 * folder, while the disk of the host runs out of inodes and of room. The build ends at either limit.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runWithin } from '../../sidecar/guests/folder-limit.ts'
import { folderFor } from '../helpers/folder.ts'

const MIB = 1_048_576

t.test('a step that makes more files than it may fails, however small they are', async (t) => {
  const folder = folderFor(t)
  const limit = { folder, maxBytes: 16 * MIB, maxEntries: 50 }
  const unpack = async (count: number) => {
    for (let at = 0; at < count; at += 1) await writeFile(join(folder, `f${at}`), '')
  }
  await runWithin(limit, () => unpack(40))
  await t.rejects(
    runWithin(limit, () => unpack(60)),
    { code: 'image_build_failed', message: /or 50 files/ },
  )
})

t.test('data does not hide behind them', async (t) => {
  const folder = folderFor(t)
  const step = async () => {
    await mkdir(join(folder, 'deep'))
    for (let at = 0; at < 60; at += 1) await writeFile(join(folder, `f${at}`), '')
    await writeFile(join(folder, 'deep/data'), Buffer.alloc(2 * MIB, 1))
  }
  await t.rejects(runWithin({ folder, maxBytes: MIB, maxEntries: 50 }, step), { code: 'image_build_failed' })
})
