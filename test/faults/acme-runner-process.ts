/** The program behind acme-runners.ts: what of an edge carries out certificate orders, over Redis and a real authority, made to be killed. */

import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { openCa } from '../../acme/ca/acme-ca.ts'
import { createChecks } from '../../acme/checks/name-checks.ts'
import { startOrders } from '../../acme/orders/order-runner.ts'
import type { OrderDemand } from '../../acme/orders/orders.ts'
import type { Log } from '../../lib/log.ts'
import { createSealer } from '../../lib/seal.ts'
import { createBooks } from '../../routing/certificates/books.ts'
import { startCertificateTable } from '../../routing/certificates/certificate-table.ts'
import { startPresence } from '../../routing/presence.ts'
import { startRedisStore } from '../../routing/store/redis-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { NOT_WANTED, type RunnerMessage, type RunnerOptions } from './acme-runners.ts'

const LIMITS = { domain: 10_000, set: 10_000, account: 10_000, failures: 1_000 }
/** Fast enough for a test, and slow enough that no loaded machine takes a failure for the other thing. */
const PACE = { pollMs: 50, sweepMs: 200, confirmMs: 15_000, answerMs: 30_000, backOffMs: [200] }

function tell(message: RunnerMessage): void {
  process.send?.(message)
}

const log: Log = {
  debug() {},
  info: (fields, text) => tell({ level: 'info', text, fields: toPlain(fields) }),
  warn: (fields, text) => tell({ level: 'warn', text, fields: toPlain(fields) }),
  error: (fields, text) => tell({ level: 'error', text, fields: toPlain(fields) }),
}

function toPlain(fields: Record<string, unknown>): Record<string, unknown> {
  const { err, ...rest } = fields
  return err === undefined ? rest : { ...rest, err: String(err) }
}

/** Leases say who has them, so that the test knows whom to kill. */
function withPid(store: Store): Store {
  const acquireLease: Store['acquireLease'] = (lease, owner, ttlMs) =>
    store.acquireLease(lease, `${process.pid} ${owner}`, ttlMs)
  return new Proxy(store, {
    get: (object, key) => {
      if (key === 'acquireLease') return acquireLease
      const value: unknown = Reflect.get(object, key, object)
      return typeof value === 'function' ? value.bind(object) : value
    },
  })
}

async function run(options: RunnerOptions): Promise<void> {
  const { name, redisUrl, holdMs, directory, trustedPem, resolver: address, secretKey } = options
  const store = withPid(await startRedisStore({ url: redisUrl }, { log }))
  const record = { name, version: '1', startedAt: new Date().toISOString() }
  const table = await startCertificateTable({ store, log }, { edgeName: name })
  await startPresence({ store, log }, { kind: 'edge', record, ttlMs: holdMs })
  const books = createBooks({ store, log }, { holdMs })
  const sealer = createSealer(Buffer.from(secretKey, 'base64'))
  const ca = openCa({ ...books, sealer, log }, { directory, trustedPem, agreesToTerms: true })
  const resolver = new Resolver({ timeout: 2_000, tries: 2 })
  resolver.setServers([address])
  const checks = createChecks({ resolver }, { domain: 'platform.test', addresses: ['127.0.0.1'] })
  const orders = startOrders(
    { table, books, cas: [ca], checks, sealer, isWanted: () => true, log },
    { domain: 'platform.test', challengeTypes: ['http-01'], profiles: [], limits: LIMITS, ...PACE },
  )
  orders.open()
  process.on('message', (demand: OrderDemand) => {
    orders.want(demand).catch((error: unknown) => log.error({ err: error }, NOT_WANTED))
  })
  tell('ready')
}

process.once('disconnect', () => process.exit())
const [options] = (await once(process, 'message')) as [RunnerOptions]
await run(options)
