/** Grants that ran out are deleted a day later, and never without their rows. */

import t from 'tap'
import { startRetention } from '../../routing/retention.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { createListLog } from '../helpers/list-log.ts'
import { until } from '../helpers/until.ts'
import { grantOf, putBinding, putGrant, putVm, rowsOf, vmOf } from './vms/vm-documents.ts'

const NOW = Date.parse('2026-06-01T12:34:56Z')
const DAY_MS = 86_400_000

function daysAgo(days: number): Date {
  return new Date(NOW - days * DAY_MS)
}

t.test('grants that ran out more than a day ago go with their copies in rows', async (t) => {
  const store = await startMemoryStore({ now: () => NOW })
  t.teardown(() => store[Symbol.asyncDispose]())
  const bed = { store, log: createListLog() }
  await putVm(bed.store, vmOf('web'))
  await putBinding(bed.store, { vm: 'web', hostname: 'web.example.test' })
  for (const [id, days] of [
    ['old', 1.1],
    ['late', 0.9],
  ] as const) {
    const to = { kind: 'user', value: id } as const
    await putGrant(bed.store, grantOf('web', id, { to, expiresAt: daysAgo(days).toISOString() }))
  }
  await putGrant(bed.store, grantOf('web', 'open'))
  await store.commit([{ key: 'vm/broken', value: {}, ifRevision: 0 }])
  await bed.store.put('grant/broken/x', { ...grantOf('broken', 'x'), expiresAt: daysAgo(9).toISOString() })
  const retention = startRetention(bed, { pauseMs: 1, now: () => NOW })
  await until(() => bed.log.lines.length > 1, 'a sweep is over')
  await retention[Symbol.asyncDispose]()
  t.strictSame(
    (await store.list('grant/web/')).documents.map(({ key }) => key),
    ['grant/web/late', 'grant/web/open'],
  )
  await store.commit([{ key: 'vm/broken', value: undefined }])
  const { stored, fresh } = await rowsOf(bed.store)
  t.same(stored, fresh)
  const audits = (await bed.store.list('audit/')).documents.map(({ value }) => value)
  t.match(audits, [{ who: 'retention', action: 'delete', key: 'grant/web/old' }])
  t.match(bed.log.lines.at(0), { level: 'warn', vm: 'broken' })
})
