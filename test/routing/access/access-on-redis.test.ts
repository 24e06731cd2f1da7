/** Two edges on one Redis: what one of them revokes the other one knows at once, and keeps while Redis is away. */

import t from 'tap'
import { startAccessTable } from '../../../routing/access/access-table.ts'
import { createLoginBook } from '../../../routing/logins/login-book.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { lostTimeFor } from '../../helpers/lost-time.ts'
import { redisFor } from '../../helpers/redis.ts'
import { loggedStoreFor } from '../../helpers/redis-store.ts'
import { until } from '../../helpers/until.ts'
import { FAR, poolOf } from './access-documents.ts'

const WITHIN_MS = 1_000

t.test('a revocation reaches the other edge within a second', async (t) => {
  const redis = await redisFor(t)
  const settings = { url: `redis://127.0.0.1:${redis.port}`, prefix: 'fleet', commandTimeoutMs: 1_000 }
  const { store: one } = await loggedStoreFor(t, settings)
  const { store: other } = await loggedStoreFor(t, settings)
  await one.put('pool/web', poolOf('web', 'ada'))
  const log = createListLog()
  const access = await startAccessTable({ store: other, log }, { probeMs: 50, maxRetryMs: 200 })
  t.teardown(() => access[Symbol.asyncDispose]())
  t.equal(access.findOwner('web'), 'ada')
  const book = createLoginBook({ store: one, log })

  const lostMs = lostTimeFor(t)
  const sentAt = performance.now()
  await book.revokeCredential('first', FAR)
  await until(() => access.findRevocation('credential', 'first') !== undefined, 'the first one', WITHIN_MS)
  t.ok(performance.now() - sentAt < WITHIN_MS + lostMs())

  await redis.kill()
  await until(() => access.awayMs > 0, 'Redis is away')
  t.ok(access.ageMs > 0)
  t.equal(access.findOwner('web'), 'ada', 'what is known stays')
  t.ok(access.findRevocation('credential', 'first'))
})
