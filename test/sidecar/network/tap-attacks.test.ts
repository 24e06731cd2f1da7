/**
 * A hostile guest on the tap network. It has root in its VM, so it may send any frame whatsoever; a program with its
 * tap in hand plays it. The attacks, and what stops each:
 *
 * - Spoofed source: it takes another guest's address, or one of the outside, to be answered or believed in its
 *   place. Its namespace drops what does not come from its own address (rp_filter), and so does the nft table.
 * - Spoofed MAC and ARP: it announces itself as its neighbour or as its gateway. It has no neighbours: its link ends
 *   in its own namespace, which routes, and knows all hardware addresses beforehand.
 * - VM to VM: it connects to another guest. Dropped, but for ports that a peer grant names, from the VM it names,
 *   for as long as it does.
 * - Ports of the host: it connects to whatever listens on the machine, under any of the machine's addresses.
 * - Metadata of another VM: it asks in the other's name: by address, header or path.
 * - Metadata of the cloud, and the machine's private network: it connects to what trusts the machine.
 * - IPv6: it speaks the protocol for which there are no rules. There are: all of it is dropped.
 * - Fragments: it hides a packet's port in a second fragment, or sends second fragments alone. The kernel puts them
 *   together before the first rule.
 * - Flood: it opens connections until the machine's table of them, or the metadata service, has no room for others.
 */

import t from 'tap'
import { macOfSlot } from '../../../sidecar/network/ipv4.ts'
import { until } from '../../helpers/until.ts'
import { isInside, runInside } from './private-network.ts'
import { HOST_OUTSIDE, OUTSIDE, PRIVATE, placeOf, shell, worldFor } from './world.ts'

const hexOf = (text: string) => text.replaceAll(':', '')
const hexOfIp = (address: string) =>
  address
    .split('.')
    .map((octet) => Number(octet).toString(16).padStart(2, '0'))
    .join('')
const BROADCAST = 'ffffffffffff'
const GATEWAY_MAC = hexOf(macOfSlot('namespace', 1))

/** RFC 826: `sender` is at `mac`, unasked; padded as Ethernet wants. */
function arpReply(mac: string, sender: string, target: string): string {
  const head = `${BROADCAST}${mac}0806${'0001080006040002'}`
  return `${head}${mac}${hexOfIp(sender)}${BROADCAST}${hexOfIp(target)}`.padEnd(120, '0')
}

interface Datagram {
  readonly from: string
  readonly to: string
  /** Behind the IP header, in hex. */
  readonly payload: string
  /** The field with the flags and the offset; a whole packet when absent. */
  readonly fragment?: number
  readonly protocol?: number
}

/** An IPv4 packet in a frame to the gateway (RFC 791). */
function frameOf({ from, to, payload, fragment = 0, protocol = 17 }: Datagram): string {
  const length = 20 + payload.length / 2
  const words = [0x4500, length, 0x1234, fragment, 0x4000 + protocol, 0]
  const addresses = `${hexOfIp(from)}${hexOfIp(to)}`
  const sum = [...words, ...(addresses.match(/.{4}/g) ?? []).map((word) => Number.parseInt(word, 16))]
  const folded = sum.reduce((total, word) => total + word, 0)
  words[5] = 0xffff - ((folded & 0xffff) + (folded >>> 16))
  const header = words.map((word) => word.toString(16).padStart(4, '0')).join('')
  return `${GATEWAY_MAC}${hexOf(macOfSlot('guest', 1))}0800${header}${addresses}${payload}`
}

/** A UDP header without a checksum, and `bytes` behind it. */
function udpTo(port: number, bytes: number): string {
  const word = (value: number) => value.toString(16).padStart(4, '0')
  return `${word(5_353)}${word(port)}${word(8 + bytes)}0000${'78'.repeat(bytes)}`
}

function testInside(): void {
  t.test(
    'spoofed source: nothing under a strange address gets out of its link, nor past the table',
    async (t) => {
      const { guest, outside, host } = await worldFor(t)
      const [one, two] = [await guest(1), await guest(2)]
      await outside.do('listenDatagrams', { port: 9 })
      await host.do('listenDatagrams', { port: 9 })
      await shell(
        `ip address add ${two.address} dev eth0; ip address add 203.0.113.77 dev eth0
ip neigh replace 169.254.1.1 lladdr ${macOfSlot('namespace', 1)} dev eth0 nud permanent`,
        one.namespace,
      )
      const attack = async () => {
        for (const from of [two.address, '203.0.113.77']) {
          t.notMatch(await one.ask('/v1/name', { from }), /vm/, `as ${from}`)
          t.match(await one.do('tryConnect', { host: OUTSIDE, port: 9, from }), { outcome: 'timeout' })
        }
        for (const from of [
          '127.0.0.1',
          '169.254.1.1',
          '169.254.1.2',
          '0.0.0.0',
          OUTSIDE,
          HOST_OUTSIDE,
          two.address,
        ]) {
          for (const to of [OUTSIDE, two.address, HOST_OUTSIDE])
            one.cable.sendFrame(frameOf({ from, to, payload: udpTo(9, 8) }))
        }
        one.cable.sendFrame(frameOf({ from: one.address, to: OUTSIDE, payload: udpTo(9, 9) }))
      }
      await attack()
      // The second wall must hold without the first.
      await shell('for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done', 'lf-1')
      await attack()
      t.match(await one.ask('/v1/name'), /vm1\n$/, 'under its own address it goes on')
      const arrived = [...(await outside.do('datagrams', {})), ...(await host.do('datagrams', {}))]
      t.match(arrived, [{ bytes: 9 }, { bytes: 9 }], 'its own alone')
    },
  )

  t.test('spoofed MAC and ARP: it deceives nobody but itself', async (t) => {
    const { guest, host } = await worldFor(t)
    const [one, two] = [await guest(1), await guest(2)]
    await one.do('listen', { port: 80 })
    await two.do('listen', { port: 80 })
    const neighbours = () => shell('ip neigh show; ip -n lf-1 neigh show; ip -n lf-2 neigh show')
    const before = await neighbours()
    const [own, forged] = [hexOf(one.link.mac), '02deadbeef01']
    for (const mac of [own, forged, hexOf(two.link.mac), hexOf(macOfSlot('host', 1))]) {
      for (const sender of [two.address, '169.254.1.1', '169.254.1.2', HOST_OUTSIDE, one.address])
        one.cable.sendFrame(arpReply(mac, sender, '169.254.1.1'))
    }
    t.match(await two.ask('/v1/name'), /vm2\n$/)
    t.match(await host.do('connect', two.link.addressOf(80)), { outcome: 'open' })
    t.equal(await neighbours(), before)
    await shell(`ip link set eth0 address ${two.link.mac}`, one.namespace)
    t.match(await two.ask('/v1/name'), /vm2\n$/, 'two of the same hardware address do not meet')
    t.match(await host.do('connect', two.link.addressOf(80)), { outcome: 'open' })
  })

  t.test('VM to VM: only what a peer grant names, from whom it names, while it does', async (t) => {
    const { guest, network } = await worldFor(t)
    const [one, two, three] = [await guest(1), await guest(2), await guest(3)]
    for (const party of [one, two]) for (const port of [80, 81]) await party.do('listen', { port })
    const call = { host: two.address, port: 80 }
    t.match(await one.do('tryConnect', call), { outcome: 'timeout' })
    await network.update(placeOf(2, { peers: [{ vm: 'vm1', ports: [80] }] }))
    const granted = await one.do('connect', call)
    t.match(granted, { outcome: 'open', seenAs: one.address })
    t.match(await one.do('tryConnect', { ...call, port: 81 }), { outcome: 'timeout' }, 'another port')
    t.match(await three.do('tryConnect', call), { outcome: 'timeout' }, 'another VM')
    t.match(await two.do('connect', { host: one.address, port: 80 }), { outcome: 'timeout' }, 'the other way')
    await two.do('listenDatagrams', { port: 80 })
    await one.do('sendDatagram', call)
    t.equal(await one.do('echo', { id: granted.id, text: 'hello' }), 'hello')
    await network.update(placeOf(2))
    t.equal(await one.do('tryEcho', { id: granted.id, text: 'hello' }), 'timeout', 'what is open ends, too')
    t.match(await one.do('tryConnect', call), { outcome: 'timeout' })
    t.same(await two.do('datagrams', {}), [], 'a grant is for TCP')
  })

  t.test('VM to VM: a grant to a VM that comes later, or comes again, is to that VM', async (t) => {
    const { guest, network } = await worldFor(t)
    const two = await guest(2, { peers: [{ vm: 'vm1', ports: [80] }] })
    await two.do('listen', { port: 80 })
    const one = await guest(1)
    t.match(await one.do('connect', { host: two.address, port: 80 }), { outcome: 'open' })
    await network.attach(placeOf(4, { name: 'vm1', createdAt: '2026-02-01T00:00:00.000Z' }), '/run')
    t.match(await one.do('tryConnect', { host: two.address, port: 80 }), { outcome: 'timeout' })
    await network.detach(placeOf(1))
    t.match(await shell('nft list set inet landfall peers'), /\{ 10\.97\.0\.4 \. 10\.97\.0\.2 \. 80 \}/)
  })

  t.test('ports of the host: none, under no address, but those in the settings', async (t) => {
    const { guest, host } = await worldFor(t, { hostPorts: [9_443] })
    const [one, closed] = [await guest(1), await guest(2, { egress: 'none' })]
    await host.do('listen', { port: 9_000 })
    await host.do('listen', { port: 9_443 })
    await host.do('listenDatagrams', { port: 9_001 })
    const addresses = ['169.254.1.1', '169.254.1.2', HOST_OUTSIDE, '127.0.0.1', '169.254.169.254']
    const tried = addresses.map(async (address) => {
      t.not((await one.do('tryConnect', { host: address, port: 9_000 })).outcome, 'open', address)
      await one.do('sendDatagram', { host: address, port: 9_001 })
    })
    await Promise.all(tried)
    t.same(await host.do('datagrams', {}), [])
    t.match(await one.do('connect', { host: HOST_OUTSIDE, port: 9_443 }), { outcome: 'open' })
    t.match(await closed.do('tryConnect', { host: HOST_OUTSIDE, port: 9_443 }), { outcome: 'timeout' })
  })

  t.test('metadata of another VM: whatever it says, it is told about itself', async (t) => {
    const { guest } = await worldFor(t)
    const [one, two] = [await guest(1), await guest(2)]
    const header = 'Landfall-Metadata: 1'
    const claims = [`X-Real-IP: ${two.address}`, `Landfall-VM: vm2`, `X-Vm: vm2`]
    for (const claim of claims)
      t.match(await one.ask('/v1/name', { headers: [header, claim] }), /\r\n\r\nvm1\n$/)
    t.match(
      await one.ask('/v1/name', { headers: [header, `X-Forwarded-For: ${two.address}`] }),
      /^HTTP\/1\.1 403/,
    )
    for (const path of ['/v1/name?vm=vm2', '/v1/vm2/name', '/v1/../vm2', `//${two.address}/v1/name`])
      t.match(await one.ask(path), /^HTTP\/1\.1 404/, path)
    t.match(await one.ask('/v1/boot', { headers: [] }), /^HTTP\/1\.1 403/)
    t.notMatch(await one.ask('/v1/boot'), new RegExp(Buffer.from('key of vm2').toString('base64')))
  })

  t.test(
    'metadata of the cloud and private networks: not reached, unless a setting allows one',
    async (t) => {
      const { guest, outside } = await worldFor(t, { allowedNetworks: ['192.168.0.0/24'] })
      await outside.do('listen', { port: 80 })
      const one = await guest(1)
      const reached = PRIVATE.filter((address) => address !== '192.168.0.9').map(async (address) => {
        const { outcome } = await one.do('tryConnect', { host: address, port: 80 })
        t.equal(outcome, address === '192.168.0.9' ? 'open' : 'timeout', address)
      })
      await Promise.all(reached)
      t.match(
        await one.do('connect', { host: '192.168.0.9', port: 80 }),
        { outcome: 'open' },
        'as the setting says',
      )
      t.match(await one.ask('/v1/name'), /vm1\n$/, 'the address of metadata is ours')
      t.match(await one.do('tryConnect', { host: '169.254.169.254', port: 8080 }), { outcome: 'timeout' })
      const closed = await guest(2, { egress: 'none' })
      t.match(await closed.do('tryConnect', { host: '192.168.0.9', port: 80 }), { outcome: 'timeout' })
    },
  )

  t.test('IPv6: not in its namespace, and not past the table', async (t) => {
    const world = await worldFor(t, { checkMs: 60_000 })
    const one = await world.guest(1)
    t.equal((await shell('cat /proc/sys/net/ipv6/conf/tap0/disable_ipv6', 'lf-1')).trim(), '1')
    // The second wall must hold without the first: the namespace is made to pass everything on.
    await shell('ip address add fd00:2::1/128 dev lo; ip address add fd00:1::1/64 dev lf-1 nodad')
    await shell(
      `cd /proc/sys/net/ipv6/conf; for name in all tap0 up0; do echo 0 > $name/disable_ipv6; echo 1 > $name/forwarding; done
ip address add fd00:9::1/64 dev tap0 nodad; ip address add fd00:1::2/64 dev up0 nodad; ip route add default via fd00:1::1`,
      'lf-1',
    )
    await shell(
      'ip address add fd00:9::2/64 dev eth0 nodad; ip route add default via fd00:9::1',
      one.namespace,
    )
    await shell('ip route add fd00:9::/64 via fd00:1::2')
    const call = { host: 'fd00:2::1', port: 9_000 }
    const isThrough = async () => (await one.do('tryConnect', call)).outcome === 'refused'
    await shell('nft delete table inet landfall')
    await until(isThrough, 'without the table, the way itself is open')
    await world.restart()
    t.equal(await isThrough(), false)
    await shell('nft delete table inet landfall')
    await until(isThrough, 'and it was the table that closed it')
  })

  t.test('fragments: none gets where its whole may not', async (t) => {
    const { guest, host, outside } = await worldFor(t)
    const [one, two] = [await guest(1), await guest(2)]
    for (const party of [host, outside, two]) await party.do('listenDatagrams', { port: 9 })
    const payload = udpTo(9, 40)
    const [first, second] = [payload.slice(0, 32), payload.slice(32)]
    const from = one.address
    for (const to of ['169.254.1.2', HOST_OUTSIDE, two.address, PRIVATE[0] ?? '']) {
      await one.do('sendDatagram', { host: to, port: 9, bytes: 4_000 })
      one.cable.sendFrame(frameOf({ from, to, payload: first, fragment: 0x2000 }))
      one.cable.sendFrame(frameOf({ from, to, payload: second, fragment: 2 }))
    }
    // Overlapping: the second says another port than the first (RFC 1858).
    one.cable.sendFrame(frameOf({ from, to: HOST_OUTSIDE, payload: udpTo(53, 8), fragment: 0x2000 }))
    one.cable.sendFrame(frameOf({ from, to: HOST_OUTSIDE, payload, fragment: 0 }))
    // A second one alone, under another's address.
    one.cable.sendFrame(frameOf({ from: two.address, to: OUTSIDE, payload: second, fragment: 2 }))
    await one.do('sendDatagram', { host: OUTSIDE, port: 9, bytes: 4_000 })
    t.match(await one.ask('/v1/name'), /vm1\n$/)
    t.match(await outside.do('datagrams', {}), [{ bytes: 4_000 }], 'what may go, goes')
    t.same([...(await host.do('datagrams', {})), ...(await two.do('datagrams', {}))], [])
  })

  t.test(
    'flood: it takes its own share of connections, and the metadata service answers others',
    async (t) => {
      const { guest, outside } = await worldFor(t, { maxConnections: 50 })
      const [one, two] = [await guest(1), await guest(2)]
      await outside.do('listen', { port: 443 })
      const many = { host: OUTSIDE, port: 443, timeoutMs: 2_000 }
      t.equal(await one.do('connectMany', { ...many, count: 120 }), 50)
      t.equal(await two.do('connectMany', { ...many, count: 40 }), 40)
      const metadata = { host: '169.254.169.254', port: 80 }
      const flood = two.do('connectMany', { ...metadata, count: 300, timeoutMs: 1_500 })
      const three = await guest(3)
      const from = performance.now()
      t.match(await three.ask('/v1/name'), /vm3\n$/)
      t.comment(`answered another in ${(performance.now() - from).toFixed(0)} ms meanwhile`)
      t.ok((await flood) <= 100, 'a hundred at most in 2 seconds')
    },
  )
}

if (isInside()) testInside()
else await runInside(t, import.meta.url)
