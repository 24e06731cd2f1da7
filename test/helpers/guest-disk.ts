/** What is on a guest's disk, seen from outside: the file system of a layer, checked and read without starting anything. */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '../../sidecar/run-command.ts'

export interface Manifest {
  readonly pool: string
  /** Oldest first; the last one is written. */
  readonly layers: readonly string[]
  readonly snapshots: Readonly<Record<string, { readonly layers: readonly string[] }>>
}

/** Undefined while the VM has no disk. */
export async function findManifest(dataFolder: string, vm: string): Promise<Manifest | undefined> {
  const vms = join(dataFolder, 'vms')
  const folder = (await readdir(vms)).find((name) => name.startsWith(`${vm}-`))
  const text = folder && (await readFile(join(vms, folder, 'disk.json'), 'utf8').catch(() => undefined))
  return text ? JSON.parse(text) : undefined
}

/** As an image of its own at `image`, with the journal replayed as a mount does. @throws SidecarError unless it is clean then */
export async function mountLayer(dataFolder: string, layer: string, image: string): Promise<void> {
  const file = join(dataFolder, 'disks', 'default', `${layer}.qcow2`)
  await runCommand('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', file, image])
  // Status 1: something was done.
  await runCommand('/bin/sh', ['-c', 'e2fsck -E journal_only -y "$0" || [ $? = 1 ]', image])
  await runCommand('e2fsck', ['-f', '-n', image])
}

/** A file of an image that `mountLayer` made. */
export async function readInside(image: string, path: string): Promise<string> {
  return runCommand('debugfs', ['-R', `cat ${path}`, image])
}
