/** Which addresses may be asked on behalf of whoever uploaded a certificate: those of the public Internet alone. */

import { BlockList, isIPv6 } from 'node:net'

/** The special-purpose registries (RFC 6890), and what embeds an IPv4 address. */
const IPV4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ...['198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
]
const IPV6 = [
  ...['::/96', '::ffff:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48', '100::/64', '2001::/23', '2001:db8::/32'],
  ...['2002::/16', '3fff::/20', '5f00::/16', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8'],
]

/** Two lists: to a list every IPv4 address is within `::ffff:0:0/96`. */
const special = { ipv4: new BlockList(), ipv6: new BlockList() }
for (const range of IPV4) special.ipv4.addSubnet(...toSubnet(range), 'ipv4')
for (const range of IPV6) special.ipv6.addSubnet(...toSubnet(range), 'ipv6')

export function isPublicAddress(address: string): boolean {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  return !special[family].check(address, family)
}

function toSubnet(range: string): [string, number] {
  const [network = '', prefix] = range.split('/')
  return [network, Number(prefix)]
}
