/** Two runners of certificate orders over one Redis and one authority, and a test that sees every order's row as it is written. */

import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Test } from 'tap'
import type { CertificateTable } from '../../acme/books.ts'
import { ChallengeAnswers } from '../../acme/challenges/challenge-answers.ts'
import type { OrderRow } from '../../acme/rows.ts'
import { createSealer, type Sealer } from '../../lib/seal.ts'
import { startCertificateTable } from '../../routing/certificates/certificate-table.ts'
import { startPresence } from '../../routing/presence.ts'
import { startRedisStore } from '../../routing/store/redis-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { type Pebble, type PebbleOptions, pebbleFor } from '../helpers/pebble.ts'
import { QUIET_LOG } from '../helpers/quiet-log.ts'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { type Runner, type RunnerLine, runnerFor } from './acme-runners.ts'

/** A killed one's orders are taken up after so long. */
const HOLD_MS = 1_500
const ANSWERER = 'answerer'
const CHALLENGE_PATH = '/.well-known/acme-challenge/'

export interface RunnerScene {
  readonly store: Store
  readonly pebble: Pebble
  readonly table: CertificateTable
  readonly sealer: Sealer
  readonly runners: readonly Runner[]
  /** What the runners logged. */
  readonly lines: readonly RunnerLine[]
  /** Settles in the turn in which such a row of the order was seen. */
  readonly untilRow: (name: string, isIt: (row: OrderRow) => boolean) => Promise<void>
  /** The process id of whoever has the lease, also of one that was killed. */
  readonly findHolder: (name: string) => Promise<number | undefined>
}

export async function runnerSceneFor(t: Test, options: PebbleOptions): Promise<RunnerScene> {
  const redis = await redisFor(t)
  const redisUrl = `redis://127.0.0.1:${redis.port}/0`
  const store = await startRedisStore({ url: redisUrl }, { log: QUIET_LOG })
  t.teardown(() => store[Symbol.asyncDispose]())
  const table = await startCertificateTable({ store, log: QUIET_LOG }, { edgeName: ANSWERER })
  t.teardown(() => table[Symbol.asyncDispose]())
  // The authority asks here, so this edge has to be waited for, whoever of the others lives.
  const record = { name: ANSWERER, version: '1', startedAt: new Date().toISOString() }
  const presence = await startPresence({ store, log: QUIET_LOG }, { kind: 'edge', record })
  t.teardown(() => presence[Symbol.asyncDispose]())
  const pebble = await pebbleFor(t, { ...options, httpPort: await answererFor(t, table) })
  const secret = randomBytes(32)
  const lines: RunnerLine[] = []
  const start = (name: string) =>
    runnerFor(
      t,
      {
        ...{ name, redisUrl, holdMs: HOLD_MS, secretKey: secret.toString('base64') },
        ...{ directory: pebble.directory, trustedPem: pebble.serverRootPem, resolver: pebble.dns.server },
      },
      lines,
    )
  const runners = await Promise.all(['one', 'two'].map(start))
  return {
    ...{ store, pebble, table, sealer: createSealer(secret), runners, lines },
    untilRow: rowWatchFor(t, store),
    findHolder: async (name) => {
      const lease = await store.findLease(`hold/order/${name}`)
      return lease && Number(lease.owner.split(' ')[0])
    },
  }
}

/** Answers http-01 of whatever is in the table, as an edge does. */
async function answererFor(t: Test, table: CertificateTable): Promise<number> {
  const answers = new ChallengeAnswers(table, Date.now)
  const server = createServer(({ url = '', headers: { host = '' } }, response) => {
    const answer = url.startsWith(CHALLENGE_PATH)
      ? answers.findHttp(host.replace(/:\d+$/, ''), url.slice(CHALLENGE_PATH.length))
      : undefined
    response.writeHead(answer === undefined ? 404 : 200).end(answer)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

const HOLD_LOST = 'what this process held may be held by another one'
const ROW_DEADLINE_MS = 60_000
const END_MS = 60_000

/** By the feed and not by looks: some states last for a millisecond. */
function rowWatchFor(t: Test, store: Store): RunnerScene['untilRow'] {
  const stop = new AbortController()
  const waiting = new Set<(key: string, row: OrderRow) => void>()
  const follow = async () => {
    const { revision } = await store.list('', { limit: 1 })
    for await (const event of store.watch(revision, stop.signal)) {
      const changes = event.kind === 'changes' ? event.changes : []
      for (const { key, value } of changes) {
        if (value === undefined || !key.startsWith('order/')) continue
        for (const see of waiting) see(key, value as unknown as OrderRow)
      }
    }
  }
  const following = follow()
  t.teardown(async () => {
    stop.abort()
    await following
  })
  return async (name, isIt) => {
    const state = { isSeen: false }
    const { promise, resolve } = Promise.withResolvers<void>()
    const see = (key: string, row: OrderRow) => {
      if (key !== `order/${name}/ec` || !isIt(row)) return
      state.isSeen = true
      resolve()
    }
    waiting.add(see)
    const late = until(() => state.isSeen, `the order of ${name} gets there`, ROW_DEADLINE_MS)
    await Promise.race([promise, late]).finally(() => waiting.delete(see))
    await late
  }
}

/** Its order is created next, or was just now. */
export function isPaid({ state, paidCas }: OrderRow): boolean {
  return state === 'wanted' && paidCas !== undefined
}

/** The orders that these processes have, or had when they died. */
export async function listHeld(
  { store, findHolder }: RunnerScene,
  pids: readonly number[],
): Promise<readonly OrderRow[]> {
  const { documents } = await store.list('order/')
  const rows = documents.map(({ value }) => value as unknown as OrderRow)
  const holders = await Promise.all(rows.map(({ name }) => findHolder(name)))
  return rows.filter((_, index) => pids.includes(holders[index] ?? 0))
}

/** How many of these orders are created next, or were just now, whoever has them. */
export async function countPaid({ store }: RunnerScene, names: readonly string[]): Promise<number> {
  const { documents } = await store.list('order/')
  const rows = documents.map(({ value }) => value as unknown as OrderRow)
  return rows.filter((row) => names.includes(row.name) && isPaid(row)).length
}

export async function isOver({ store, table }: RunnerScene, names: readonly string[]): Promise<boolean> {
  const { documents } = await store.list('order/')
  return documents.length === 0 && names.every((name) => table.get(name, 'ec') !== undefined)
}

export interface Ended {
  readonly names: readonly string[]
  /** How often somebody was cut short who may just have had an order created. */
  readonly cutCreations: number
}

/** Every name has its certificate, the authority was asked for nothing twice, and no order is left. */
export async function checkEnd(t: Test, scene: RunnerScene, { names, cutCreations }: Ended): Promise<void> {
  await until(() => isOver(scene, names), 'every order has ended', END_MS)
  for (const name of names) await checkServed(t, scene, name)
  const orders = scene.pebble.countLines('Added order')
  t.comment(`${names.length} names, ${orders} orders, ${cutCreations} cut short around a creation`)
  // Of a machine that stood still for longer than a hold; its orders may have been cut short as well.
  const lost = scene.lines.filter(({ text }) => text === HOLD_LOST).length
  t.ok(orders >= names.length && orders <= names.length + cutCreations + lost, 'no order without need')
  t.equal(scene.pebble.countLines('Issued certificate'), names.length, 'no certificate was issued twice')
  const failures = scene.lines.filter(({ text }) => text === 'certificate order failed')
  t.same(failures, [], 'no name had to pause')
}

async function checkServed(t: Test, { store, table, sealer, pebble }: RunnerScene, name: string) {
  const row = table.get(name, 'ec')?.read()
  const [leaf, issuer] = (row?.chain ?? []).map((der) => new X509Certificate(Buffer.from(der, 'base64')))
  const der = sealer.open(row?.sealedKey, `certificate/${name}/ec`)
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  t.ok(leaf?.checkPrivateKey(key), `${name}: the key fits`)
  t.ok(leaf?.checkHost(name), `${name}: the name is in it`)
  const root = new X509Certificate(await pebble.readRoot())
  t.ok(
    issuer !== undefined && leaf?.verify(issuer.publicKey) && issuer.verify(root.publicKey),
    `${name}: sound`,
  )
  const isFree = async () => (await store.findLease(`hold/order/${name}`)) === undefined
  await until(isFree, `${name}: nobody holds it`)
}
