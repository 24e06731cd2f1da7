/** Parsers made of schemas: what is far too large is refused without a look at all of it. */

import t from 'tap'
import { Type } from 'typebox'
import { RecordInvalid } from '../../../routing/errors.ts'
import { createBodyParser, createRecordParser } from '../../../routing/records/schema.ts'

const NAMES = Type.Array(Type.String({ description: 'a name' }), {
  maxItems: 3,
  description: 'a list of names',
})
const PORTS = Type.Record(Type.String({ pattern: '^[0-9]+$' }), NAMES, {
  ...{ additionalProperties: false, maxProperties: 2, description: 'an object with ports as names' },
})
const parse = createBodyParser(
  Type.Object(
    {
      names: Type.Optional(NAMES),
      ports: Type.Optional(PORTS),
      nested: Type.Optional(Type.Object({ names: NAMES }, { description: '{"names"}' })),
    },
    { additionalProperties: false, description: 'a JSON object' },
  ),
)

function refusalOf(value: unknown): readonly [string, string | undefined] {
  try {
    parse(value)
  } catch (error) {
    if (error instanceof RecordInvalid) return [error.field, error.detail]
  }
  return ['nothing', undefined]
}

t.test('names what is too large, wherever it is', async (t) => {
  const many = Array.from({ length: 4 }, () => 'a')
  const unknown = 'There is no such field, only: names, ports, nested.'
  const cases = [
    [{ names: many }, '/names', 'It must be a list of names.'],
    [{ ports: { 1: [], 2: [], 3: [] } }, '/ports', 'It must be an object with ports as names.'],
    [{ ports: { 1: many } }, '/ports/1', 'It must be a list of names.'],
    [{ nested: { names: many } }, '/nested/names', 'It must be a list of names.'],
    [{ a: 1, b: 1, c: 1, d: 1 }, '/a', unknown],
    [{ names: [], 'a/b': 1, c: 1, d: 1 }, '/a~1b', unknown],
    [{ a: 1 }, '/a', unknown],
    [['a'], '', 'It must be a JSON object.'],
    [{ nested: ['a'] }, '/nested', 'It must be {"names"}.'],
    [{ names: { length: 9 } }, '/names', 'It must be a list of names.'],
    [{ names: [1] }, '/names/0', 'It must be a name.'],
  ] as const
  for (const [value, field, detail] of cases) t.strictSame(refusalOf(value), [field, detail], field)
})

t.test('reads hardly anything of a list that is too long', async (t) => {
  let reads = 0
  const names = new Proxy(
    Array.from({ length: 30_000 }, () => 1),
    {
      get: (target, name) => {
        reads += 1
        return Reflect.get(target, name)
      },
    },
  )
  t.strictSame(refusalOf({ names }), ['/names', 'It must be a list of names.'])
  t.ok(reads < 10, `${reads} reads`)
})

t.test('reads hardly anything of an object with too many fields', async (t) => {
  let reads = 0
  const fields = new Proxy(
    Object.fromEntries(Array.from({ length: 3_000 }, (_unused, at) => [`f${at}`, 1])),
    {
      get: (target, name) => {
        reads += 1
        return Reflect.get(target, name)
      },
    },
  )
  t.equal(refusalOf(fields)[0], '/f0')
  t.equal(refusalOf({ ports: fields })[0], '/ports')
  t.ok(reads < 10, `${reads} reads`)
})

const RECORD = Type.Object({
  name: Type.String({ description: 'a name' }),
  list: Type.Array(Type.Object({ a: Type.Integer({ description: 'a number' }) }, { description: '{"a"}' })),
  map: Type.Record(Type.String({ pattern: '^[0-9]+$' }), Type.Object({ b: Type.Optional(Type.Integer()) })),
  free: Type.Optional(Type.Object({})),
})
const NEST = JSON.parse(`${'['.repeat(5_000)}${']'.repeat(5_000)}`)
const EXACT = { name: 'x', list: [{ a: 1 }], map: { 1: { b: 2 } }, free: { any: { thing: 1 } } }

t.test('refuses fields that it does not know, at any depth, however deep they are themselves', async (t) => {
  const body = createBodyParser(RECORD)
  t.strictSame(body(EXACT), EXACT)
  for (const [field, value] of [
    ['/x', { ...EXACT, x: NEST }],
    ['/list/0/x', { ...EXACT, list: [{ a: 1, x: NEST }] }],
    ['/map/1/x', { ...EXACT, map: { 1: { x: NEST } } }],
  ] as const) {
    t.throws(() => body(value), { code: 'api_record_invalid', field }, field)
  }
})

t.test('leaves fields that it does not know out of records, at any depth', async (t) => {
  const record = createRecordParser(RECORD)
  t.strictSame(record(EXACT), EXACT)
  const more = { ...EXACT, x: NEST, list: [{ a: 1, x: NEST }], map: { 1: { b: 2, x: NEST } } }
  const known = record(more)
  t.strictSame(known, EXACT)
  t.ok(Object.isFrozen(known))
  t.throws(() => record({ ...more, list: [{ a: 'x' }] }), { code: 'api_record_invalid', field: '/list/0/a' })
})
