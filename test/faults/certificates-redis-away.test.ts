/** Redis is away when an edge starts: out of its snapshot it serves certificates and resumes sessions; without one it is not ready. */

import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createSealer, parseSealKeys } from '../../lib/seal.ts'
import { CERTIFICATES } from '../../routing/records/record-kinds.ts'
import type { Store } from '../../routing/store/store.ts'
import { opensslCaFor } from '../helpers/openssl-certificates.ts'
import { originFor } from '../helpers/origin.ts'
import { redisFor } from '../helpers/redis.ts'
import { visit } from '../helpers/resuming-client.ts'
import { putTestRoute } from '../helpers/route.ts'
import { tlsFor } from '../helpers/tls-dial.ts'
import { until } from '../helpers/until.ts'
import { askOps } from './ask.ts'
import type { EdgeProcess } from './edge-process.ts'
import { faultTimeFor } from './fault-time.ts'
import { fleetFor } from './fleet.ts'

faultTimeFor(t, { seconds: 0 })
const NAME = 'shop.test'
const VERSIONS = ['TLSv1.3', 'TLSv1.2'] as const
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']
const RECOVERY_MS = 15_000

interface Owner {
  readonly store: Pick<Store, 'put'>
  /** What the edges seal with. */
  readonly secretKeyFile: string
}

/** A certificate in the store as its owner has uploaded it. */
async function uploadFor(t: Test, { store, secretKeyFile }: Owner) {
  const owner = opensslCaFor(t)
  const { chainFile, keyPem } = owner.issue([NAME])
  const chain = readFileSync(chainFile, 'utf8').match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/g) ?? []
  const certificates = chain.map((pem) => new X509Certificate(pem))
  const [leaf] = certificates
  if (leaf === undefined) throw new Error('there is no leaf')
  const sealer = createSealer(parseSealKeys(readFileSync(secretKeyFile, 'utf8')))
  const key = `${CERTIFICATES.prefix}${NAME}/ec`
  const der = Buffer.from(keyPem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const row = CERTIFICATES.parse({
    ...{ name: NAME, keyType: 'ec', names: [NAME], source: 'upload' },
    chain: certificates.map(({ raw }) => raw.toString('base64')),
    sealedKey: sealer.seal(der, key),
    notBefore: leaf.validFromDate.toISOString(),
    notAfter: leaf.validToDate.toISOString(),
    createdAt: new Date().toISOString(),
  })
  await store.put(key, { ...row })
  return { rootPem: owner.rootPem, fingerprint: leaf.fingerprint256 }
}

async function fingerprintOf(t: Test, { httpsPort, ca }: EdgeProcess, rootPem: string): Promise<string> {
  const socket = await tlsFor(t, { httpsPort, ca: ca + rootPem }, { servername: NAME })
  const { fingerprint256 = '' } = socket.getPeerX509Certificate() ?? {}
  socket.destroy()
  return fingerprint256
}

async function readReasons(edge: EdgeProcess) {
  const { status, body } = await askOps(edge, '/readyz')
  return { status, reasons: JSON.parse(body).reasons }
}

t.test('an edge that starts while Redis does not run', async (t) => {
  const redis = await redisFor(t, { settings: DURABLE })
  const fleet = await fleetFor(t, { redisUrl: `redis://127.0.0.1:${redis.port}`, edges: 1, rows: 1 })
  const [first] = fleet.edges
  if (first === undefined) throw new Error('an edge is needed')
  const { rootPem, fingerprint } = await uploadFor(t, fleet)
  const origin = await originFor(t, (_request, response) => response.end('shop'))
  const upstream = { host: '127.0.0.1', port: origin.port }
  await putTestRoute(fleet.store, { hostname: NAME, visibility: 'public', upstream })
  const isServed = async () => (await fingerprintOf(t, first, rootPem).catch(() => '')) === fingerprint
  await until(isServed, 'its own certificate is served')
  const target = (edge: EdgeProcess) => ({ httpsPort: edge.httpsPort, ca: edge.ca + rootPem })
  const visits = []
  for (const version of VERSIONS) visits.push(await visit(target(first), { version, servername: NAME }))
  t.match(visits, [
    { isResumed: false, body: 'shop' },
    { isResumed: false, body: 'shop' },
  ])

  const [table, certificates] = ['table.snapshot', 'certificates.snapshot'].map((name) =>
    join(first.dataFolder, name),
  ) as [string, string]
  const has = (file: string, text: string) => existsSync(file) && readFileSync(file, 'utf8').includes(text)
  const isSaved = () => [' ticket-key/', ` certificate/${NAME}/ec `].every((text) => has(certificates, text))
  await until(() => has(table, ` ${NAME} `) && isSaved(), 'both tables are saved')
  await first.kill()
  await redis.kill()

  const again = await fleet.startEdge(first.name, first)
  t.match(await readReasons(again), { status: 200 })
  t.equal(await fingerprintOf(t, again, rootPem), fingerprint, 'it serves the same certificate')
  for (const [index, version] of VERSIONS.entries()) {
    const session = visits[index]?.session
    const resumed = await visit(target(again), { version, servername: NAME, session })
    t.match(resumed, { isResumed: true, status: 200, body: 'shop' }, `${version}: a session goes on`)
  }
  await again.kill()

  rmSync(certificates)
  const bare = await fleet.startEdge(first.name, first)
  const unready = { status: 503, reasons: ['the certificate table is not loaded'] }
  t.same(await readReasons(bare), unready, 'without a snapshot it says why it is not ready')
  await redis.start()
  await until(async () => (await readReasons(bare)).status === 200, 'it becomes ready', RECOVERY_MS)
  t.equal(await fingerprintOf(t, bare, rootPem), fingerprint)
})
