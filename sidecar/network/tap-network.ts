/** The network of a host: each guest has an address of its own, and one nft table says what it reaches. */

import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { isIPv4 } from 'node:net'
import { KeyedQueue } from '../../lib/keyed-queue.ts'
import type { Log } from '../../lib/log.ts'
import { SidecarError } from '../errors.ts'
import type { Metadata } from '../metadata/metadata.ts'
import { startMetadataListener } from '../metadata/metadata-listener.ts'
import { uidOfSlot } from '../slots.ts'
import { keyOfVm } from '../vm-id.ts'
import {
  createNamespace,
  deleteNamespace,
  fileOfNamespace,
  GATEWAY,
  HOST_ADDRESS,
  isDevicePrefix,
  isWhole,
  listLabels,
  listNamespaces,
  type NamespacePlan,
  TAP,
} from './guest-namespace.ts'
import type { GuestNetwork, GuestPlace, TapLink } from './guest-network.ts'
import { addressOfSlot, findIpv4Network, type Ipv4Network, macOfSlot } from './ipv4.ts'
import { type Member, toElements, toMember } from './members.ts'
import { runNetworkCommand } from './network-command.ts'
import { NAME_SERVER } from './nft-rules.ts'
import { listElements, type NftTable, openNftTable } from './nft-table.ts'

export interface TapSettings {
  /** In CIDR; a guest's address is the one of its slot. Default 10.97.0.0/16. */
  readonly guestNetwork?: string
  /** Answers the guests' questions; they have no name server when absent. An address that is not loopback. */
  readonly nameServer?: string
  /** In CIDR: private networks that guests with open egress may reach. None by default. */
  readonly allowedNetworks?: readonly string[]
  /** In CIDR: who beside this machine may connect to guests, as edges elsewhere. None by default. */
  readonly callerNetworks?: readonly string[]
  /** TCP ports of this machine that guests with open egress may reach. None by default. */
  readonly hostPorts?: readonly number[]
  /** Connections that one guest may have through this machine at a time. Default 4,096. */
  readonly maxConnections?: number
  /** What devices and namespaces begin with; nothing else on the machine may. Default `lf-`. */
  readonly devicePrefix?: string
  /** How often the table is looked for. Default 5,000. */
  readonly checkMs?: number
}

export interface NetworkDeps {
  readonly log: Log
  readonly metadata: Metadata
}

const FORWARDING = '/proc/sys/net/ipv4/ip_forward'
const TUN = '/dev/net/tun'
const TUN_MODE = 0o666
const MAX_PORT = 65_535

/**
 * Needs root, `ip`, `nft` and `nsenter`. Gives this network namespace the address 169.254.1.2 (on `lo`), the table
 * `inet landfall` and `ip_forward`. Disposal leaves guests and rules as they are; the next start finds them.
 * @throws SidecarError network_failed
 */
export async function startTapNetwork(
  { log, metadata }: NetworkDeps,
  settings: TapSettings = {},
): Promise<GuestNetwork & AsyncDisposable> {
  await using started = new AsyncDisposableStack()
  const { devicePrefix = 'lf-', checkMs = 5_000, maxConnections = 4_096, nameServer } = settings
  const { allowedNetworks = [], callerNetworks = [], hostPorts = [] } = settings
  const guestNetwork = parseSettings(settings, devicePrefix)
  await prepareMachine()
  const members = await findMembers(devicePrefix, guestNetwork)
  const findAsker = (address: string) => [...members.values()].find((member) => member.address === address)
  const listener = started.use(
    await startMetadataListener(
      { log, metadata, findKey: (address) => findAsker(address)?.key },
      HOST_ADDRESS,
    ),
  )
  const table = await openNftTable(
    { log, wanted: () => toElements([...members.values()]) },
    {
      devicePrefix,
      guestNetwork,
      metadata: { host: HOST_ADDRESS, port: listener.port },
      ...(nameServer === undefined ? {} : { nameServer }),
      allowedNetworks,
      callerNetworks,
      hostPorts,
      maxConnections,
    },
  )
  started.use(checkRegularly(table, log, checkMs))
  const owned = started.move()
  return {
    kind: 'tap',
    ...createGuests({ members, table, log, devicePrefix, guestNetwork }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** All of it becomes part of the table's text. */
function parseSettings(settings: TapSettings, devicePrefix: string): Ipv4Network {
  const {
    guestNetwork = '10.97.0.0/16',
    allowedNetworks = [],
    callerNetworks = [],
    hostPorts = [],
  } = settings
  const { nameServer } = settings
  const refuse = (detail: string) => new SidecarError('network_failed', { detail })
  for (const text of [...allowedNetworks, ...callerNetworks]) {
    if (!findIpv4Network(text)) throw refuse(`"${text}" is not an IPv4 network such as 10.97.0.0/16`)
  }
  const wrongPort = hostPorts.find((port) => !(Number.isInteger(port) && port >= 1 && port <= MAX_PORT))
  if (wrongPort !== undefined) throw refuse(`${wrongPort} is not a port`)
  if (nameServer !== undefined && !isIPv4(nameServer)) throw refuse(`"${nameServer}" is not an IPv4 address`)
  if (!isDevicePrefix(devicePrefix)) throw refuse(`"${devicePrefix}" cannot begin a device's name`)
  const network = findIpv4Network(guestNetwork)
  if (network) return network
  throw refuse(`"${guestNetwork}" is not an IPv4 network such as 10.97.0.0/16`)
}

/** Nothing is written that is so already: writing `ip_forward` puts each device's own setting back. */
async function prepareMachine(): Promise<void> {
  await runNetworkCommand('ip', ['address', 'replace', `${HOST_ADDRESS}/32`, 'dev', 'lo'])
  try {
    if ((await readFile(FORWARDING, 'utf8')).trim() !== '1') await writeFile(FORWARDING, '1')
    // As udev makes it: without rights a program gets no more by it than the taps that belong to its user.
    if (((await stat(TUN)).mode & TUN_MODE) !== TUN_MODE) await chmod(TUN, TUN_MODE)
  } catch (cause) {
    throw new SidecarError('network_failed', { cause, detail: String(cause) })
  }
}

/** The guests of an earlier process, with what its table let them do: nothing of theirs stops until they are attached. */
async function findMembers(devicePrefix: string, network: Ipv4Network): Promise<Map<string, Member>> {
  const [labels, open, peers] = await Promise.all([listLabels(), listElements('open'), listElements('peers')])
  const members = labels.flatMap(({ name, label }): Member[] => {
    const slot = name.startsWith(devicePrefix) ? Number(name.slice(devicePrefix.length)) : Number.NaN
    if (label === undefined || !Number.isInteger(slot)) return []
    const address = addressOfSlot(network, slot)
    const kept = peers.filter((element) => element.split(' . ')[1] === address)
    return [{ name, key: label, address, isOpen: open.includes(address), peers: [], kept }]
  })
  return new Map(members.map((member) => [member.name, member]))
}

function checkRegularly(table: NftTable, log: Log, everyMs: number): AsyncDisposable {
  let running = Promise.resolve()
  const timer = setInterval(() => {
    running = table.check().catch((error: unknown) => log.error({ error }, 'the nft table cannot be checked'))
  }, everyMs)
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      await running
    },
  }
}

interface Guests {
  readonly members: Map<string, Member>
  readonly table: NftTable
  readonly log: Log
  readonly devicePrefix: string
  readonly guestNetwork: Ipv4Network
}

/** What is done about one name is done in turn. */
function createGuests(guests: Guests): Omit<GuestNetwork, 'kind'> {
  const { members, devicePrefix, guestNetwork, table } = guests
  const queue = new KeyedQueue()
  const findNames = (key: string) =>
    [...members.values()].flatMap((member) => (member.key === key ? [member.name] : []))
  const remove = async (name: string, isKept: () => boolean) => {
    if (isKept()) return
    await deleteNamespace(name)
    if (members.delete(name)) await table.sync()
  }
  return {
    attach: async (place) => {
      const name = `${devicePrefix}${place.slot}`
      const address = addressOfSlot(guestNetwork, place.slot)
      return queue.run([name], () => attach(guests, place, { name, address }))
    },
    update: async (place) => {
      const name = `${devicePrefix}${place.slot}`
      await queue.run([name], async () => {
        const member = members.get(name)
        if (member?.key !== keyOfVm(place)) return
        members.set(name, toMember(place, member))
        await table.sync()
      })
    },
    detach: async (vm) => {
      const key = keyOfVm(vm)
      await Promise.all(
        findNames(key).map((name) =>
          queue.run([name], () => remove(name, () => members.get(name)?.key !== key)),
        ),
      )
    },
    sweep: async (known) => {
      const keys = new Set(known.map(keyOfVm))
      const names = (await listNamespaces(devicePrefix)).union(new Set(members.keys()))
      const isKnown = (name: string) => keys.has(members.get(name)?.key ?? '')
      await Promise.all([...names].map((name) => queue.run([name], () => remove(name, () => isKnown(name)))))
    },
  }
}

type Target = Pick<NamespacePlan, 'name' | 'address'>

async function attach(
  { members, table, log }: Guests,
  place: GuestPlace,
  { name, address }: Target,
): Promise<TapLink> {
  const key = keyOfVm(place)
  const isThere = members.get(name)?.key === key && (await isWhole(name))
  try {
    if (!isThere) {
      members.delete(name)
      await deleteNamespace(name)
      const { slot } = place
      await createNamespace({ name, slot, address, uid: uidOfSlot(slot), label: key })
    }
    members.set(name, toMember(place, { name, key, address }))
    await table.sync()
  } catch (error) {
    if (!isThere) {
      members.delete(name)
      await deleteNamespace(name).catch((left: unknown) => log.error({ error: left, name }, 'left behind'))
    }
    throw error
  }
  return toLink(place, { name, address })
}

function toLink({ slot }: GuestPlace, { name, address }: Target): TapLink {
  return {
    kind: 'tap',
    netns: fileOfNamespace(name),
    device: TAP,
    mac: macOfSlot('guest', slot),
    address: `${address}/32`,
    gateway: GATEWAY,
    nameServer: NAME_SERVER,
    addressOf: (port) => ({ host: address, port }),
  }
}
