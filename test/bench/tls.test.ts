/** The TLS benchmark: its certificates, what it refuses to time, what it says of its measurements, and a short whole run. */

import { randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createSecureContext } from 'node:tls'
import t, { type Test } from 'tap'
import { loadPrograms } from '../../bench/frame/programs.ts'
import { BACKEND_BODY } from '../../bench/proxies/backend.ts'
import { checkServer } from '../../bench/tls/answer-check.ts'
import { createCertificateFactory, type Leaf, toLeafPem } from '../../bench/tls/certificate-factory.ts'
import { startHandshakeClients } from '../../bench/tls/handshakes.ts'
import { busyOf, createDraw, nameOf, nameOfRank } from '../../bench/tls/names.ts'
import { type TlsMeasured, type TlsSample, toChart, toRows, toTable } from '../../bench/tls/report.ts'
import { SCENARIOS, type TlsScenario } from '../../bench/tls/scenarios.ts'
import { tlsBenchmark } from '../../bench/tls.ts'

const { signal } = new AbortController()

t.test('certificates differ, hold their name, and are signed up to the one that is trusted', (t) => {
  const factory = createCertificateFactory()
  const root = new X509Certificate(factory.caPem)
  const made = [0, 1].map((index) => factory.make(nameOf(index)))
  for (const leaf of made) {
    const [own, middle] = leaf.chain.map((der) => new X509Certificate(der))
    t.ok(own?.checkIssued(middle as X509Certificate) && middle?.checkIssued(root))
    t.ok(own?.verify((middle as X509Certificate).publicKey) && middle?.verify(root.publicKey))
    t.equal(own?.checkHost(leaf.name), leaf.name)
    t.equal(own?.ca, false)
    t.equal(own?.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
    t.equal(own?.validToDate.getTime(), Math.floor(leaf.notAfter.getTime() / 1_000) * 1_000)
    const pem = toLeafPem(leaf)
    t.doesNotThrow(() => createSecureContext({ cert: pem, key: pem }), 'its key belongs to it')
  }
  const serials = made.map(({ chain }) => new X509Certificate(chain[0]).serialNumber)
  t.not(serials[0], serials[1])
  t.end()
})

t.test('busy names are few, popular ones often the same, and each comes once in turn', (t) => {
  const names = 100_000
  const take = (draw: 'busy' | 'popular' | 'each') => {
    const next = createDraw(draw, { names, start: 99_998 })
    return Array.from({ length: 20_000 }, () => next())
  }
  const busy = take('busy')
  t.ok(busy.every((rank) => rank >= 0 && rank < busyOf(names)))
  // The last ones are drawn six times on average, so one of them may be missing.
  t.ok(new Set(busy).size > 0.95 * busyOf(names))
  const popular = take('popular')
  t.ok(popular.every((rank) => rank >= 0 && rank < names))
  const first = popular.filter((rank) => rank === 0).length
  // ln 2 / ln 100,001, with six standard deviations on each side.
  t.ok(first > 1_000 && first < 1_410, String(first))
  t.ok(new Set(popular).size > 5_000)
  t.same(take('each').slice(0, 4), [99_998, 99_999, 0, 1])
  t.equal(new Set(Array.from({ length: 1_000 }, (_, rank) => nameOfRank(rank, 1_000))).size, 1_000)
  t.same(createDraw('busy', { names: 1, start: 0 })(), 0)
  t.end()
})

interface Served {
  readonly server: Server
  readonly port: number
  readonly caPem: string
}

async function serverFor(t: Test, pick: (leaves: readonly Leaf[], name: string) => Leaf): Promise<Served> {
  const factory = createCertificateFactory()
  const leaves = [0, 1].map((index) => factory.make(nameOf(index)))
  const contexts = new Map(leaves.map((leaf) => [leaf, contextOf(leaf)]))
  const server = createServer(
    { SNICallback: (name, done) => done(null, contexts.get(pick(leaves, name))) },
    (_request, response) => response.end(BACKEND_BODY),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, port: (server.address() as AddressInfo).port, caPem: factory.caPem }
}

function contextOf(leaf: Leaf) {
  const pem = toLeafPem(leaf)
  return createSecureContext({ cert: pem, key: pem })
}

const byName = (leaves: readonly Leaf[], wanted: string) => leaves.find(({ name }) => name === wanted) as Leaf
const theFirst = ([first]: readonly Leaf[]) => first as Leaf

t.test('a server with the wrong certificate is not timed', async (t) => {
  const good = await serverFor(t, byName)
  await t.resolves(checkServer({ name: 'good', port: good.port, names: 2 }, { ...good, signal }))
  const bad = await serverFor(t, theFirst)
  await t.rejects(checkServer({ name: 'bad', port: bad.port, names: 2 }, { ...bad, signal }), {
    name: 'BenchError',
    message: /^bad with 2: n0000001\.bench\.test: /,
  })
  const stranger = { caPem: createCertificateFactory().caPem, signal }
  await t.rejects(
    checkServer({ name: 'good', port: good.port, names: 1 }, stranger),
    /unable to (get local issuer|verify)/,
  )
})

t.test('handshakes are counted when they are what was asked for, and fail the run otherwise', async (t) => {
  const { server, port } = await serverFor(t, byName)
  const target = { name: 'a server', port, names: 2 }
  await using clients = startHandshakeClients(signal)
  await clients.prime(target)
  const load = { draw: 'busy', seconds: 0.1 } as const
  for (const mode of ['full', 'resumed'] as const) {
    const { handshakes, perSecond } = await clients.run(target, { ...load, mode })
    t.ok(handshakes > 0 && perSecond > 0, mode)
  }
  server.setTicketKeys(randomBytes(48))
  await t.rejects(
    clients.run(target, { ...load, mode: 'resumed' }),
    /^a server: n\d+\.bench\.test was not resumed/,
  )
})

t.test('another certificate under load fails the run', async (t) => {
  const { port } = await serverFor(t, theFirst)
  await using clients = startHandshakeClients(signal)
  const target = { name: 'a server', port, names: 2 }
  const load = { mode: 'full', draw: 'each', seconds: 5 } as const
  await t.rejects(clients.run(target, load), /got another certificate/)
})

const [FULL, FULL_MANY] = SCENARIOS as [TlsScenario, TlsScenario]

function samplesOf(...micros: readonly number[]): TlsSample[] {
  return micros.map((cpuMicros) => ({ cpuMicros, perSecond: 1_000, busy: 0.5 }))
}

const MEASURED: TlsMeasured[] = [
  { server: 'nginx', scenario: FULL, samples: samplesOf(100, 200, 100), memoryMb: 10 },
  { server: 'Landfall', scenario: FULL, samples: samplesOf(130, 260, 129), memoryMb: 200.4 },
  { server: 'nginx', scenario: FULL_MANY, samples: samplesOf(110, 220, 110), memoryMb: 5_000 },
  { server: 'nginx, files', scenario: FULL_MANY, samples: samplesOf(400, 800, 400), memoryMb: 12 },
  { server: 'Landfall', scenario: FULL_MANY, samples: samplesOf(140, 280, 136), memoryMb: 300 },
]

t.test('ratios are those of the rounds, and the table says whether each target is met', (t) => {
  const rows = toRows(MEASURED, 100_000)
  const lines = toTable(rows, MEASURED).map((cells) => cells.join('|'))
  t.same(lines.slice(1), [
    'full, 1 certificate|nginx|100.0|100%|1.00|1.00|1000|50%|10|',
    'full, 1 certificate|Landfall|130.0|101%|1.30|1.00|1000|50%|200|at most 1.3× nginx: met',
    'full, 100000 certificates, 500 busy|nginx|110.0|100%|1.00|1.10|1000|50%|5000|',
    'full, 100000 certificates, 500 busy|nginx, files|400.0|100%|3.64|4.00|1000|50%|12|',
    'full, 100000 certificates, 500 busy|Landfall|140.0|103%|1.27|1.08|1000|50%|300|at most 1.05× one certificate: not met',
  ])
  t.match(rows[4], { server: 'Landfall', mode: 'full', certificates: 100_000, growth: 1.077, memoryMb: 300 })
  const { groups } = toChart(rows, { measured: MEASURED, subtitle: '', many: 100_000 })
  t.match(groups.slice(0, 2), [
    { name: 'full, 1 certificate', bars: [{ name: 'nginx' }, { name: 'Landfall', isOurs: true }] },
    { bars: [{ value: 110 }, { value: 400 }, { value: 140 }] },
  ])
  t.end()
})

t.test('a whole run with 50 certificates measures each server in each scenario', async (t) => {
  const said: string[] = []
  const { rows, table, versions } = await tlsBenchmark.run({
    settings: { rounds: 1, roundSeconds: 0.2, warmRequests: 1, routes: 1, certificates: 50 },
    programs: await loadPrograms(),
    folder: t.testdir(),
    signal,
    say: (line) => said.push(line),
  })
  t.ok(said.includes('each server has the right certificate for each name, and resumes what it should'))
  const MANY = ['nginx', 'nginx, files', 'HAProxy', 'Landfall']
  const ONE = MANY.filter((name) => name !== 'nginx, files')
  t.same(
    rows.map(({ server }) => server),
    SCENARIOS.flatMap(({ certificates }) => (certificates === 'one' ? ONE : MANY)),
  )
  t.ok(rows.every(({ perSecond, memoryMb }) => Number(perSecond) > 0 && Number(memoryMb) > 0))
  t.equal(table.flat().filter((text) => /^at most .*: (not )?met$/.test(text)).length, 3)
  t.match(versions, { 'nginx’s OpenSSL': /^\d/, 'HAProxy’s OpenSSL': /^\d/, 'Node’s OpenSSL': /^\d/ })
})
