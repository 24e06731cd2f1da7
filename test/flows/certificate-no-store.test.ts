/** The store is killed while edges run: certificates go on being served at all of them, and sessions are resumed across them. */

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type EdgeProcess, edgeProcessFor } from '../faults/edge-process.ts'
import { storeFor, untilTablesFollow } from '../faults/fleet.ts'
import { PLATFORM, readServed } from '../helpers/acme-edge.ts'
import { orderingSettings } from '../helpers/certified-edges.ts'
import { folderFor } from '../helpers/folder.ts'
import { originFor } from '../helpers/origin.ts'
import { challengeServerFor } from '../helpers/pebble.ts'
import { redisFor } from '../helpers/redis.ts'
import { visit } from '../helpers/resuming-client.ts'
import { putTestRoute } from '../helpers/route.ts'
import { smallCaFor } from '../helpers/small-ca.ts'
import { until } from '../helpers/until.ts'

const NAME = 'www.shop.test'
const LATE = 'late.shop.test'
const DEADLINE_MS = 20_000
const VERSIONS = ['TLSv1.3', 'TLSv1.2'] as const

t.setTimeout(90_000)

async function sceneFor(t: Test) {
  const [redis, origin] = [await redisFor(t), await originFor(t)]
  const [dns, smallCa] = [await challengeServerFor(t), await smallCaFor(t)]
  const redisUrl = `redis://127.0.0.1:${redis.port}/0`
  const store = await storeFor(t, { redisUrl })
  for (const hostname of [NAME, LATE]) {
    const upstream = { host: '127.0.0.1', port: origin.port }
    await putTestRoute(store, { hostname, visibility: 'public', upstream })
  }
  const secretKeyFile = join(folderFor(t), 'secret.key')
  writeFileSync(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
  const env = orderingSettings(smallCa, dns.server)
  const start = (name: string) => edgeProcessFor(t, { name, redisUrl, secretKeyFile, env })
  const edges = await Promise.all([start('edge-1'), start('edge-2')])
  await untilTablesFollow(edges, store)
  const trusted = edges.map((edge) => ({ ...edge, ca: smallCa.rootPem }))
  return { redis, smallCa, edges: trusted as [EdgeProcess, EdgeProcess] }
}

t.test('certificates and sessions outlive the store', async (t) => {
  const { redis, smallCa, edges } = await sceneFor(t)
  const root = smallCa.rootPem
  for (const { name, httpsPort } of edges) {
    const isTrusted = async () => (await readServed(httpsPort, { hostname: NAME, root })).isTrusted
    await until(isTrusted, `${name} serves it`, DEADLINE_MS)
  }
  await redis.kill()
  const [one, two] = edges
  for (const version of VERSIONS) {
    const first = await visit(one, { version, servername: NAME })
    t.match(first, { isResumed: false, status: 200 }, version)
    const second = await visit(two, { version, servername: NAME, session: first.session })
    t.match(second, { isResumed: true, status: 200 }, version)
  }
  const late = await readServed(one.httpsPort, { hostname: LATE, root })
  t.match(late, { isTrusted: false, names: `DNS:${PLATFORM}, DNS:*.${PLATFORM}` }, 'no order, and no hang')
  t.equal((await visit(two, { version: 'TLSv1.3', servername: NAME })).status, 200)
  t.equal(smallCa.orders.length, 1)
})
