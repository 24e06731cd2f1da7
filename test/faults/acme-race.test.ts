/** Three edges over one Redis are asked for the same 200 new names at once: the authority sees 200 orders, and every edge serves all. */

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { ROUTES } from '../../routing/records/record-kinds.ts'
import type { Store } from '../../routing/store/store.ts'
import { settingsOf } from '../helpers/acme-edge.ts'
import { folderFor } from '../helpers/folder.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { originFor } from '../helpers/origin.ts'
import { type Pebble, pebbleFor } from '../helpers/pebble.ts'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { type EdgeProcess, edgeProcessFor } from './edge-process.ts'
import { storeFor, untilTablesFollow } from './fleet.ts'

const NAMES = 200
const EDGES = 3
const AT_ONCE = 40
/** One client may ask for a few new names an hour; every address in 127.0.0.0/8 is another client. */
const NAMES_PER_CLIENT = 10
const DEADLINE_MS = 120_000
/** Two thirds are for new names. */
const LIMITS = { LANDFALL_ACME_LIMITS: `account=${2 * NAMES}` }
const hostnames = Array.from({ length: NAMES }, (_, index) => `www.shop${index}.test`)

t.setTimeout(240_000)

t.test('exactly as many orders as names reach the authority', async (t) => {
  const { store, pebble, edges } = await sceneFor(t)
  await untilTablesFollow(edges, store)
  const root = await pebble.readRoot()
  const open = new Set(edges.flatMap((edge) => hostnames.map((hostname) => ({ edge, hostname }))))
  const visit = async (one: { edge: EdgeProcess; hostname: string }) => {
    if (await isTrusted(one.edge, one.hostname, root)) open.delete(one)
  }
  const allServed = async () => {
    await inTurns([...open], visit)
    return open.size === 0
  }
  await until(allServed, 'every edge serves every name', DEADLINE_MS)
  t.equal(pebble.countLines('Added order'), NAMES)
  t.equal(pebble.countLines('Issued certificate'), NAMES)
})

async function sceneFor(t: Test) {
  const [redis, origin] = [await redisFor(t), await originFor(t)]
  const redisUrl = `redis://127.0.0.1:${redis.port}/0`
  const [httpPort, tlsPort] = [await findFreePort(), await findFreePort()]
  const pebble = await pebbleFor(t, { httpPort, tlsPort })
  const store = await storeFor(t, { redisUrl })
  await writeRoutes(store, origin.port)
  const secretKeyFile = join(folderFor(t), 'secret.key')
  writeFileSync(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
  const start = (_: unknown, index: number) =>
    edgeProcessFor(t, {
      ...{ name: `edge-${index + 1}`, redisUrl, secretKeyFile },
      env: { ...settingsOf(pebble), ...LIMITS, ...(index === 0 && portsOf({ httpPort, tlsPort })) },
    })
  const edges = await Promise.all(Array.from({ length: EDGES }, start))
  return { store, pebble, edges }
}

/** The authority looks at one of the edges, which has to answer for what the others have ordered. */
function portsOf({ httpPort, tlsPort }: Pick<Pebble, 'httpPort' | 'tlsPort'>): Record<string, string> {
  return { LANDFALL_HTTP_PORT: String(httpPort), LANDFALL_HTTPS_PORT: String(tlsPort) }
}

async function writeRoutes(store: Store, port: number): Promise<void> {
  const upstream = { host: '127.0.0.1', port }
  const records = hostnames.map((hostname) =>
    ROUTES.parse({ hostname, visibility: 'public', state: 'running', generation: 0, upstream }),
  )
  await store.commit(records.map((record) => ({ key: ROUTES.keyOf(record), value: { ...record } })))
}

/** A handshake from an address of its own; false also for the certificate that stands in meanwhile. */
async function isTrusted(edge: EdgeProcess, hostname: string, root: string): Promise<boolean> {
  const client = 2 + Math.floor(hostnames.indexOf(hostname) / NAMES_PER_CLIENT)
  const socket = connect({
    ...{ host: '127.0.0.1', port: edge.httpsPort, localAddress: `127.0.0.${client}` },
    ...{ servername: hostname, ca: root, rejectUnauthorized: false },
  })
  const isOpen = await new Promise((resolve) => {
    socket.once('secureConnect', () => resolve(true)).on('error', () => resolve(false))
  })
  const { authorized } = socket
  socket.destroy()
  return isOpen === true && authorized
}

async function inTurns<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const left = [...items]
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}
