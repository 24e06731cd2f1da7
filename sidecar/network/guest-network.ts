/** What the sidecar asks of networking for guests: a tap per VM on a host, QEMU's own user-mode network without rights. */

import type { Address } from '../../routing/records/records.ts'
import type { VmId } from '../vm-id.ts'
import type { Peer } from '../vmm.ts'

export interface GuestPlace extends VmId {
  /** Unique on this host, from 1: address, device names and user id come from it. */
  readonly slot: number
  readonly egress: 'open' | 'none'
  readonly peers: readonly Peer[]
}

/** How a VMM joins its guest to the network, and what the guest has to set up. */
export type GuestLink = TapLink | UserLink

interface GuestSide {
  readonly mac: string
  /** The guest's own address with its prefix, its gateway and its name server, as the kernel command line carries them. */
  readonly address: string
  readonly gateway: string
  readonly nameServer: string
}

export interface TapLink extends GuestSide {
  readonly kind: 'tap'
  /** A file; the VMM runs in it. */
  readonly netns: string
  /** The tap's name in it. */
  readonly device: string
  /** How an edge dials a port of the guest. */
  readonly addressOf: (port: number) => Address
}

export interface UserLink extends GuestSide {
  readonly kind: 'user'
  /** In CIDR: what QEMU's network is to be. */
  readonly network: string
  /** True when the guest may not reach anything but the metadata service. */
  readonly isRestricted: boolean
  /** A socket of ours that answers the guest's requests to 169.254.169.254:80. */
  readonly metadataSocket: string
}

export interface GuestNetwork {
  readonly kind: 'tap' | 'user'
  /** Sets up what the VM needs, or finds it. `folder` is the VM's own for sockets. @throws SidecarError network_failed */
  attach(place: GuestPlace, folder: string): Promise<GuestLink>
  /** Egress and peers of a VM that is attached; one that is not is left alone. */
  update(place: GuestPlace): Promise<void>
  detach(vm: VmId): Promise<void>
  /** Detaches all that are not among these. */
  sweep(known: readonly VmId[]): Promise<void>
}
