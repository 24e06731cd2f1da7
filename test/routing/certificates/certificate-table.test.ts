/** The certificate table: which certificates cover a name, what changes tell, and what broken records cannot do. */

import t from 'tap'
import type { Books, CertificateTable } from '../../../acme/books.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { startSqliteStore } from '../../../routing/store/sqlite-store.ts'
import { bedFor, caughtUp, FAST } from '../../helpers/certificate-bed.ts'
import {
  certificateOf,
  challengeOf,
  FAR,
  NOW,
  orderOf,
  renewalOf,
  ticketKeyOf,
} from '../../helpers/certificate-rows.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { SwitchingStore, storeFor } from '../feed/followed-store.ts'

const namesOf = (table: CertificateTable, hostname: string) =>
  table.find(hostname).map(({ name, keyType }) => `${name} ${keyType}`)

t.test('an exact name comes before a wildcard, and EC before RSA', async (t) => {
  const bed = await bedFor(t)
  const { books, table } = bed
  const platform = { names: ['example.test', '*.example.test'] }
  for (const keyType of ['rsa', 'ec'] as const) {
    await books.certificates.put(certificateOf('example.test', { ...platform, keyType }), undefined)
    await books.certificates.put(certificateOf('app.example.test', { keyType }), undefined)
  }
  await caughtUp(bed)
  t.equal(table.size, 4)
  t.same(namesOf(table, 'app.example.test'), [
    'app.example.test ec',
    'app.example.test rsa',
    'example.test ec',
    'example.test rsa',
  ])
  t.same(namesOf(table, 'example.test'), ['example.test ec', 'example.test rsa'])
})

t.test('a wildcard stands for one whole label, the first', async (t) => {
  const bed = await bedFor(t)
  const { books, table } = bed
  await books.certificates.put(certificateOf('example.test', { names: ['*.example.test'] }), undefined)
  await caughtUp(bed)
  t.same(namesOf(table, 'app.example.test'), ['example.test ec'])
  t.same(namesOf(table, '3000--app.example.test'), ['example.test ec'])
  const foreign = ['example.test', 'a.app.example.test', '*.example.test', '.example.test', 'xexample.test']
  for (const name of [
    ...foreign,
    'test',
    '',
    '*',
    'example.test.',
    `${'a.'.repeat(4_000)}example.test`,
    'é.example',
  ]) {
    t.same(table.find(name), [], `${name.slice(0, 30)}`)
  }
})

t.test('of several that cover a name the one that is kept under it comes first', async (t) => {
  const bed = await bedFor(t)
  const { books, table } = bed
  const wide = { names: ['www.shop.example', 'shop.example'] }
  await books.certificates.put(certificateOf('shop.example', { ...wide, notAfter: FAR }), undefined)
  await books.certificates.put(
    certificateOf('www.shop.example', { notAfter: '2026-02-01T00:00:00Z' }),
    undefined,
  )
  await caughtUp(bed)
  t.same(namesOf(table, 'www.shop.example'), ['www.shop.example ec', 'shop.example ec'])
})

t.test('gives whole rows back', async (t) => {
  const bed = await bedFor(t)
  const rows = [
    certificateOf('plain.example'),
    certificateOf('rsa.example', {
      keyType: 'rsa',
      source: 'upload',
      chain: ['AAAA'],
      profile: 'shortlived',
    }),
    certificateOf('localhost', { names: ['localhost', '*.localhost'] }),
    certificateOf('many.example', { names: Array.from({ length: 100 }, (_, n) => `n${n}.many.example`) }),
  ]
  for (const row of rows) await bed.books.certificates.put(row, undefined)
  await caughtUp(bed)
  for (const row of rows) {
    const known = bed.table.get(row.name, row.keyType)
    t.strictSame({ ...known?.read() }, row)
    t.match(known, { name: row.name, keyType: row.keyType, source: row.source, renewal: undefined })
    t.same([known?.notBeforeMs, known?.notAfterMs], [Date.parse(NOW), Date.parse(FAR)])
    t.same(known?.names, row.names)
  }
  t.equal(bed.table.get('plain.example', 'rsa'), undefined)
  t.same([...bed.table.list()].map(({ name }) => name).sort(), rows.map(({ name }) => name).sort())
})

t.test('one stays the same object until it is replaced, and then what it was', async (t) => {
  const bed = await bedFor(t)
  const { books, table } = bed
  const old = certificateOf('app.example')
  const young = certificateOf('app.example', { createdAt: FAR, names: ['app.example', 'www.app.example'] })
  await books.certificates.put(old, renewalOf(old))
  await caughtUp(bed)
  const [first] = table.find('app.example')
  await books.certificates.putRenewal(renewalOf(old, { reason: 'revoked', windowStart: NOW, windowEnd: FAR }))
  await caughtUp(bed)
  t.equal(table.find('app.example')[0], first)
  t.equal(table.get('app.example', 'ec'), first)
  t.equal([...table.list()][0], first)
  t.strictSame(first?.renewal, {
    ...{ renewAtMs: Date.parse(FAR), askAtMs: Date.parse(NOW), reason: 'revoked' },
    ...{ windowStartMs: Date.parse(NOW), windowEndMs: Date.parse(FAR) },
  })
  await books.certificates.put(young, undefined)
  await caughtUp(bed)
  const [second] = table.find('www.app.example')
  t.not(second, first)
  t.ok((second?.revision ?? 0) > (first?.revision ?? 0))
  t.strictSame({ ...first?.read() }, old)
  t.same([first?.names, first?.renewal], [['app.example'], undefined])
  await books.certificates.delete('app.example', 'ec')
  await caughtUp(bed)
  t.same([table.size, ...table.find('app.example'), ...table.find('www.app.example')], [0])
  t.strictSame({ ...second?.read() }, young)
})

t.test('what is said of another certificate is no renewal', async (t) => {
  const bed = await bedFor(t)
  const row = certificateOf('app.example')
  await bed.store.put('renewal/app.example/ec', { ...renewalOf(row, { of: `${FAR} ${FAR}` }) })
  await bed.books.certificates.put(row, undefined)
  await bed.store.put('renewal/app.example/ec', { ...renewalOf(row, { of: `${FAR} ${FAR}` }) })
  await caughtUp(bed)
  t.equal(bed.table.get('app.example', 'ec')?.renewal, undefined)
  await bed.store.put('renewal/app.example/ec', { ...renewalOf(row) })
  await caughtUp(bed)
  t.equal(bed.table.get('app.example', 'ec')?.renewal?.renewAtMs, Date.parse(FAR))
})

t.test('rings for each change, until it is ended', async (t) => {
  const bed = await bedFor(t)
  const { books, table } = bed
  const heard: string[] = []
  const ends = [
    table.onCertificate((name) => heard.push(name)),
    table.onOrder(({ name, state }) => heard.push(`${name} ${state}`)),
    table.onTicketKey(() => heard.push(`${table.listTicketKeys().length} keys`)),
  ]
  const row = certificateOf('app.example')
  const revision = (await books.orders.put(orderOf('app.example'), 0)) ?? 0
  await books.orders.delete({ row: orderOf('app.example'), revision })
  await books.certificates.put(row, undefined)
  await books.certificates.putRenewal(renewalOf(row))
  await books.certificates.delete('app.example', 'ec')
  await bed.store.put('ticket-key/k', { ...ticketKeyOf('k') })
  await caughtUp(bed)
  t.same(heard, ['app.example wanted', 'app.example wanted', 'app.example', 'app.example', '1 keys'])
  for (const end of ends) end()
  await books.orders.put(orderOf('app.example'), 0)
  await bed.store.put('ticket-key/l', { ...ticketKeyOf('l') })
  await caughtUp(bed)
  t.equal(heard.length, 5)
  t.match(table.findOrder('app.example', 'ec'), orderOf('app.example'))
  t.same([...table.listOrders()], [orderOf('app.example')])
})

t.test('a broken record is refused by itself, and the last good one stays', async (t) => {
  const store = await startMemoryStore()
  const good = certificateOf('app.example')
  const huge = Buffer.alloc(40_000).toString('base64')
  await store.put('certificate/app.example/ec', { ...good })
  await store.put('certificate/a.example/ec', { name: 'a.example' })
  await store.put('certificate/b.example/ec', { ...certificateOf('b.example', { chain: [huge, huge] }) })
  await store.put('certificate/c.example/ec', { ...certificateOf('d.example') })
  await store.put('order/a.example/ec', { ...orderOf('a.example'), state: 'odd' })
  await store.put('challenge/c1', { ...challengeOf('c2') })
  await store.put('challenge/c3', { ...challengeOf('c3') })
  const bed = await bedFor(t, { store })
  t.equal(bed.table.size, 1)
  t.ok(bed.table.findAnswer('token-c3'))
  t.same([...bed.table.listOrders()], [])
  t.equal(bed.log.lines.filter(({ level }) => level === 'error').length, 5)
  const eleven = Array.from({ length: 11 }, () => 'AAAA')
  await store.put('certificate/app.example/ec', { ...good, chain: eleven })
  await caughtUp(bed)
  t.strictSame({ ...bed.table.get('app.example', 'ec')?.read() }, good)
})

t.test('after a gap in the feed it is whole again, and what did not change is the same', async (t) => {
  const store = await storeFor(t)
  const switching = new SwitchingStore(store)
  const log = createListLog()
  const books: Books = createBooks({ store, log })
  const kept = certificateOf('kept.example')
  const gone = certificateOf('gone.example')
  const changed = certificateOf('changed.example')
  for (const row of [kept, gone, changed]) await books.certificates.put(row, renewalOf(row))
  await books.orders.put(orderOf('gone.example'), 0)
  const deps = { store: { ...bound(switching), commit: store.commit.bind(store) }, log }
  const table: CertificateTable & AsyncDisposable = await startCertificateTable(deps, FAST)
  t.teardown(() => table[Symbol.asyncDispose]())
  t.same([table.size, table.ready, table.ageMs], [3, true, 0])
  const before = table.get('kept.example', 'ec')
  const lost = table.get('gone.example', 'ec')
  const heard: string[] = []
  table.onCertificate((name) => heard.push(name))
  table.onOrder(({ name }) => heard.push(`order ${name}`))
  switching.isDeaf = true
  switching.resync()
  const young = certificateOf('changed.example', { createdAt: FAR })
  await store.commit([
    { key: 'certificate/gone.example/ec', value: undefined },
    { key: 'order/gone.example/ec', value: undefined },
    { key: 'certificate/changed.example/ec', value: { ...young } },
    { key: 'certificate/kept.example/ec', value: { ...kept, chain: [] } },
  ])
  switching.isDeaf = false
  await until(() => table.get('changed.example', 'ec')?.read().createdAt === FAR, 'it is loaded again')
  t.equal(table.get('kept.example', 'ec'), before, 'its record cannot be read, and the last one stays')
  t.strictSame({ ...before?.read() }, kept)
  t.equal(table.get('gone.example', 'ec'), undefined)
  t.strictSame({ ...lost?.read() }, gone)
  t.equal(table.get('changed.example', 'ec')?.renewal, undefined)
  t.ok(before?.renewal)
  t.ok(
    heard.includes('gone.example') &&
      heard.includes('changed.example') &&
      heard.includes('order gone.example'),
  )
})

function bound(store: SwitchingStore) {
  return { get: store.get.bind(store), list: store.list.bind(store), watch: store.watch.bind(store) }
}

t.test('serves what it knows while the store is away', async (t) => {
  const store = await startSqliteStore(t.testdir())
  const bed = await bedFor(t, { store })
  const row = certificateOf('app.example')
  await bed.books.certificates.put(row, undefined)
  await caughtUp(bed)
  await store[Symbol.asyncDispose]()
  await until(() => bed.table.ageMs > 0, 'the loss is seen')
  t.equal(bed.table.ready, true)
  t.strictSame({ ...bed.table.find('app.example')[0]?.read() }, row)
})
