/** The packed rows: the same answers as a Map, whatever is done to them, and memory that stays bounded. */

import fc from 'fast-check'
import t from 'tap'
import type { RouteRecord } from '../../../routing/records/records.ts'
import { createNameHash } from '../../../routing/table/name-hash.ts'
import { PackedRows, type PackedRowsSettings } from '../../../routing/table/packed-rows.ts'

type Model = Map<string, { record: RouteRecord; revision: number }>

/** Names that collide in most bits, and lists of grants that fill a slab with a few rows. */
const NAME = fc.integer({ min: 0, max: 40 }).map((number) => `h${number}.example`)
const GRANTS = fc.constantFrom(0, 0, 0, 1, 40, 400)
const ROW = fc.record({ name: NAME, generation: fc.integer({ min: 0, max: 3 }), grants: GRANTS })

const STEP = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('set' as const), row: ROW }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), name: NAME }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('find' as const), name: NAME }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tidy' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('rebuild' as const),
      rows: fc.array(ROW, { maxLength: 30, size: 'max' }),
      present: fc.array(ROW, { maxLength: 5 }),
      unchanged: fc.array(NAME, { maxLength: 20, size: 'max' }),
      kept: fc.array(NAME, { maxLength: 10 }),
      removed: fc.array(NAME, { maxLength: 5 }),
      isGivenUp: fc.boolean(),
    }),
  },
)
type Step = typeof STEP extends fc.Arbitrary<infer Value> ? Value : never

for (const [what, hash] of [
  ['a hash that is good', createNameHash()],
  ['a hash that is always the same', () => 7],
  ['hashes that crowd into a few cells', (name: string) => (60 + name.charCodeAt(2)) & 63],
] as const) {
  t.test(`any steps give the answers of a Map, with ${what}`, (t) => {
    fc.assert(
      fc.property(fc.array(STEP, { maxLength: 200, size: 'max' }), (steps) =>
        run(steps, { hash, generationWeight: 64 }),
      ),
      { numRuns: 40 },
    )
    t.end()
  })
}

t.test('a row is the same frozen object until it changes', (t) => {
  const rows = new PackedRows()
  rows.set(route('a.example', 1, 2), 1)
  const row = rows.find('a.example')
  t.strictSame(row, route('a.example', 1, 2))
  t.ok(Object.isFrozen(row) && Object.isFrozen(row?.upstream) && Object.isFrozen(row?.grants?.[1]?.to))
  rows.set(route('b.example', 1), 2)
  rows.set(route('a.example', 1, 2), 3)
  t.equal(rows.find('a.example'), row, 'written again with the same content')
  t.equal(rows.revisionOf('a.example'), 3)
  const rebuild = rows.startRebuild()
  rebuild.set(route('a.example', 1, 2), 9)
  rebuild.finish()
  t.equal(rows.find('a.example'), row, 'read anew with the same content')
  t.equal(rows.size, 1)
  rows.set(route('a.example', 2, 2), 10)
  t.not(rows.find('a.example'), row)
  t.end()
})

t.test('a rebuild shows nothing before it is finished, and keeps what it is told to', (t) => {
  const rows = new PackedRows()
  for (const name of ['changed', 'gone', 'kept', 'same']) rows.set(route(`${name}.example`, 1), 1)
  const rebuild = rows.startRebuild()
  rebuild.set(route('changed.example', 2), 5)
  rebuild.set(route('new.example', 1), 6)
  rebuild.set(route('same.example', 1), 7)
  rebuild.keep('kept.example')
  rebuild.keep('never.example')
  t.equal(rows.find('changed.example')?.generation, 1)
  t.equal(rows.find('new.example'), undefined)
  t.ok(rows.find('gone.example'))
  rebuild.finish()
  t.equal(rows.find('changed.example')?.generation, 2)
  t.equal(rows.find('gone.example'), undefined)
  t.same(
    ['changed', 'kept', 'new', 'same', 'never'].map((name) => rows.revisionOf(`${name}.example`)),
    [5, 1, 6, 7, 0],
  )
  t.end()
})

t.test('what is not newer than the row changes nothing', (t) => {
  const rows = new PackedRows()
  for (const target of [rows, rows.startRebuild()]) {
    target.set(route('a.example', 1), 5)
    target.set(route('a.example', 2), 5)
    target.set(route('a.example', 3), 4)
    target.delete('a.example', 5)
    if ('finish' in target) target.finish()
    t.equal(rows.find('a.example')?.generation, 1)
    t.equal(rows.revisionOf('a.example'), 5)
  }
  rows.delete('a.example', 6)
  t.equal(rows.find('a.example'), undefined)
  t.end()
})

t.test('a rebuild that a later one replaced cannot be finished', (t) => {
  const rows = new PackedRows()
  const first = rows.startRebuild()
  first.set(route('a.example', 1), 1)
  rows.startRebuild().finish()
  t.throws(() => first.finish(), /given up/)
  t.equal(rows.size, 0)
  t.end()
})

t.test('rows that change for ever take no more memory than twice what they hold', (t) => {
  const rows = new PackedRows()
  for (let round = 0; round < 60; round += 1) {
    for (let number = 0; number < 2_000; number += 1) rows.set(route(`h${number}.example`, round), round)
  }
  t.equal(rows.find('h1999.example')?.generation, 59)
  t.ok(rows.slabBytes < 2 * 2_000 * 150 + 2 * 262_144, `${rows.slabBytes} bytes`)
  rows.set(route('quiet.example', 1), 1)
  for (let round = 0; round < 5_000; round += 1) rows.set(route('busy.example', round), round + 1)
  t.equal(rows.find('quiet.example')?.generation, 1)
  for (let number = 0; number < 2_000; number += 1) rows.delete(`h${number}.example`, 9_999)
  t.ok(rows.slabBytes <= 2 * 262_144, `${rows.slabBytes} bytes`)
  t.end()
})

t.test('rebuilds, finished or given up, leave no memory behind', (t) => {
  const rows = new PackedRows()
  for (let round = 0; round < 20; round += 1) {
    for (const isFinished of [false, true]) {
      const rebuild = rows.startRebuild()
      for (let number = 0; number < 5_000; number += 1) rebuild.set(route(`h${number}.example`, round), round)
      if (isFinished) rebuild.finish()
    }
    while (rows.tidy());
  }
  t.equal(rows.size, 5_000)
  t.ok(rows.slabBytes < 2 * 5_000 * 150 + 2 * 262_144, `${rows.slabBytes} bytes`)
  t.end()
})

t.test('names that nobody has cost no memory, and rows used once do not stay as objects', (t) => {
  const rows = new PackedRows({ generationWeight: 100 })
  for (let number = 0; number < 1_000; number += 1) rows.set(route(`h${number}.example`, 1), 1)
  const first = rows.find('h0.example')
  for (let number = 0; number < 10_000; number += 1) rows.find(`unknown${number}.example`)
  t.equal(rows.find('h0.example'), first, 'unknown names push nothing out')
  for (let number = 1; number < 1_000; number += 1) rows.find(`h${number}.example`)
  t.not(rows.find('h0.example'), first)
  t.same(rows.find('h0.example'), first)
  t.end()
})

t.test('a name that does not fit a byte each, or is too long, is not found and does no harm', (t) => {
  const rows = new PackedRows()
  rows.set(route('a.example', 1), 1)
  t.equal(rows.find('\u0161.example'), undefined)
  t.equal(rows.find('x'.repeat(70_000)), undefined)
  t.equal(rows.find(''), undefined)
  t.throws(() => rows.set(route('x'.repeat(256), 1), 1), RangeError)
  t.equal(rows.size, 1)
  t.end()
})

function run(steps: readonly Step[], settings: PackedRowsSettings): void {
  const rows = new PackedRows(settings)
  let model: Model = new Map()
  for (const [index, step] of steps.entries()) model = take(rows, { model, step, revision: 2 * index + 1 })
  for (let number = 0; number <= 40; number += 1) compare(rows, model, `h${number}.example`)
  const read = new Map(
    [...rows.pieces()].flatMap((rows) => [...rows].map((row) => [row.hostname, row.revision])),
  )
  const expected = [...model].map(([name, { revision }]) => [name, revision])
  equal([...read].sort(), expected.sort())
  equal(rows.size, model.size)
}

interface Turn {
  readonly model: Model
  readonly step: Step
  readonly revision: number
}

/** One step in both; returns the model after it. */
function take(rows: PackedRows, { model, step, revision }: Turn): Model {
  switch (step.kind) {
    case 'set': {
      const record = route(step.row.name, step.row.generation, step.row.grants)
      rows.set(record, revision)
      return model.set(step.row.name, { record, revision })
    }
    case 'delete':
      rows.delete(step.name, revision)
      model.delete(step.name)
      return model
    case 'find':
      compare(rows, model, step.name)
      return model
    case 'tidy':
      while (rows.tidy());
      return model
    case 'rebuild': {
      const next: Model = new Map()
      const rebuild = rows.startRebuild()
      for (const { name, generation, grants } of step.rows) {
        const record = route(name, generation, grants)
        rebuild.set(record, revision)
        // The same revision again is nothing new.
        if (!next.has(name)) next.set(name, { record, revision })
        compare(rows, model, name)
      }
      for (const name of step.unchanged) {
        const present = model.get(name)
        if (present === undefined) continue
        rebuild.set(present.record, present.revision)
        if (!next.has(name)) next.set(name, present)
      }
      for (const { name, generation, grants } of step.present) {
        const record = route(name, generation, grants)
        rows.set(record, revision)
        if (model.get(name)?.revision !== revision) model.set(name, { record, revision })
      }
      for (const name of step.removed) {
        rebuild.delete(name, revision + 1)
        next.delete(name)
      }
      for (const name of step.kept) {
        const present = model.get(name)
        rebuild.keep(name)
        if (present && !next.has(name)) next.set(name, present)
      }
      if (step.isGivenUp) return model
      rebuild.finish()
      return next
    }
  }
}

function compare(rows: PackedRows, model: Model, name: string): void {
  const found = rows.find(name)
  equal(found, model.get(name)?.record)
  if (rows.find(name) !== found) throw new Error(`${name} is another object each time`)
}

function equal(found: unknown, wanted: unknown): void {
  const texts = [found, wanted].map((value) => JSON.stringify(value, sorted))
  if (texts[0] !== texts[1])
    throw new Error(`${texts[0]?.slice(0, 200)} instead of ${texts[1]?.slice(0, 200)}`)
}

function sorted(_name: string, value: unknown): unknown {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject ? Object.fromEntries(Object.entries(value).sort()) : value
}

function route(hostname: string, generation: number, grants = 0): RouteRecord {
  const list = Array.from({ length: grants }, (_, number) => ({
    id: `g${number}`,
    to: { kind: 'email' as const, value: `jürgen.${number}.${'x'.repeat(150)}@example.org` },
    role: 'viewer' as const,
  }))
  const upstream = { host: '10.0.0.2', port: 8_000 }
  const record = { hostname, visibility: 'private', upstream, state: 'running', generation } as const
  return grants === 0 ? record : { ...record, grants: list }
}
