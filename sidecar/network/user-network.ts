/** The network without rights: QEMU's own user-mode network, and a socket per VM for the metadata service. */

import { join } from 'node:path'
import { KeyedQueue } from '../../lib/keyed-queue.ts'
import { startMetadataSocket } from '../metadata/metadata-socket.ts'
import { uidOfSlot } from '../slots.ts'
import { keyOfVm } from '../vm-id.ts'
import type { GuestNetwork, GuestPlace, UserLink } from './guest-network.ts'
import { macOfSlot } from './ipv4.ts'
import type { NetworkDeps } from './tap-network.ts'

export interface UserSettings {
  /**
   * Whether guests whose egress is open reach anything at all. QEMU connects for them as a program of this machine:
   * they reach its loopback address, whatever listens there, and its private network. Off by default.
   */
  readonly isEgressAllowed?: boolean
}

/** QEMU's network has room for all the metadata address is part of; each guest has one of its own, all alike. */
const NETWORK = '169.254.0.0/16'
const GUEST_ADDRESS = '169.254.0.15'
const GATEWAY = '169.254.0.2'
const NAME_SERVER = '169.254.0.3'
const SOCKET = 'metadata.sock'

/** Peers and a change of egress have no effect here before the next start of the VM. Disposal closes the sockets. */
export function startUserNetwork(
  { log, metadata }: NetworkDeps,
  { isEgressAllowed = false }: UserSettings = {},
): GuestNetwork & AsyncDisposable {
  const sockets = new Map<string, AsyncDisposable>()
  const queue = new KeyedQueue()
  const close = async (key: string) => {
    const socket = sockets.get(key)
    sockets.delete(key)
    await socket?.[Symbol.asyncDispose]()
  }
  const open = async (place: GuestPlace, path: string) => {
    const key = keyOfVm(place)
    await close(key)
    const deps = { log, metadata, asker: { key, address: GUEST_ADDRESS } }
    // As root, the VM's processes run under its slot's user id.
    const owner = process.getuid?.() === 0 ? { uid: uidOfSlot(place.slot) } : {}
    sockets.set(key, await startMetadataSocket(deps, { path, ...owner }))
  }
  const closeAll = async (keys: Iterable<string>) => {
    await Promise.all([...keys].map((key) => queue.run([key], () => close(key))))
  }
  return {
    kind: 'user',
    attach: async (place, folder) => {
      const path = join(folder, SOCKET)
      await queue.run([keyOfVm(place)], () => open(place, path))
      return toLink(place, { path, isRestricted: !isEgressAllowed || place.egress === 'none' })
    },
    update: async () => undefined,
    detach: (vm) => closeAll([keyOfVm(vm)]),
    sweep: (known) => closeAll(new Set(sockets.keys()).difference(new Set(known.map(keyOfVm)))),
    [Symbol.asyncDispose]: () => closeAll(sockets.keys()),
  }
}

interface UserPlan {
  readonly path: string
  readonly isRestricted: boolean
}

function toLink({ slot }: GuestPlace, { path, isRestricted }: UserPlan): UserLink {
  return {
    kind: 'user',
    mac: macOfSlot('guest', slot),
    address: `${GUEST_ADDRESS}/16`,
    gateway: GATEWAY,
    nameServer: NAME_SERVER,
    network: NETWORK,
    isRestricted,
    metadataSocket: path,
  }
}
