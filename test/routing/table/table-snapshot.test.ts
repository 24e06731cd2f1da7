/** The snapshot file: what is read is what was written, and whatever was damaged is refused as a whole. */

import { createHash } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { RouteRecord } from '../../../routing/records/records.ts'
import { PackedRows } from '../../../routing/table/packed-rows.ts'
import { ROUTE_FORM, toSnapshotRows } from '../../../routing/table/route-snapshot.ts'
import { parseRowJson } from '../../../routing/table/row-json.ts'
import {
  type ReadRow,
  readSnapshot,
  SnapshotDamaged,
  writeSnapshot,
} from '../../../routing/table/table-snapshot.ts'

const HEAD = { storeId: 'store', position: { revision: 17, mark: 'm' }, freshAt: 1_790_000_000_123 }
const { format } = ROUTE_FORM
const NEVER = new AbortController().signal

t.test('gives back what was written, for its owner alone', async (t) => {
  const folder = t.testdir()
  const file = join(folder, 'table.snapshot')
  const rows = rowsOf(3_000)
  t.equal(await writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(rows), signal: NEVER }), true)
  const read: ReadRow[] = []
  t.same(await readSnapshot({ file, format }, (row) => read.push(row)), HEAD)
  t.equal(read.length, 3_000)
  const { json = '', fields } = read.find(({ name }) => name === 'h7.example') ?? {}
  t.same({ hostname: 'h7.example', ...parseRowJson(json, fields) }, route('h7.example', 7))
  t.same(new Set(read.map(({ revision }) => revision)).size, 3_000)
  t.equal((await stat(file)).mode & 0o777, 0o600)
  t.same(await readdir(folder), ['table.snapshot'], 'no temporary file')
})

t.test('an empty table is a snapshot as well', async (t) => {
  const file = join(t.testdir(), 'table.snapshot')
  await writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(new PackedRows()), signal: NEVER })
  t.same(await readSnapshot({ file, format }, () => t.fail('a row')), HEAD)
})

t.test('one changed, lost or added byte anywhere, and no row is handed over', async (t) => {
  const file = join(t.testdir(), 'table.snapshot')
  await writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(rowsOf(20)), signal: NEVER })
  const good = await readFile(file)
  const place = fc.integer({ min: 0, max: good.length - 1 })
  const damage = fc.oneof(
    fc.tuple(place, fc.integer({ min: 1, max: 255 })).map(([at, bits]) => withByte(good, at, bits)),
    place.map((length) => good.subarray(0, length)),
    fc
      .tuple(place, fc.uint8Array({ minLength: 1, maxLength: 200 }))
      .map(([at, bytes]) => inserted(good, at, bytes)),
    fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => inserted(good, good.length, bytes)),
  )
  const check = async (bytes: Buffer) => {
    await writeFile(file, bytes)
    let rows = 0
    const error = await readSnapshot({ file, format }, () => (rows += 1)).catch((error) => error)
    return error instanceof SnapshotDamaged && rows === 0
  }
  await fc.assert(fc.asyncProperty(damage, check), { numRuns: 300 })
  await writeFile(file, good)
  t.same(await readSnapshot({ file, format }, () => {}), HEAD)
})

t.test('refuses a file of another format, with a right checksum', async (t) => {
  const file = join(t.testdir(), 'table.snapshot')
  const whole = '"storeId":"x","revision":1,"mark":"m","freshAt":"2026-01-31T12:00:00Z"'
  const later = `{"format":"landfall-table/2",${whole},"fields":[]}`
  const heads = [later, `{"format":"landfall-table/1",${whole}}`, 'x', 'null', '']
  for (const head of heads) {
    await writeWithChecksum(file, head === '' ? '' : `${head}\n`)
    await t.rejects(
      readSnapshot({ file, format }, () => {}),
      SnapshotDamaged,
      head,
    )
  }
})

t.test('reads what a version with other fields has written', async (t) => {
  const file = join(t.testdir(), 'table.snapshot')
  const head = {
    format: 'landfall-table/1',
    storeId: 'x',
    revision: 1,
    mark: 'm',
    freshAt: new Date().toISOString(),
  }
  await writeWithChecksum(
    file,
    `${JSON.stringify({ ...head, fields: ['later', 'state'] })}\n1 a.example ["x","running"]\n`,
  )
  const rows: ReadRow[] = []
  await readSnapshot({ file, format }, (row) => rows.push(row))
  t.same(
    rows.map(({ json, fields }) => parseRowJson(json, fields)),
    [{ later: 'x', state: 'running' }],
  )
})

t.test('the file from before stays when writing is given up or fails', async (t) => {
  const folder = t.testdir()
  const file = join(folder, 'table.snapshot')
  await writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(rowsOf(3)), signal: NEVER })
  const before = await readFile(file)
  const rows = rowsOf(10)
  t.equal(
    await writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(rows), signal: AbortSignal.abort() }),
    false,
  )
  const replaced = writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(rows), signal: NEVER })
  rows.startRebuild().finish()
  t.equal(await replaced, false, 'all rows were replaced meanwhile')
  const broken = { form: ROUTE_FORM, rebuilds: 0, pieces: fail }
  await t.rejects(writeSnapshot(file, { head: HEAD, rows: broken, signal: NEVER }), /unreadable/)
  t.same(await readFile(file), before)
  t.same(await readdir(folder), ['table.snapshot'])
})

t.test('what a crash left of a temporary file is replaced', async (t) => {
  const folder = t.testdir({ 'table.snapshot.tmp': 'rest' })
  const file = join(folder, 'table.snapshot')
  t.equal(await writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(rowsOf(3)), signal: NEVER }), true)
  t.same(await readSnapshot({ file, format }, () => {}), HEAD)
})

t.test('rows that change while they are written are in it, as they were or as they are', async (t) => {
  const file = join(t.testdir(), 'table.snapshot')
  const rows = rowsOf(20_000)
  const writing = writeSnapshot(file, { head: HEAD, rows: toSnapshotRows(rows), signal: NEVER })
  let isWriting = true
  const written = writing.finally(() => {
    isWriting = false
  })
  for (let n = 0; isWriting; n += 1) {
    for (let k = 0; k < 50; k += 1)
      rows.set(route(`h${1 + ((n * 50 + k) % 20_000)}.example`, 50_000 + n), 50_000 + n)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.equal(await written, true)
  const read = new Map<string, number>()
  await readSnapshot({ file, format }, ({ name, revision }) => read.set(name, revision))
  t.equal(read.size, 20_000)
})

async function writeWithChecksum(file: string, text: string): Promise<void> {
  await writeFile(file, `${text}end ${createHash('sha256').update(text).digest('hex')}\n`)
}

function rowsOf(count: number): PackedRows {
  const rows = new PackedRows()
  for (let n = 1; n <= count; n += 1) rows.set(route(`h${n}.example`, n), n)
  return rows
}

function route(hostname: string, generation: number): RouteRecord {
  const grant = {
    id: 'g',
    to: { kind: 'email' as const, value: 'jürgen\n@example.org' },
    role: 'viewer' as const,
  }
  const upstream = { host: '10.0.0.2', port: 8_000 }
  return { hostname, visibility: 'private', upstream, state: 'running', generation, grants: [grant] }
}

function fail(): never {
  throw new Error('unreadable')
}

function withByte(bytes: Buffer, at: number, bits: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ bits
  return changed
}

function inserted(bytes: Buffer, at: number, more: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)])
}
