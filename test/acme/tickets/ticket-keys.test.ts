/** Keys of session tickets: who makes them, who seals when, which are known, and that another edge resumes. */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server } from 'node:tls'
import t, { type Test } from 'tap'
import type { TicketKeyBook } from '../../../acme/books.ts'
import { loadLocalCa } from '../../../acme/local-ca.ts'
import type { TicketKeyRow } from '../../../acme/rows.ts'
import { type SharedTicketKeys, startTicketKeys } from '../../../acme/tickets/ticket-keys.ts'
import { createSealer, type Sealer } from '../../../lib/seal.ts'
import { MemoryTable, sealer as ours } from '../serving/memory-table.ts'

const HOUR_MS = 3_600_000

/** A store that all edges of a test share; `follow` is how an edge's memory hears of a change. */
class MemoryBook implements TicketKeyBook {
  keys: readonly TicketKeyRow[] = []
  version = 1
  changes = 0
  isAway = false
  readonly tables: MemoryTable[] = []

  list() {
    if (this.isAway) return Promise.reject(new Error('the store is away'))
    return Promise.resolve({ keys: this.keys, version: this.version })
  }

  change(
    { put, remove }: { readonly put: readonly TicketKeyRow[]; readonly remove: readonly string[] },
    version: number,
  ) {
    if (version !== this.version) return Promise.resolve(false)
    this.version += 1
    this.changes += 1
    this.keys = [...this.keys.filter(({ id }) => !remove.includes(id)), ...put]
    this.follow()
    return Promise.resolve(true)
  }

  follow(): void {
    for (const table of this.tables) table.putTicketKeys(this.keys)
  }
}

interface Edge {
  readonly keys: SharedTicketKeys
  readonly table: MemoryTable
  readonly lines: string[]
}

async function edgeFor(
  t: Test,
  book: MemoryBook,
  { sealer = ours, now = Date.now }: { readonly sealer?: Sealer; readonly now?: () => number } = {},
): Promise<Edge> {
  const table = new MemoryTable()
  table.putTicketKeys(book.keys)
  book.tables.push(table)
  const lines: string[] = []
  const note = (_: unknown, text: string) => lines.push(text)
  const log = { debug: note, info: note, warn: note, error: note }
  const keys = await startTicketKeys({ table, book, sealer, log }, { now, firstKeyMs: 50 })
  t.teardown(() => keys[Symbol.asyncDispose]())
  return { keys, table, lines }
}

t.test('the first edge makes a key, and others seal with the same one', async (t) => {
  const book = new MemoryBook()
  const [one, other] = await Promise.all([edgeFor(t, book), edgeFor(t, book)])
  t.equal(book.keys.length, 1)
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
    const book = new MemoryBook()
    const { keys } = await edgeFor(t, book, { now: () => nowMs })
    const first = keys.sealing
    nowMs += 10.9 * HOUR_MS
    await keys.rotate()
    t.equal(book.keys.length, 1)
    nowMs += 0.2 * HOUR_MS
    await keys.rotate()
    t.equal(book.keys.length, 2)
    t.same(keys.sealing, first, 'an edge that has not heard of the next one must be able to open')
    nowMs += HOUR_MS
    await keys.rotate()
    const second = keys.sealing
    t.not(second?.name.toString('hex'), first?.name.toString('hex'))
    t.same(keys.find(first?.name ?? Buffer.alloc(16)), first)
    nowMs += 24 * HOUR_MS
    t.ok(keys.find(first?.name ?? Buffer.alloc(16)), 'sealed in its last moment')
    nowMs += 1.1 * HOUR_MS
    t.equal(keys.find(first?.name ?? Buffer.alloc(16)), undefined)
    await keys.rotate()
    t.notOk(
      book.keys.some((row) => Date.parse(row.knownUntil) < nowMs),
      'and is deleted',
    )
  },
)

t.test('edges that see the same rows choose the same key, whatever their clocks say', async (t) => {
  const book = new MemoryBook()
  const ahead = await edgeFor(t, book, { now: () => Date.now() + 60_000 })
  const behind = await edgeFor(t, book)
  t.same(behind.keys.sealing, ahead.keys.sealing)
  t.equal(book.keys.length, 1)
})

t.test('of edges that add a key at once one succeeds', async (t) => {
  let nowMs = Date.now()
  const book = new MemoryBook()
  const edges = await Promise.all([1, 2, 3].map(() => edgeFor(t, book, { now: () => nowMs })))
  nowMs += 11.5 * HOUR_MS
  await Promise.all(edges.map(({ keys }) => keys.rotate()))
  t.equal(book.keys.length, 2)
  t.equal(book.changes, 2)
})

t.test('a key that cannot be opened here is said once, left out, and followed by no other', async (t) => {
  const book = new MemoryBook()
  await edgeFor(t, book)
  const { keys, lines } = await edgeFor(t, book, { sealer: createSealer(Buffer.alloc(32, 9)) })
  for (let count = 0; count < 3; count += 1) {
    book.follow()
    await keys.rotate()
  }
  t.equal(keys.sealing, undefined)
  t.same(lines, ["a ticket's key cannot be opened with the secret key of this edge; it is left out"])
})

t.test('an edge with another secret key adds no keys', async (t) => {
  let nowMs = Date.now()
  const book = new MemoryBook()
  await edgeFor(t, book, { now: () => nowMs })
  const wrong = await edgeFor(t, book, { sealer: createSealer(Buffer.alloc(32, 9)), now: () => nowMs })
  nowMs += 11.5 * HOUR_MS
  await wrong.keys.rotate()
  t.equal(book.keys.length, 1)
})

t.test('one broken row does not keep the others from sealing and being followed', async (t) => {
  let nowMs = Date.now()
  const book = new MemoryBook()
  const { keys } = await edgeFor(t, book, { now: () => nowMs })
  const [row] = book.keys
  const from = new Date(nowMs - 1_000).toISOString()
  if (row !== undefined) book.keys = [row, { ...row, id: 'moved', sealsFrom: from }]
  book.follow()
  t.ok(keys.sealing)
  nowMs += 11.5 * HOUR_MS
  await keys.rotate()
  t.equal(book.keys.length, 3)
})

t.test('starts without the store, and has keys as soon as it answers', async (t) => {
  const book = new MemoryBook()
  book.isAway = true
  const { keys, lines } = await edgeFor(t, book)
  t.equal(keys.sealing, undefined)
  t.match(lines, [/could not be read/])
  book.isAway = false
  await keys.rotate()
  t.ok(keys.sealing)
})

t.test('refuses a time after which tickets would be older than seven days', async (t) => {
  const deps = { table: new MemoryTable(), book: new MemoryBook(), sealer: ours, log: console }
  for (const sealHours of [0, 144, Number.NaN])
    await t.rejects(startTicketKeys(deps, { sealHours }), { code: 'certificate_setting' })
})

/** Node's own form of the three parts is name, HMAC key and AES key in a row. */
async function serverFor(t: Test, { keys }: Edge, pem: { certPem: string; keyPem: string }): Promise<Server> {
  const { name, hmacKey, aesKey } = keys.sealing ?? { name: Buffer.alloc(16) }
  const ticketKeys = Buffer.concat([name, hmacKey ?? name, aesKey ?? name])
  const server = createServer({ cert: pem.certPem, key: pem.keyPem, ticketKeys })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return server
}

t.test('a client resumes its session on another edge', async (t) => {
  const ca = await loadLocalCa(t.testdir())
  const pem = await ca.issue(['shop.example'])
  const book = new MemoryBook()
  const edges = [await edgeFor(t, book), await edgeFor(t, book)]
  let session: Buffer | undefined
  for (const edge of edges) {
    const { port } = (await serverFor(t, edge, pem)).address() as AddressInfo
    const options = { host: '127.0.0.1', port, servername: 'shop.example', ca: ca.certPem }
    const socket = connect({ ...options, ...(session && { session }) })
    const given = session === undefined ? once(socket, 'session') : undefined
    await once(socket, 'secureConnect')
    t.equal(socket.isSessionReused(), session !== undefined)
    if (given !== undefined) [session] = await given
    socket.destroy()
  }
})
