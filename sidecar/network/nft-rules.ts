/** The one nft table: what guests may send, to whom, and how it leaves the machine. */

import { formatIpv4, type Ipv4Network } from './ipv4.ts'

/** What differs from VM to VM, as elements of sets: a change of one VM is a change of a few elements. */
export interface GuestElements {
  /** `"device" . address`: which source address a device may send. */
  readonly guests: ReadonlySet<string>
  /** Addresses that may reach the outside. */
  readonly open: ReadonlySet<string>
  /** `source . target . port`: who may connect to whom. */
  readonly peers: ReadonlySet<string>
}

export type ElementSet = keyof GuestElements

export interface RuleSettings {
  /** What the host's devices for guests begin with. */
  readonly devicePrefix: string
  readonly guestNetwork: Ipv4Network
  /** Where the metadata service listens. */
  readonly metadata: { readonly host: string; readonly port: number }
  /** Where guests' questions to `NAME_SERVER` go; nowhere when absent. */
  readonly nameServer?: string
  /** In CIDR: private networks that guests with open egress may reach nevertheless. */
  readonly allowedNetworks: readonly string[]
  /** In CIDR: who beside this machine may connect to guests. */
  readonly callerNetworks: readonly string[]
  /** TCP ports of this machine that guests with open egress may reach. */
  readonly hostPorts: readonly number[]
  /** Connections that one guest may have through this machine at a time. */
  readonly maxConnections: number
}

export const METADATA_ADDRESS = '169.254.169.254'
/** The guests' name server, whichever the machine has: a suspended guest finds another one under the same address. */
export const NAME_SERVER = '169.254.169.253'

const SETS: readonly ElementSet[] = ['guests', 'open', 'peers']

/**
 * What "the outside" never is (RFC 6890): a machine's private network and its cloud's own metadata are reached by
 * everything that runs on it, and trust it for that.
 */
const CLOSED_NETWORKS = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/3',
]

/** Replaces the whole table in one transaction: no packet meets a moment without rules. */
export function formatTable(settings: RuleSettings, elements: GuestElements): string {
  return `table inet landfall
delete table inet landfall
table inet landfall {
${formatSets(settings, elements)}
${formatEntry(settings)}
${formatHostSide(settings)}
${formatForward(settings)}
}
`
}

/** Nothing when both are the same. */
export function formatChanges(from: GuestElements, to: GuestElements): string {
  return SETS.flatMap((name) => [
    formatChange('delete', name, from[name].difference(to[name])),
    formatChange('add', name, to[name].difference(from[name])),
  ]).join('')
}

function formatChange(verb: 'add' | 'delete', name: ElementSet, elements: ReadonlySet<string>): string {
  return elements.size === 0 ? '' : `${verb} element inet landfall ${name} { ${[...elements].join(', ')} }\n`
}

function formatSets(settings: RuleSettings, { guests, open, peers }: GuestElements): string {
  const { allowedNetworks, callerNetworks, hostPorts } = settings
  const network = 'type ipv4_addr; flags interval; auto-merge;'
  return `
  set guests { type ifname . ipv4_addr; ${formatElements(guests)} }
  set open { type ipv4_addr; ${formatElements(open)} }
  set peers { type ipv4_addr . ipv4_addr . inet_service; ${formatElements(peers)} }
  set closed { ${network} ${formatElements(CLOSED_NETWORKS)} }
  set allowed { ${network} ${formatElements(allowedNetworks)} }
  set callers { ${network} ${formatElements(callerNetworks)} }
  set host_ports { type inet_service; ${formatElements(hostPorts.map(String))} }
  set connections { type ipv4_addr; size 65535; flags dynamic; }
  set questions { type ipv4_addr; size 65535; flags dynamic, timeout; timeout 10s; }`
}

function formatElements(elements: Iterable<string>): string {
  const list = [...elements].join(', ')
  return list === '' ? '' : `elements = { ${list} };`
}

/**
 * Before routing. The kernel puts fragments together before `arriving` (conntrack, priority -400), so that no rule
 * meets one without its ports. Guests take a share of the connection table each, and 20 questions a second.
 */
function formatEntry({ devicePrefix, metadata, nameServer, maxConnections }: RuleSettings): string {
  const questions = `ct state new ip daddr ${METADATA_ADDRESS}`
  const dns = `ip saddr @open ip daddr ${NAME_SERVER} meta l4proto { tcp, udp } th dport 53`
  return `
  chain arriving {
    type filter hook prerouting priority raw; policy accept;
    iifname != "${devicePrefix}*" accept
    meta nfproto != ipv4 drop
    iifname . ip saddr != @guests drop
  }
  chain counted {
    type filter hook prerouting priority mangle; policy accept;
    iifname != "${devicePrefix}*" accept
    ct state invalid drop
    ${questions} update @questions { ip saddr limit rate over 20/second burst 60 packets } drop
    ct state new add @connections { ip saddr ct count over ${maxConnections} } drop
  }
  chain translated {
    type nat hook prerouting priority dstnat; policy accept;
    iifname != "${devicePrefix}*" accept
    ip daddr ${METADATA_ADDRESS} tcp dport 80 dnat ip to ${metadata.host}:${metadata.port}
    ${nameServer === undefined ? '' : `${dns} dnat ip to ${nameServer}`}
  }`
}

/** What guests reach of this machine itself. */
function formatHostSide({ devicePrefix, metadata, guestNetwork }: RuleSettings): string {
  const network = `${formatIpv4(guestNetwork.base)}/${guestNetwork.prefix}`
  return `
  chain to_host {
    type filter hook input priority filter; policy accept;
    iifname != "${devicePrefix}*" accept
    ct state established ct direction reply accept
    ct state related meta l4proto icmp accept
    ct original ip daddr ${METADATA_ADDRESS} tcp dport ${metadata.port} accept
    ip saddr @open ct original ip daddr ${NAME_SERVER} ct status dnat accept
    ip saddr @open tcp dport @host_ports accept
    drop
  }
  chain leaving {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${network} oifname != "${devicePrefix}*" masquerade
  }`
}

/**
 * Each packet is judged, not only the first of a connection: what is taken back ends at once. A link with a smaller
 * MTU than the guests' is told to both ends, as the messages of those in between are often lost.
 */
function formatForward({ devicePrefix }: RuleSettings): string {
  return `
  chain through {
    type filter hook forward priority filter; policy accept;
    iifname "${devicePrefix}*" oifname "${devicePrefix}*" goto between_guests
    iifname "${devicePrefix}*" goto to_outside
    oifname "${devicePrefix}*" goto from_outside
  }
  chain between_guests {
    ct state related meta l4proto icmp accept
    ct direction original ip saddr . ip daddr . tcp dport @peers accept
    ct state established ct direction reply ip daddr . ip saddr . tcp sport @peers accept
    drop
  }
  chain to_outside {
    tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
    ct state related meta l4proto icmp accept
    ct state established ct direction reply ip daddr @callers accept
    ip saddr != @open drop
    ct original ip daddr ${NAME_SERVER} ct status dnat accept
    ip daddr @allowed accept
    ip daddr @closed drop
    accept
  }
  chain from_outside {
    ct state related meta l4proto icmp accept
    ct state established ct direction reply ip daddr @open accept
    ip saddr @callers accept
    drop
  }`
}
