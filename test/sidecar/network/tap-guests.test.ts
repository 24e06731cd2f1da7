/** The network of a host with real taps: what guests and the host reach, and how it outlives the host's program. */

import { readFile } from 'node:fs/promises'
import t from 'tap'
import { SidecarError } from '../../../sidecar/errors.ts'
import { startTapNetwork } from '../../../sidecar/network/tap-network.ts'
import { until } from '../../helpers/until.ts'
import { isInside, runInside } from './private-network.ts'
import { CREATED_AT, HOST_OUTSIDE, OUTSIDE, placeOf, shell, worldFor } from './world.ts'

/** Time for what a busy machine does; the goal for attach and detach is 60 ms each. */
const SLOW_FACTOR = 5
const GOAL_MS = 60
const NO_METADATA = { answer: async () => ({ status: 404, type: 'text/plain', body: '' }) as const }
const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

function testInside(): void {
  t.test(
    'the host dials any port of a guest, and the guest asks the metadata service about itself',
    async (t) => {
      const { guest, host } = await worldFor(t)
      const [one, two] = [await guest(1), await guest(65_000)]
      t.equal(one.address, '10.97.0.1')
      t.equal(two.address, '10.97.253.232')
      await one.do('listen', { port: 8000 })
      const dialled = await host.do('connect', one.link.addressOf(8000))
      t.match(dialled, { outcome: 'open', seenAs: '169.254.1.2' })
      t.match(await one.ask('/v1/name'), /^HTTP\/1\.1 200 OK\r\n(.+\r\n)+\r\nvm1\n$/)
      t.match(await two.ask('/v1/name'), /\r\n\r\nvm65000\n$/)
      t.match(await two.ask('/v1/address'), /\r\n\r\n10\.97\.253\.232\n$/)
    },
  )

  t.test(
    "open egress leaves under the host's address, large datagrams too; none leaves not at all",
    async (t) => {
      const { guest, outside, network } = await worldFor(t)
      await outside.do('listen', { port: 443 })
      await outside.do('listenDatagrams', { port: 443 })
      const one = await guest(1)
      const call = await one.do('connect', { host: OUTSIDE, port: 443 })
      t.match(call, { outcome: 'open', seenAs: HOST_OUTSIDE })
      t.equal(await one.do('sendDatagram', { host: OUTSIDE, port: 443, bytes: 4_000 }), 'sent')
      await until(
        async () => (await outside.do('datagrams', {})).length > 0,
        'the fragments were put together',
      )
      t.match(await outside.do('datagrams', {}), [{ from: HOST_OUTSIDE, bytes: 4_000 }])

      await network.update(placeOf(1, { egress: 'none' }))
      t.equal(await one.do('tryEcho', { id: call.id, text: 'still there?' }), 'timeout', 'cut at once')
      t.match(await one.do('tryConnect', { host: OUTSIDE, port: 443 }), { outcome: 'timeout' })
      t.match(await one.ask('/v1/name'), /200 OK/, 'the metadata service is no egress')
      await network.update(placeOf(1))
      t.match(await one.do('connect', { host: OUTSIDE, port: 443 }), { outcome: 'open' })
    },
  )

  t.test('a name server is reached by guests with open egress alone', async (t) => {
    const { guest, outside } = await worldFor(t, { nameServer: OUTSIDE })
    await outside.do('listen', { port: 53 })
    const [one, two] = [await guest(1), await guest(2, { egress: 'none' })]
    t.match(await one.do('connect', { host: one.link.nameServer, port: 53 }), { outcome: 'open' })
    t.match(await two.do('tryConnect', { host: two.link.nameServer, port: 53 }), { outcome: 'timeout' })
  })

  t.test('callers named in the settings reach guests from elsewhere, and others do not', async (t) => {
    const { guest, outside } = await worldFor(t, { callerNetworks: ['10.0.0.0/24'] })
    const one = await guest(1, { egress: 'none' })
    await one.do('listen', { port: 80 })
    await shell('ip route add 10.0.0.9 dev wan0')
    await shell(`ip route add ${one.address} via ${HOST_OUTSIDE}`, 'outside')
    const call = { host: one.address, port: 80 }
    t.match(await outside.do('connect', { ...call, from: '10.0.0.9' }), { outcome: 'open' })
    t.match(await outside.do('tryConnect', { ...call, from: OUTSIDE }), { outcome: 'timeout' })
  })

  t.test(
    'guests outlive the program: connections go on, rules stay, and attach finds what is there',
    async (t) => {
      const world = await worldFor(t)
      const peers = [{ vm: 'vm1', ports: [80] }]
      const [one, two] = [await world.guest(1), await world.guest(2, { peers })]
      await two.do('listen', { port: 80 })
      await world.outside.do('listen', { port: 443 })
      const inward = await world.host.do('connect', two.link.addressOf(80))
      const across = await one.do('connect', { host: two.address, port: 80 })
      const outward = await one.do('connect', { host: OUTSIDE, port: 443 })
      t.match([inward, across, outward], [{ outcome: 'open' }, { outcome: 'open' }, { outcome: 'open' }])

      await world.restart()
      t.equal(await world.host.do('echo', { id: inward.id, text: 'a' }), 'a')
      t.equal(await one.do('echo', { id: across.id, text: 'b' }), 'b')
      t.equal(await one.do('echo', { id: outward.id, text: 'c' }), 'c')
      t.match(await one.do('connect', { host: two.address, port: 80 }), { outcome: 'open' }, 'new ones, too')
      t.match(await one.ask('/v1/name'), /vm1\n$/, 'before it is attached again')

      const before = await shell('ip netns list; ip -o link show type veth')
      const link = await world.network.attach(placeOf(1), '/run')
      await world.network.attach(placeOf(2, { peers }), '/run')
      t.equal(await shell('ip netns list; ip -o link show type veth'), before, 'nothing was made anew')
      t.same({ ...link, addressOf: 0 }, { ...one.link, addressOf: 0 })
      t.equal(await one.do('echo', { id: across.id, text: 'd' }), 'd')
    },
  )

  t.test(
    'sweep leaves the known and removes the others, detach removes one, and both may come twice',
    async (t) => {
      const { network } = await worldFor(t)
      for (const slot of [1, 2, 3]) await network.attach(placeOf(slot), '/run')
      await shell('ip netns add lf-9; ip link add lf-10 type veth peer name other0; ip netns add other')
      const known = [placeOf(1), placeOf(2)]
      await network.sweep(known)
      await network.sweep(known)
      const names = () => shell('ip netns list | cut -d" " -f1 | sort | tr "\\n" " "')
      t.equal(await names(), 'lf-1 lf-2 other outside ')
      await network.detach(placeOf(2))
      await network.detach(placeOf(2))
      await network.detach(placeOf(77))
      t.equal(await names(), 'lf-1 other outside ')
      const { nftables } = JSON.parse(await shell('nft -j list set inet landfall guests'))
      t.same(nftables.at(-1).set.elem, [{ concat: ['lf-1', '10.97.0.1'] }])
      t.notMatch(await readFile('/proc/net/dev', 'utf8'), /lf-(2|3|9|10):/)
      await shell('ip netns delete other')
    },
  )

  t.test(
    'what a crash left half made is made anew, and so is a namespace that lost its device',
    async (t) => {
      const { network, guest } = await worldFor(t)
      await shell('ip netns add lf-1; ip link add lf-1 type veth peer name up0 netns lf-1')
      const one = await guest(1)
      t.match(await one.ask('/v1/name'), /vm1\n$/)
      await network.attach(placeOf(2), '/run')
      await shell('ip link delete lf-2')
      const two = await guest(2)
      t.match(await two.ask('/v1/name'), /vm2\n$/)
    },
  )

  t.test('a slot that went to another VM is set up for that one', async (t) => {
    const { network, host, guest } = await worldFor(t)
    await network.attach(placeOf(1, { name: 'former' }), '/run')
    const one = await guest(1)
    t.match(await one.ask('/v1/name'), /vm1\n$/)
    await network.detach({ name: 'former', createdAt: CREATED_AT })
    await one.do('listen', { port: 80 })
    t.match(
      await host.do('connect', one.link.addressOf(80)),
      { outcome: 'open' },
      'the late farewell is ignored',
    )
    await network.update(placeOf(1, { name: 'former', egress: 'none' }))
    t.match(await shell('nft list set inet landfall open'), /10\.97\.0\.1/)
  })

  t.test(
    'the table comes back when it was flushed, leaves other tables alone, and mends itself',
    async (t) => {
      const { network, lines, outside, guest } = await worldFor(t, { checkMs: 50 })
      await shell('nft add table inet other; nft add chain inet other kept')
      const one = await guest(1, { egress: 'none' })
      await outside.do('listen', { port: 443 })
      await shell('nft delete table inet landfall')
      await until(async () => (await shell('nft list tables')).includes('landfall'), 'the table is back')
      t.match(await shell('nft list ruleset'), /table inet other \{\n\tchain kept/)
      t.match(await one.do('tryConnect', { host: OUTSIDE, port: 443 }), { outcome: 'timeout' })
      t.match(await one.ask('/v1/name'), /vm1\n$/)
      await shell('nft flush set inet landfall guests')
      await network.detach(placeOf(1))
      await network.attach(placeOf(2), '/run')
      t.match(await shell('nft list set inet landfall guests'), /lf-2/)
      t.match(
        lines.filter(({ level }) => level === 'warn').map(({ message }) => message),
        [/was gone/, /loading it anew/],
      )
    },
  )

  t.test('many VMs come and go at once', async (t) => {
    const { network } = await worldFor(t)
    const places = Array.from({ length: 20 }, (_, at) => placeOf(at + 1))
    await Promise.all(places.map((place) => network.attach(place, '/run')))
    const elements = await shell('nft list set inet landfall guests')
    t.same(
      places.filter(({ slot }) => !elements.includes(`"lf-${slot}" `)),
      [],
    )
    await Promise.all(places.map((place) => network.detach(place)))
    t.notMatch(await shell('nft list set inet landfall guests; ip netns list'), /lf-/)
  })

  t.test('attach and detach take a moment each', async (t) => {
    const { network } = await worldFor(t)
    const timesOf = async (work: (slot: number) => Promise<unknown>) => {
      const times: number[] = []
      for (let slot = 1; slot <= 20; slot += 1) {
        const from = performance.now()
        await work(slot)
        times.push(performance.now() - from)
      }
      return times.toSorted((a, b) => a - b)[10] ?? 0
    }
    const attachMs = await timesOf((slot) => network.attach(placeOf(slot), '/run'))
    const againMs = await timesOf((slot) => network.attach(placeOf(slot), '/run'))
    const detachMs = await timesOf((slot) => network.detach(placeOf(slot)))
    t.comment(
      `median of 20: attach ${attachMs.toFixed(1)}, again ${againMs.toFixed(1)}, detach ${detachMs.toFixed(1)} ms`,
    )
    t.ok(attachMs < GOAL_MS * SLOW_FACTOR)
    t.ok(detachMs < GOAL_MS * SLOW_FACTOR)
  })

  t.test('a failure names what was run, and leaves nothing of the VM behind', async (t) => {
    const { network } = await worldFor(t)
    await shell('mkdir /run/netns/lf-4')
    const error = await network.attach(placeOf(4), '/run').catch((it: unknown) => it)
    t.ok(error instanceof SidecarError)
    t.match(error, { code: 'network_failed', context: { command: /^ip -batch/ } })
    await shell('rmdir /run/netns/lf-4')
    t.notMatch(await shell('ip link; nft list set inet landfall guests'), /lf-4/)
    await network.attach(placeOf(4), '/run')
  })

  t.test('settings that cannot be are refused before anything is changed', async (t) => {
    const start = (settings: object) => startTapNetwork({ log: SILENT, metadata: NO_METADATA }, settings)
    await t.rejects(start({ guestNetwork: '10.97.0.1/16' }), {
      code: 'network_failed',
      message: /10\.97\.0\.1\/16/,
    })
    await t.rejects(start({ allowedNetworks: ['10.0.0.0/33'] }), { message: /10\.0\.0\.0\/33/ })
    await t.rejects(start({ callerNetworks: ['0.0.0.0/0 }; drop'] }), { message: /IPv4 network/ })
    await t.rejects(start({ devicePrefix: 'much-too-long-' }), { message: /cannot begin/ })
    await t.rejects(start({ nameServer: 'dns.example' }), { code: 'network_failed', message: /dns\.example/ })
    await t.rejects(start({ hostPorts: [70_000] }), { message: /70000/ })
    t.notMatch(await shell('ip address show dev lo; nft list tables'), /169\.254|landfall/)
    const network = await start({ guestNetwork: '10.5.0.0/24' })
    t.teardown(async () => {
      await network[Symbol.asyncDispose]()
      await shell('nft flush ruleset; ip address flush dev lo scope global')
    })
    await t.rejects(network.attach(placeOf(255), '/run'), {
      message: '10.5.0.0/24 has no address for slot 255',
    })
  })
}

if (isInside()) testInside()
else await runInside(t, import.meta.url)
