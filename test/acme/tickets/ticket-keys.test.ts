/** Keys of session tickets: who makes them, who seals when, and which are known. */

import t, { type Test } from 'tap'
import type { Books, TicketKeyBook } from '../../../acme/books.ts'
import type { TicketKeyRow } from '../../../acme/rows.ts'
import { type SharedTicketKeys, startTicketKeys } from '../../../acme/tickets/ticket-keys.ts'
import { createSealer, type Sealer } from '../../../lib/seal.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { createAwayStore } from '../../helpers/away-store.ts'
import { caughtUp, FAST } from '../../helpers/certificate-bed.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { SEALER } from '../../helpers/sealer.ts'

const HOUR_MS = 3_600_000
const OTHER_SEALER = createSealer(Buffer.alloc(32, 9))

interface EdgeTerms {
  readonly sealer?: Sealer
  readonly now?: () => number
  readonly sealHours?: number
}

/** Edges that share one store. */
async function fleetFor(t: Test) {
  const inner = await startMemoryStore()
  t.teardown(() => inner[Symbol.asyncDispose]())
  const store = createAwayStore(inner)
  const { ticketKeys: kept }: Books = createBooks({ store, log: QUIET_LOG })
  const counts = { changes: 0 }
  const book: TicketKeyBook = {
    list: () => kept.list(),
    change: async (change, version) => {
      const isDone = await kept.change(change, version)
      if (isDone) counts.changes += 1
      return isDone
    },
  }
  return {
    ...{ store, counts },
    rows: async () => (await kept.list()).keys,
    put: (row: TicketKeyRow) => store.put(`ticket-key/${row.id}`, { ...row }),
    /** `rotate` also waits until the edge has heard of what it made. */
    edgeFor: async ({ sealer = SEALER, now = Date.now, sealHours = 12 }: EdgeTerms = {}) => {
      const table = await startCertificateTable({ store, log: QUIET_LOG }, FAST)
      t.teardown(() => table[Symbol.asyncDispose]())
      const log = createListLog()
      const keys: SharedTicketKeys = await startTicketKeys({ table, book, sealer, log }, { now, sealHours })
      t.teardown(() => keys[Symbol.asyncDispose]())
      const hear = () => caughtUp({ store, table })
      const rotate = async () => {
        await keys.rotate()
        await hear()
      }
      return { keys, hear, rotate, said: () => log.lines.map(({ message }) => message) }
    },
  }
}

t.test('the first edge makes a key, and others seal with the same one', async (t) => {
  const fleet = await fleetFor(t)
  const [one, other] = await Promise.all([fleet.edgeFor(), fleet.edgeFor()])
  t.equal((await fleet.rows()).length, 1)
  t.ok(one.keys.sealing)
  t.same(other.keys.sealing, one.keys.sealing)
  const { name, hmacKey, aesKey } = one.keys.sealing ?? { name: Buffer.alloc(0) }
  t.same([name.length, hmacKey?.length, aesKey?.length], [16, 16, 16])
  t.same(other.keys.find(name), one.keys.sealing)
  t.equal(other.keys.find(Buffer.alloc(16)), undefined)
})

t.test(
  'the next key is there long before it seals, and the last one opens tickets for a day more',
  async (t) => {
    let nowMs = Date.now()
    const fleet = await fleetFor(t)
    const { keys, rotate } = await fleet.edgeFor({ now: () => nowMs })
    const first = keys.sealing
    nowMs += 10.9 * HOUR_MS
    await rotate()
    t.equal((await fleet.rows()).length, 1)
    nowMs += 0.2 * HOUR_MS
    await rotate()
    t.equal((await fleet.rows()).length, 2)
    t.same(keys.sealing, first, 'an edge that has not heard of the next one must be able to open')
    nowMs += HOUR_MS
    await rotate()
    const second = keys.sealing
    t.not(second?.name.toString('hex'), first?.name.toString('hex'))
    t.same(keys.find(first?.name ?? Buffer.alloc(16)), first)
    nowMs += 24 * HOUR_MS
    t.ok(keys.find(first?.name ?? Buffer.alloc(16)), 'sealed in its last moment')
    nowMs += 1.1 * HOUR_MS
    t.equal(keys.find(first?.name ?? Buffer.alloc(16)), undefined)
    await rotate()
    t.notOk(
      (await fleet.rows()).some((row) => Date.parse(row.knownUntil) < nowMs),
      'and is deleted',
    )
  },
)

t.test('edges that see the same rows choose the same key, whatever their clocks say', async (t) => {
  const fleet = await fleetFor(t)
  const ahead = await fleet.edgeFor({ now: () => Date.now() + 60_000 })
  const behind = await fleet.edgeFor()
  t.same(behind.keys.sealing, ahead.keys.sealing)
  t.equal((await fleet.rows()).length, 1)
})

t.test('of edges that add a key at once one succeeds', async (t) => {
  let nowMs = Date.now()
  const fleet = await fleetFor(t)
  const edges = await Promise.all([1, 2, 3].map(() => fleet.edgeFor({ now: () => nowMs })))
  nowMs += 11.5 * HOUR_MS
  await Promise.all(edges.map(({ rotate }) => rotate()))
  t.equal((await fleet.rows()).length, 2)
  t.equal(fleet.counts.changes, 2)
})

t.test('a key that cannot be opened here is said once, left out, and followed by no other', async (t) => {
  const fleet = await fleetFor(t)
  await fleet.edgeFor()
  const [row] = await fleet.rows()
  const { keys, rotate, said } = await fleet.edgeFor({ sealer: OTHER_SEALER })
  for (let count = 0; count < 3; count += 1) {
    if (row !== undefined) await fleet.put(row)
    await rotate()
  }
  t.equal(keys.sealing, undefined)
  t.same(said(), ["a ticket's key cannot be opened with the secret key of this edge; it is left out"])
})

t.test('an edge with another secret key adds no keys', async (t) => {
  let nowMs = Date.now()
  const fleet = await fleetFor(t)
  await fleet.edgeFor({ now: () => nowMs })
  const wrong = await fleet.edgeFor({ sealer: OTHER_SEALER, now: () => nowMs })
  nowMs += 11.5 * HOUR_MS
  await wrong.rotate()
  t.equal((await fleet.rows()).length, 1)
})

t.test('one broken row does not keep the others from sealing and being followed', async (t) => {
  let nowMs = Date.now()
  const fleet = await fleetFor(t)
  const { keys, hear, rotate } = await fleet.edgeFor({ now: () => nowMs })
  const [row] = await fleet.rows()
  const from = new Date(nowMs - 1_000).toISOString()
  if (row !== undefined) await fleet.put({ ...row, id: 'moved', sealsFrom: from })
  await hear()
  t.ok(keys.sealing)
  nowMs += 11.5 * HOUR_MS
  await rotate()
  t.equal((await fleet.rows()).length, 3)
})

t.test('starts without the store, and has keys as soon as it answers', async (t) => {
  const fleet = await fleetFor(t)
  fleet.store.goAway()
  const { keys, rotate, said } = await fleet.edgeFor()
  t.equal(keys.sealing, undefined)
  t.match(said(), [/could not be read/])
  t.equal(said().length, 1)
  fleet.store.comeBack()
  await rotate()
  t.ok(keys.sealing)
})

t.test('refuses a time after which tickets would be older than seven days', async (t) => {
  const fleet = await fleetFor(t)
  for (const sealHours of [0, 144, Number.NaN])
    await t.rejects(fleet.edgeFor({ sealHours }), { code: 'certificate_setting' })
})
