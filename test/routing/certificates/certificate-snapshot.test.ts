/** A certificate table that outlives its process: what it starts from without the store, and what it refuses to start from. */

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Books } from '../../../acme/books.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import { CertificateCopy } from '../../../routing/certificates/certificate-copy.ts'
import {
  CERTIFICATE_FORM,
  restoreCertificates,
  toSnapshotRows,
} from '../../../routing/certificates/certificate-snapshot.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import type { Mutation, Store } from '../../../routing/store/store.ts'
import { writeSnapshot } from '../../../routing/table/table-snapshot.ts'
import { FAST } from '../../helpers/certificate-bed.ts'
import {
  certificateOf,
  challengeOf,
  derOf,
  FAR,
  NOW,
  orderOf,
  renewalOf,
  ticketKeyOf,
} from '../../helpers/certificate-rows.ts'
import { deleteChallenges, putChallenges } from '../../helpers/challenge-writes.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { linesOf, SwitchingStore, storeFor } from '../feed/followed-store.ts'

const HEAD = { storeId: 'x', position: { revision: 3, mark: 'm' }, freshAt: Date.now() }
const NEVER = new AbortController().signal
const PLAIN = certificateOf('plain.example')
const RSA = certificateOf('plain.example', { keyType: 'rsa', source: 'upload', profile: 'shortlived' })

/** A store that can be away, with what was written to it. */
function awayFrom(store: Store, isAway = true) {
  const switching = new SwitchingStore(store)
  if (isAway) switching.failures = new Array(100_000).fill(new Error('away'))
  const commits: (readonly Mutation[])[] = []
  const deps = {
    get: switching.get.bind(switching),
    list: switching.list.bind(switching),
    watch: switching.watch.bind(switching),
    commit: async (mutations: readonly Mutation[]) => {
      commits.push(mutations)
      return store.commit(mutations)
    },
  }
  return { switching, commits, deps }
}

async function bedFor(t: Test) {
  const store = await storeFor(t)
  const log = createListLog()
  const books: Books = createBooks({ store, log })
  const file = join(t.testdir(), 'certificates.snapshot')
  const settings = { ...FAST, edgeName: 'one', snapshot: { file } }
  const start = async (used: Pick<Store, 'get' | 'list' | 'watch' | 'commit'>) => {
    const table = await startCertificateTable({ store: used, log }, settings)
    t.teardown(() => table[Symbol.asyncDispose]())
    return table
  }
  const save = async () => (await start(store))[Symbol.asyncDispose]()
  return { store, log, books, file, start, save }
}

t.test('has everything while the store is away, and goes on by the feed', async (t) => {
  const { store, books, file, start, save } = await bedFor(t)
  const renewal = renewalOf(PLAIN, { windowStart: NOW, windowEnd: FAR, reason: 'revoked' })
  await books.certificates.put(PLAIN, renewal)
  await books.certificates.put(RSA, undefined)
  await books.orders.put(orderOf('app.example'), 0)
  await putChallenges(store, [challengeOf('c'), challengeOf('over', { expiresAt: NOW })])
  await putChallenges(store, [challengeOf('alpn', { type: 'tls-alpn-01' })])
  const ticketKey = ticketKeyOf('k')
  await store.put('ticket-key/k', { ...ticketKey })
  await save()
  const text = readFileSync(file, 'utf8')
  t.equal(text.split(derOf('intermediate')).length, 2, 'what certificates share is written once')
  t.notMatch(text, 'challenge/over', 'and what has run out not at all')
  t.equal(statSync(file).mode & 0o777, 0o600)

  await books.certificates.put(certificateOf('later.example'), undefined)
  await deleteChallenges(store, ['c'])
  const { switching, deps } = awayFrom(store)
  const table = await start(deps)
  t.equal(table.ready, true)
  t.ok(table.ageMs > 0 && table.ageMs < 60_000)
  const [ec, rsa] = table.find('plain.example')
  t.same([ec?.read(), rsa?.read()], [PLAIN, RSA])
  t.match(ec?.renewal, { renewAtMs: Date.parse(FAR), askAtMs: Date.parse(NOW), reason: 'revoked' })
  t.match(ec?.renewal, { windowStartMs: Date.parse(NOW), windowEndMs: Date.parse(FAR) })
  t.same(table.findOrder('app.example', 'ec'), orderOf('app.example'))
  t.same(table.findAnswer('token-c'), challengeOf('c'))
  t.equal(table.hasAlpn, true)
  t.same(table.listTicketKeys(), [ticketKey])
  t.same(table.find('later.example'), [])

  switching.failures = []
  await until(() => table.ageMs === 0, 'the feed is followed')
  t.equal(table.find('later.example').length, 1)
  t.equal(table.findAnswer('token-c'), undefined)
  t.equal(table.find('plain.example')[0], ec, 'what did not change is the same')
  t.equal(Math.max(...switching.limits), 1, 'nothing was listed')
})

t.test(
  'says of challenges out of a snapshot that it has them once the store has confirmed them',
  async (t) => {
    const { store, start, save } = await bedFor(t)
    await putChallenges(
      store,
      ['stays', 'goes', 'changes'].map((id) => challengeOf(id)),
    )
    await save()
    // As if it had been killed before it said more than that it has the one.
    for (const id of ['stays', 'changes']) await store.delete(`sighting/${id}/one`)
    await store.put('sighting/goes/one', { challenge: 'goes', edge: 'one', expiresAt: FAR })
    await deleteChallenges(store, ['goes'])
    await putChallenges(store, [challengeOf('changes', { value: 'other' })])
    const { switching, commits, deps } = awayFrom(store)
    const table = await start(deps)
    t.ok(table.findAnswer('token-goes'))
    await until(() => switching.lists > 5, 'it asks the store again and again')
    t.same(commits, [], 'nothing was written')
    switching.failures = []
    const sighted = async () => (await store.list('sighting/')).documents.map(({ key }) => key).join()
    const expected = 'sighting/changes/one,sighting/stays/one'
    await until(async () => (await sighted()) === expected, 'it says what is left')
    t.notOk(
      commits.flat().some(({ key, value }) => key.includes('goes') && value !== undefined),
      'and nothing of what is gone',
    )
  },
)

t.test('a damaged snapshot is put aside, and the table starts as without one', async (t) => {
  const { store, log, books, file, start, save } = await bedFor(t)
  await books.certificates.put(PLAIN, undefined)
  await save()
  const good = readFileSync(file, 'utf8')
  const other = good.replace('landfall-certificates/1', 'landfall-certificates/2')
  const cases: Readonly<Record<string, [text: string, reason: RegExp]>> = {
    empty: ['', /no end/],
    'cut off': [good.slice(0, -200), /no end/],
    'cut off within a row': [good.slice(0, good.length / 2), /no end/],
    altered: [good.replace('plain.example', 'other.example'), /checksum/],
    'of another version': [withChecksum(other), /does not begin with landfall-certificates\/1/],
    'of routes': [withChecksum('{"format":"landfall-table/1"}\n'), /does not begin with/],
    'without a head': [withChecksum('x\n'), /not JSON/],
  }
  for (const [name, [text, reason]] of Object.entries(cases)) {
    writeFileSync(file, text)
    const before = linesOf(log, 'error').length
    const table = await start(awayFrom(store).deps)
    t.equal(table.ready, false, name)
    t.same([table.size, table.ageMs], [0, Number.POSITIVE_INFINITY])
    t.match(
      linesOf(log, 'error').slice(before),
      [{ err: { message: reason }, aside: `${file}.refused` }],
      name,
    )
    await table[Symbol.asyncDispose]()
    t.same(readdirSync(join(file, '..')), ['certificates.snapshot.refused'], 'and it writes none')
  }
  writeFileSync(file, good)
  t.equal((await start(awayFrom(store).deps)).size, 1)
})

t.test('the snapshot of another store is held on to, until an operator accepts the loss', async (t) => {
  const { store, books, log, file, start, save } = await bedFor(t)
  await books.certificates.put(PLAIN, undefined)
  await putChallenges(store, [challengeOf('c')])
  await save()
  const wiped = await storeFor(t)
  const others: Books = createBooks({ store: wiped, log })
  await others.certificates.put(certificateOf('new.example'), undefined)
  await wiped.put('sighting/c/one', { challenge: 'c', edge: 'one', expiresAt: FAR })
  const { switching, commits, deps } = awayFrom(wiped, false)
  const before = statSync(file).ino
  const table = await start(deps)
  await until(() => switching.lists > 5, 'it has looked')
  t.equal(table.find('plain.example').length, 1)
  t.same(table.find('new.example'), [])
  t.same(commits, [], 'no word of its challenges')
  await wiped.put(`accept/${(await wiped.list('')).storeId}`, {})
  await until(() => table.find('new.example').length > 0, 'the new store is taken')
  t.equal(table.find('plain.example').length, 0)
  t.equal(table.findAnswer('token-c'), undefined)
  await until(async () => (await wiped.get('sighting/c/one')) === undefined, 'and its word is taken back')
  await table[Symbol.asyncDispose]()
  t.not(statSync(file).ino, before, 'and saved')
})

t.test('a record of the snapshot that cannot be read is left out and reported', async (t) => {
  const file = join(t.testdir(), 'certificates.snapshot')
  const good = { ...certificateOf('good.example'), chain: [derOf('leaf'), 1] }
  const rows = [
    { revision: 0, name: 'text/1', json: JSON.stringify(derOf('intermediate')) },
    { revision: 1, name: 'certificate/good.example/ec', json: JSON.stringify(good) },
    { revision: 2, name: 'certificate/torn.example/ec', json: '{' },
    {
      revision: 3,
      name: 'certificate/lost.example/ec',
      json: JSON.stringify({ ...good, chain: ['AAAA', 9] }),
    },
    { revision: 4, name: 'certificate/null.example/ec', json: 'null' },
    { revision: Number.NaN, name: 'order/app.example/ec', json: JSON.stringify(orderOf('app.example')) },
    { revision: 5, name: 'later-kind/x', json: '{}' },
  ]
  await writeSnapshot(file, {
    head: HEAD,
    rows: { form: CERTIFICATE_FORM, rebuilds: 0, pieces: () => [rows] },
    signal: NEVER,
  })
  const log = createListLog()
  const { copy, head } = await restoreCertificates({
    ...{ file, log, what: 'it' },
    now: Date.now,
    onChallenge,
  })
  t.same(head, HEAD)
  t.same(copy.rows.get('good.example/ec')?.read().chain, [derOf('leaf'), derOf('intermediate')])
  t.equal(copy.rows.size, 1)
  t.same(
    linesOf(log, 'error').map(({ key }) => key),
    rows.slice(2, 6).map(({ name }) => name),
  )
})

t.test('records that change while they are written do not take others with them', async (t) => {
  const file = join(t.testdir(), 'certificates.snapshot')
  const copy = new CertificateCopy({ onChallenge })
  const put = (n: number, revision: number) => {
    const value = { ...certificateOf(`h${n}.example`, { chain: [derOf(`${n} ${revision}`, 1_000)] }) }
    copy.apply({ key: `certificate/h${n}.example/ec`, value, revision })
  }
  for (let n = 1; n <= 1_000; n += 1) put(n, n)
  let isWriting = true
  const head = { ...HEAD, position: { revision: 1_000, mark: 'm' } }
  const written = writeSnapshot(file, {
    head,
    rows: toSnapshotRows(copy, Date.now),
    signal: NEVER,
  }).finally(() => {
    isWriting = false
  })
  // The last 500 move to other slots, and then are deleted.
  for (let k = 0; isWriting; k += 1) {
    const n = 501 + (k % 500)
    if (k < 500) put(n, 2_000 + k)
    else copy.apply({ key: `certificate/h${n}.example/ec`, value: undefined, revision: 3_000 + k })
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.equal(await written, true)
  const log = createListLog()
  const restored = await restoreCertificates({ file, log, what: 'it', now: Date.now, onChallenge })
  for (let n = 1; n <= 500; n += 1)
    t.equal(restored.copy.rows.get(`h${n}.example/ec`)?.revision, n, `${n} stayed as it was`)
})

t.test('a load of everything gives a snapshot up that is being written', async (t) => {
  const file = join(t.testdir(), 'certificates.snapshot')
  const copy = new CertificateCopy({ onChallenge })
  copy.apply({ key: 'certificate/plain.example/ec', value: { ...PLAIN }, revision: 1 })
  const rows = toSnapshotRows(copy, Date.now)
  const writing = writeSnapshot(file, { head: HEAD, rows, signal: NEVER })
  copy.startLoad().finish()
  t.equal(await writing, false)
  await copy[Symbol.asyncDispose]()
  t.same(readdirSync(join(file, '..')), [])
})

t.test('counts what is worth a new snapshot: not renewals, which are put off every few hours', async (t) => {
  const copy = new CertificateCopy({ onChallenge })
  const counts: number[] = []
  const apply = (key: string, value: object | undefined, revision: number) => {
    copy.apply({ key, value: value && { ...value }, revision })
    counts.push(copy.changes)
  }
  apply('certificate/plain.example/ec', PLAIN, 1)
  apply('renewal/plain.example/ec', renewalOf(PLAIN), 2)
  apply('order/app.example/ec', orderOf('app.example'), 3)
  apply('order/app.example/ec', orderOf('app.example'), 3)
  apply('ticket-key/k', ticketKeyOf('k'), 4)
  apply('certificate/plain.example/ec', undefined, 5)
  t.same(counts, [1, 1, 2, 2, 3, 4])
  await copy[Symbol.asyncDispose]()
})

function onChallenge(): void {}

function withChecksum(text: string): string {
  const body = text.replace(/(?<=^|\n)end [0-9a-f]{64}\n$/, '')
  return `${body}end ${createHash('sha256').update(body).digest('hex')}\n`
}
