/** Chooses the network that this machine and our rights allow. */

import { access, constants } from 'node:fs/promises'
import type { GuestNetwork } from './guest-network.ts'
import { runNetworkCommand } from './network-command.ts'
import { type NetworkDeps, startTapNetwork, type TapSettings } from './tap-network.ts'
import { startUserNetwork, type UserSettings } from './user-network.ts'

export interface NetworkSettings {
  /** `auto`: taps where they work, else QEMU's own network. */
  readonly kind: 'auto' | 'tap' | 'user'
  readonly tap?: TapSettings
  readonly user?: UserSettings
}

/** All that a guest's network is made of, in a namespace that ends with the program. */
const PROBE = `
ip tuntap add dev probe0 mode tap &&
ip link add probe1 type veth peer name probe2 &&
nft add table inet probe &&
echo 1 > /proc/sys/net/ipv4/ip_forward`

/** @throws SidecarError network_failed when taps are asked for and do not work */
export async function openGuestNetwork(
  deps: NetworkDeps,
  { kind, tap = {}, user = {} }: NetworkSettings,
): Promise<GuestNetwork & AsyncDisposable> {
  if (kind === 'tap') return startTapNetwork(deps, tap)
  if (kind === 'auto' && (await canTap(deps))) return startTapNetwork(deps, tap)
  return startUserNetwork(deps, user)
}

async function canTap({ log }: NetworkDeps): Promise<boolean> {
  if (process.getuid?.() !== 0) return false
  try {
    await access('/dev/net/tun', constants.R_OK | constants.W_OK)
    await runNetworkCommand('unshare', ['--net', '/bin/sh', '-c', PROBE])
    return true
  } catch (error) {
    log.warn({ error }, 'guests get the user-mode network: taps do not work here')
    return false
  }
}
