/** Puts together all that QEMU's VMs need on this host: disks, cgroups, network, metadata, images. */

import { join } from 'node:path'
import type { Log } from '../lib/log.ts'
import { startDisks } from './disks/local-disks.ts'
import type { Driver } from './driver.ts'
import { createTemplates } from './guests/template-store.ts'
import { folderOf } from './hypervisor/vm-folder.ts'
import { createMetadata, type GuestFacts } from './metadata/metadata.ts'
import { openIdentity } from './metadata/ssh-identity.ts'
import { findNameServer } from './network/name-server.ts'
import { openGuestNetwork } from './network/open-guest-network.ts'
import { openPoolGroups } from './pools/open-pool-groups.ts'
import { createQemuVmm } from './qemu/qemu-vmm.ts'
import { openSlots } from './slots.ts'
import { keyOfVm } from './vm-id.ts'
import type { VmSpec } from './vmm.ts'

export interface QemuDriverSettings {
  /** The data folder. */
  readonly folder: string
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly network: 'auto' | 'tap' | 'user'
  /** In CIDR; `docs/hosts.md` says what each of them does. */
  readonly guestNetwork: string
  readonly allowedNetworks: readonly string[]
  readonly edgeNetworks: readonly string[]
  /** Empty: the machine's own, unless that is a loopback address. */
  readonly nameServer: string
  readonly userEgress: 'on' | 'off'
  /** A group below the cgroup mounts, or `none`. */
  readonly cgroup: string
}

/** @throws SidecarError when the data folder is in use or damaged, or what was asked for does not work here */
export async function openQemuDriver(
  { log }: { readonly log: Log },
  settings: QemuDriverSettings & Pick<Driver, 'atEnd'>,
): Promise<Driver> {
  await using started = new AsyncDisposableStack()
  const { folder, accel, atEnd } = settings
  const slots = await openSlots(folder)
  const templates = createTemplates(folder)
  await templates.removeLeftBehind()
  const disks = started.use(await startDisks({ folder, log }))
  const groups = started.use(await openPoolGroups({ log }, { root: settings.cgroup, folder }))
  const known = new Map<string, GuestFacts>()
  const metadata = createMetadata({ find: async (key) => known.get(key) })
  const nameServer = settings.nameServer || (await findNameServer())
  const networkSettings = toNetworkSettings({ ...settings, ...(nameServer && { nameServer }) })
  const network = started.use(await openGuestNetwork({ log, metadata }, networkSettings))
  const identify = async (spec: VmSpec) => {
    const identity = await openIdentity(join(folderOf(folder, spec).path, 'identity'))
    known.set(keyOfVm(spec), { ...spec, identity })
    return { hostKey: identity.publicKey }
  }
  const vmm = createQemuVmm({ disks, network, groups, templates, slots, identify, log }, { folder, accel })
  const owned = started.move()
  return {
    vmm,
    groups,
    disks,
    balloon: vmm.balloon,
    network: network.kind,
    atEnd,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function toNetworkSettings(settings: QemuDriverSettings) {
  const { network, guestNetwork, allowedNetworks, edgeNetworks, nameServer, userEgress } = settings
  const callers = { allowedNetworks, callerNetworks: edgeNetworks }
  return {
    kind: network,
    tap: { guestNetwork, ...callers, ...(nameServer !== '' && { nameServer }) },
    user: { isEgressAllowed: userEgress === 'on' },
  }
}
