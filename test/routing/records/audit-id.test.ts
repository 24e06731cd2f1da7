/** Ids of audit records sort by time. */

import t from 'tap'
import { createAuditId, toAuditPrefix } from '../../../routing/records/audit-id.ts'
import { compareKeys } from '../../../routing/store/key-order.ts'

const MOMENTS = [
  '1970-01-01T00:00:00Z',
  '1999-12-31T23:59:59.999Z',
  '2026-03-01T12:00:00Z',
  '2112-06-07T08:00:00Z',
]

t.test('ids sort as their moments do, and are all different', (t) => {
  const ids = MOMENTS.map((moment) => createAuditId(new Date(moment)))
  t.strictSame(ids.toSorted(compareKeys), ids)
  for (const id of ids) t.match(id, /^[A-Za-z0-9_-]{1,64}$/)
  t.equal(new Set(Array.from({ length: 100 }, () => createAuditId(new Date(0)))).size, 100)
  t.end()
})

t.test('the prefix of a moment stands before its records and behind those of the millisecond before', (t) => {
  for (const moment of MOMENTS.map((text) => Date.parse(text))) {
    const prefix = toAuditPrefix(new Date(moment))
    t.ok(compareKeys(prefix, `audit/${createAuditId(new Date(moment))}`) < 0)
    if (moment > 0) t.ok(compareKeys(`audit/${createAuditId(new Date(moment - 1))}`, prefix) < 0)
  }
  t.end()
})

t.test('before the epoch there is nothing', (t) => {
  t.equal(toAuditPrefix(new Date('1960-01-01T00:00:00Z')), toAuditPrefix(new Date(0)))
  t.end()
})
