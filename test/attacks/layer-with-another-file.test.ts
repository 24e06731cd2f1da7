/**
 * A storage daemon that was broken into owns the head of its VM's disk and writes any header to it. One that names an
 * external data file would have qemu-img, which repairs and grows heads with our rights, open that file for writing:
 * any file of the machine, or any network address that QEMU knows.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { LayerFiles } from '../../sidecar/disks/layer-files.ts'
import { runCommand } from '../../sidecar/run-command.ts'
import { folderFor } from '../helpers/folder.ts'

const MIB = 1_048_576
const LAYER = 'aaaaaaaaaaaaaaaaaaaa'
const SECRET = "another's file\n"

t.test('a head whose header names another file is refused, and that file stays as it is', async (t) => {
  const folder = folderFor(t)
  const victim = join(folder, 'victim')
  const head = join(folder, 'disks', 'web', `${LAYER}.qcow2`)
  await mkdir(join(folder, 'disks', 'web'), { recursive: true })
  const options = `data_file=${join(folder, 'stolen')},data_file_raw=on`
  await runCommand('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, head, String(64 * MIB)])
  const bytes = await readFile(head, 'latin1')
  await writeFile(head, bytes.replaceAll(join(folder, 'stolen'), victim), 'latin1')
  await writeFile(victim, SECRET)
  const layers = new LayerFiles(folder)
  await t.rejects(layers.repairLeaks('web', LAYER), { code: 'disk_failed' })
  await t.rejects(layers.growHead('web', LAYER, 128 * MIB), { code: 'disk_failed' })
  t.equal(await readFile(victim, 'utf8'), SECRET)
})

t.test('a head as we make them is repaired and grown', async (t) => {
  const folder = folderFor(t)
  const head = join(folder, 'disks', 'web', `${LAYER}.qcow2`)
  await mkdir(join(folder, 'disks', 'web'), { recursive: true })
  const options = 'extended_l2=on,cluster_size=131072'
  await runCommand('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, head, String(64 * MIB)])
  const layers = new LayerFiles(folder)
  await layers.repairLeaks('web', LAYER)
  await layers.growHead('web', LAYER, 128 * MIB)
  t.match(await runCommand('qemu-img', ['info', '--output=json', head]), /"virtual-size": 134217728/)
})
