/** An authority that refuses half of all good nonces, and takes half of all proofs for given: one edge gets every certificate. */

import { connect } from 'node:tls'
import t from 'tap'
import { ROUTES } from '../../routing/records/record-kinds.ts'
import { acmeEdgeFor } from '../helpers/acme-edge.ts'
import { originFor } from '../helpers/origin.ts'
import type { PebbleOptions } from '../helpers/pebble.ts'
import { until } from '../helpers/until.ts'

const KEY_TYPES = ['ec', 'rsa']
/** One client may ask for a few new names an hour; every address in 127.0.0.0/8 is another client. */
const NAMES_PER_CLIENT = 10
const DEADLINE_MS = 60_000
const hostnames = Array.from({ length: 20 }, (_, index) => `www.shop${index}.test`)

/** Of two kinds of key, so that the second order of a name may find it proven. */
const HALF: PebbleOptions = { nonceReject: 50, authzReuse: 50 }

t.test('20 names with two certificates each', async (t) => {
  const env = { LANDFALL_ACME_KEYS: KEY_TYPES.join(',') }
  const { pebble, edge, root } = await acmeEdgeFor(t, { pebble: HALF, env })
  const upstream = { host: '127.0.0.1', port: (await originFor(t)).port }
  const records = hostnames.map((hostname) =>
    ROUTES.parse({ hostname, visibility: 'public', state: 'running', generation: 0, upstream }),
  )
  await edge.store.commit(records.map((record) => ({ key: ROUTES.keyOf(record), value: { ...record } })))
  const isServed = (hostname: string) => isTrusted(edge.httpsPort, hostname, root)
  const areServed = async () => (await Promise.all(hostnames.map(isServed))).every((is) => is)
  await until(areServed, 'every name is served', DEADLINE_MS)
  const countIssued = async () => {
    const { documents } = await edge.store.list('certificate/www.')
    return documents.length
  }
  const wanted = hostnames.length * KEY_TYPES.length
  await until(async () => (await countIssued()) === wanted, 'every certificate is there', DEADLINE_MS)
  t.equal(pebble.countLines('Added order'), wanted)
  t.equal(pebble.countLines('Issued certificate'), wanted)
  const failures = edge.logged.filter(
    ({ message, name }) => message === 'certificate order failed' && hostnames.includes(String(name)),
  )
  t.same(failures, [], 'a refused nonce is no failure')
  const proofs = pebble.countLines('Pulled a task')
  t.ok(proofs < wanted, `${proofs} proofs were enough`)
})

/** A handshake from an address of its own; false also for the certificate that stands in meanwhile. */
async function isTrusted(port: number, hostname: string, root: string): Promise<boolean> {
  const client = 2 + Math.floor(hostnames.indexOf(hostname) / NAMES_PER_CLIENT)
  const socket = connect({
    ...{ host: '127.0.0.1', port, localAddress: `127.0.0.${client}` },
    ...{ servername: hostname, ca: root, rejectUnauthorized: false },
  })
  const isOpen = await new Promise((resolve) => {
    socket.once('secureConnect', () => resolve(true)).on('error', () => resolve(false))
  })
  const { authorized } = socket
  socket.destroy()
  return isOpen === true && authorized
}
