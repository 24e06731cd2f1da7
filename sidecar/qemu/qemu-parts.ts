/** What the QEMU driver is given, and the names under which it keeps a VM's things. */

import type { Log } from '../../lib/log.ts'
import type { DiskRun, Disks } from '../disks/disks.ts'
import type { Templates } from '../guests/template.ts'
import { folderOf, type SocketFolder, socketsOf, type VmFolder } from '../hypervisor/vm-folder.ts'
import type { GuestNetwork, GuestPlace } from '../network/guest-network.ts'
import type { PoolGroups, VmGroup } from '../pools/pool-groups.ts'
import { type Slots, uidOfSlot } from '../slots.ts'
import type { VmSpec } from '../vmm.ts'

export interface QemuDeps {
  readonly disks: Disks
  readonly network: GuestNetwork
  readonly groups: PoolGroups
  readonly templates: Templates
  readonly slots: Slots
  /** Tells the metadata service what a VM is, before it asks; the key is the guest's, as `ssh-ed25519 AAAA…`. */
  readonly identify: (spec: VmSpec) => Promise<{ readonly hostKey?: string }>
  readonly log: Log
}

export interface QemuSettings {
  /** The host's data folder. */
  readonly folder: string
  /** `auto`: KVM where it boots a kernel within 3 s, else emulation. Default `auto`. */
  readonly accel?: 'auto' | 'kvm' | 'tcg'
  /** How long a guest may take from its start to its agent's first words. Default 60,000. */
  readonly startTimeoutMs?: number
  /** Default 512 MiB. */
  readonly memoryBytes?: number
  /** Default 20 GiB. */
  readonly diskBytes?: number
}

/** Where one VM's things are. */
export interface VmSite {
  readonly spec: VmSpec
  readonly folder: VmFolder
  readonly sockets: SocketFolder
  readonly place: GuestPlace
  /** As whom its processes run; absent without root, and then they run as we do. */
  readonly uid?: number
}

/** @throws SidecarError vm_name, host_file_failed */
export async function siteOf({ slots }: QemuDeps, data: string, spec: VmSpec): Promise<VmSite> {
  const slot = await slots.take(spec)
  const { name, createdAt, egress = 'open', peers = [] } = spec
  return {
    spec,
    folder: folderOf(data, spec),
    sockets: socketsOf(data, slot),
    place: { name, createdAt, slot, egress, peers },
    ...(process.getuid?.() === 0 && { uid: uidOfSlot(slot) }),
  }
}

export function diskRunOf({ sockets, uid }: VmSite, group: Pick<VmGroup, 'disk'>): DiskRun {
  return { folder: sockets.disk, groups: group.disk, ...(uid !== undefined && { jail: { uid, gid: uid } }) }
}
