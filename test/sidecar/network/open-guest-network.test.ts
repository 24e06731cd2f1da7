/** Which network a host takes: taps where they work, QEMU's own where they do not, none in silence. */

import t from 'tap'
import { openGuestNetwork } from '../../../sidecar/network/open-guest-network.ts'
import { isInside, runInside } from './private-network.ts'
import { listLog, shell } from './world.ts'

const metadata = { answer: async () => ({ status: 404, type: 'text/plain', body: '' }) as const }

function testInside(): void {
  t.test('taps are taken where they work, and user-mode networking where it is asked for', async (t) => {
    const { log } = listLog()
    const tables = () => shell('nft list tables')
    await using user = await openGuestNetwork({ log, metadata }, { kind: 'user' })
    t.equal(user.kind, 'user')
    t.equal(await tables(), '', 'which changes nothing of the machine')
    await using tap = await openGuestNetwork({ log, metadata }, { kind: 'auto' })
    t.equal(tap.kind, 'tap')
    t.match(await tables(), /table inet landfall/)
    await shell('nft flush ruleset')
  })

  t.test('without a device for taps, auto says so and tap fails', async (t) => {
    const { log, lines } = listLog()
    await shell('rm /dev/net/tun')
    t.teardown(() => shell('mknod -m 666 /dev/net/tun c 10 200'))
    await using network = await openGuestNetwork({ log, metadata }, { kind: 'auto' })
    t.equal(network.kind, 'user')
    t.match(lines, [{ level: 'warn', message: /taps do not work here/ }])
    await t.rejects(openGuestNetwork({ log, metadata }, { kind: 'tap' }), { code: 'network_failed' })
  })
}

if (isInside()) testInside()
else await runInside(t, import.meta.url)
