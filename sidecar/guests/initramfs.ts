/** The archive that the kernel starts from: busybox, the drivers of our machine and a script that mounts the disks. */

import { readFile } from 'node:fs/promises'
import { type CpioEntry, toCpio } from './cpio.ts'
import type { KernelModule } from './modules.ts'

/** Drivers of what our machine has; ext4 and the rest are in the kernel. */
export const MODULES = [
  'virtio_mmio',
  'virtio_blk',
  'virtio_net',
  'virtio_rng',
  'virtio_console',
  'virtio_balloon',
] as const

const FOLDERS = ['bin', 'dev', 'proc', 'sys', 'modules', 'newroot'] as const
/** Major and minor number of /dev/console and /dev/null (Documentation/admin-guide/devices.txt). */
const CONSOLE = [5, 1] as const
const NULL = [1, 3] as const

export interface InitramfsParts {
  /** A static busybox. */
  readonly busybox: Uint8Array
  /** In the order in which they can be loaded. */
  readonly modules: readonly KernelModule[]
  /** The script that process 1 runs. */
  readonly init: Uint8Array
}

/** Not compressed: unpacking takes longer under emulation than reading 2 MB more. */
export function toInitramfs({ busybox, modules, init }: InitramfsParts): Buffer {
  const order = modules.map(({ name }) => `${name}.ko\n`).join('')
  const entries: CpioEntry[] = [
    ...FOLDERS.map((path) => ({ path, kind: 'folder', mode: 0o755 }) as const),
    { path: 'dev/console', kind: 'device', mode: 0o600, device: CONSOLE },
    { path: 'dev/null', kind: 'device', mode: 0o666, device: NULL },
    { path: 'bin/busybox', kind: 'file', mode: 0o755, data: busybox },
    { path: 'bin/sh', kind: 'link', mode: 0o777, data: Buffer.from('busybox') },
    { path: 'init', kind: 'file', mode: 0o755, data: init },
    { path: 'modules/order', kind: 'file', mode: 0o644, data: Buffer.from(order) },
    ...modules.map(
      ({ name, data }) => ({ path: `modules/${name}.ko`, kind: 'file', mode: 0o644, data }) as const,
    ),
  ]
  return toCpio(entries)
}

/** The script of ours that is in every initramfs. */
export function loadInitScript(): Promise<Buffer> {
  return readFile(new URL('guest/initramfs-init.sh', import.meta.url))
}
