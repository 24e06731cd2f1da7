/** What runs this host's VMs: QEMU with all that belongs to it, or child processes for development. */

import { access, constants } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Log } from '../lib/log.ts'
import type { Disks } from './disks/disks.ts'
import { SidecarError } from './errors.ts'
import { createNoGroups } from './pools/cgroup-none.ts'
import type { PoolGroups } from './pools/pool-groups.ts'
import { createProcessVmm } from './process/process-vmm.ts'
import type { Balloon } from './qemu/balloon.ts'
import { openQemuDriver, type QemuDriverSettings } from './qemu-driver.ts'
import type { Vmm } from './vmm.ts'

export interface Driver extends AsyncDisposable {
  readonly vmm: Vmm
  readonly groups: PoolGroups
  /** How guests are reached: through a tap, QEMU's own network, or as processes of this machine. */
  readonly network: 'tap' | 'user' | 'none'
  /** None where a VM is a process in a folder. */
  readonly disks?: Disks
  /** None where a VM's memory is what its process takes. */
  readonly balloon?: Balloon
  /** What becomes of the VMs at the end of this process. */
  readonly atEnd: 'stop' | 'detach'
}

export interface DriverSettings extends QemuDriverSettings {
  /** `auto`: QEMU where it is installed. */
  readonly vmm: 'auto' | 'qemu' | 'process'
  /** VMs end with this process; otherwise those of a driver that can do so outlive it. */
  readonly isLast?: boolean
}

/** What each image of the process driver boots. */
const PROGRAMS: ReadonlyMap<string, string> = new Map([
  ['hello', fileURLToPath(new URL('process/hello-vm.ts', import.meta.url))],
])

const QEMU_PROGRAMS = ['qemu-system-x86_64', 'qemu-storage-daemon', 'qemu-img']
const FOLDERS = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'.split(':')

/** @throws SidecarError `vmm_missing` when QEMU is asked for and not there; what the drivers throw */
export async function openDriver(deps: { readonly log: Log }, settings: DriverSettings): Promise<Driver> {
  const kind = await chooseVmm(settings.vmm)
  if (kind === 'process') return openProcessDriver(deps, settings.folder)
  if (!settings.isLast) return openQemuDriver(deps, { ...settings, atEnd: 'detach' })
  // Development leaves the machine's own network as it is, also for root.
  const network = settings.network === 'auto' ? 'user' : settings.network
  return openQemuDriver(deps, { ...settings, network, atEnd: 'stop' })
}

/** @throws SidecarError `vmm_missing` */
export async function chooseVmm(wanted: DriverSettings['vmm']): Promise<'qemu' | 'process'> {
  if (wanted === 'process') return wanted
  const missing = await findMissing(QEMU_PROGRAMS)
  if (missing.length === 0) return 'qemu'
  if (wanted === 'auto') return 'process'
  throw new SidecarError('vmm_missing', { detail: `Not installed: ${missing.join(', ')}.` })
}

async function findMissing(programs: readonly string[]): Promise<readonly string[]> {
  const isThere = async (program: string) =>
    Promise.any(FOLDERS.map((folder) => access(join(folder, program), constants.X_OK))).then(
      () => true,
      () => false,
    )
  const found = await Promise.all(programs.map(isThere))
  return programs.filter((_program, index) => !found[index])
}

function openProcessDriver({ log }: { readonly log: Log }, folder: string): Driver {
  return {
    vmm: createProcessVmm({ log }, { folder: join(folder, 'vms'), images: PROGRAMS }),
    groups: createNoGroups(),
    network: 'none',
    atEnd: 'stop',
    [Symbol.asyncDispose]: async () => undefined,
  }
}
