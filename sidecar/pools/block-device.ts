/** Finds the disk that a folder is on, as cgroups name disks. */

import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * As `254:0`. A partition counts as its disk, as limits are set on whole disks only. Undefined for a file system that
 * is not on one disk, such as tmpfs, overlayfs or btrfs.
 */
export async function findBlockDevice(folder: string, sysFolder = '/sys'): Promise<string | undefined> {
  const { dev } = await stat(folder, { bigint: true })
  const device = join(sysFolder, 'dev/block', toDeviceNumbers(dev))
  const isPartition = await readText(join(device, 'partition'))
  // Not joined: the way up starts from what the link leads to.
  return readText(`${device}/${isPartition === undefined ? 'dev' : '../dev'}`)
}

/** As gnu_dev_major and gnu_dev_minor of the C library take them apart. */
export function toDeviceNumbers(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

async function readText(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'latin1').catch(() => undefined)
  return text?.trim()
}
