/** A row's JSON: every record comes back as it was, and nothing else is taken for a row. */

import fc from 'fast-check'
import t from 'tap'
import { ROUTES } from '../../../routing/records/record-kinds.ts'
import type { RouteRecord } from '../../../routing/records/records.ts'
import { parseRowJson, ROW_FIELDS, toRowJson } from '../../../routing/table/row-json.ts'

const OPTIONAL = {
  vm: 'web',
  port: 8_000,
  pool: 'home',
  upstream: { host: '10.0.0.2', port: 80 },
  grants: [{ id: 'g', to: { kind: 'email', value: 'jürgen "x"\n@example.org' }, role: 'root' }],
}

t.test('gives back every record that a row may be', (t) => {
  const given = fc.subarray(Object.keys(OPTIONAL) as (keyof typeof OPTIONAL)[])
  fc.assert(
    fc.property(given, fc.nat(), (names, generation) => {
      const some = Object.fromEntries(names.map((name) => [name, OPTIONAL[name]]))
      const record = { hostname: 'a.example', visibility: 'private', state: 'running', generation, ...some }
      const route = findRoute(record)
      if (route === undefined) return
      equalJson({ hostname: 'a.example', ...parseRowJson(toRowJson(route)) }, route)
    }),
  )
  t.end()
})

t.test('takes the names from whoever wrote the values', (t) => {
  t.same(parseRowJson('[1,null,3,4]', ['a', 'b', 'c']), { a: 1, c: 3 })
  t.same(parseRowJson('[]'), {})
  const bare = ROUTES.parse({
    hostname: 'a.example',
    visibility: 'private',
    state: 'running',
    generation: 1,
    upstream: OPTIONAL.upstream,
  })
  t.equal(toRowJson(bare), '["private",null,null,null,{"host":"10.0.0.2","port":80},"running",1]')
  t.notOk(ROW_FIELDS.includes('hostname'))
  for (const json of ['{}', 'null', '7', '']) t.throws(() => parseRowJson(json), SyntaxError, json)
  t.end()
})

t.test('is shorter than the record', (t) => {
  const record = ROUTES.parse({
    hostname: 'a.example',
    visibility: 'private',
    state: 'running',
    generation: 1,
    ...OPTIONAL,
  })
  const { hostname: _, ...rest } = record
  t.ok(toRowJson(record).length < 0.8 * JSON.stringify(rest).length)
  t.end()
})

/** Undefined when the fields do not go together. */
function findRoute(record: object): RouteRecord | undefined {
  try {
    return ROUTES.parse(record)
  } catch {
    return undefined
  }
}

function equalJson(found: object, wanted: object): void {
  const texts = [found, wanted].map((value) => JSON.stringify(Object.entries(value).sort()))
  if (texts[0] !== texts[1]) throw new Error(`${texts[0]} instead of ${texts[1]}`)
}
