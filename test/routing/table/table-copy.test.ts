/** The table's rows as a copy: what a load leaves behind is given up, and what cannot be read is refused. */

import t from 'tap'
import { RecordInvalid } from '../../../routing/errors.ts'
import { TableCopy } from '../../../routing/table/table-copy.ts'
import { until } from '../../helpers/until.ts'

t.test('gives up the rows from before a load, bit by bit', async (t) => {
  await using copy = new TableCopy()
  load(copy, 1)
  const { slabBytes } = copy.rows
  load(copy, 2)
  t.ok(copy.rows.slabBytes > 1.5 * slabBytes)
  await until(() => copy.rows.slabBytes < 1.2 * slabBytes, 'the old rows are given up')
  t.equal(copy.rows.size, 5_000)
  t.equal(copy.rows.find('h4999.example')?.generation, 2)
})

t.test('refuses what the store could not read, and keeps the last good row', (t) => {
  const copy = new TableCopy()
  copy.apply({ key: 'route/a.example', value: value('a.example', 1), revision: 1 })
  const poison = { key: 'route/a.example', value: { unreadable: '{' }, revision: 0 }
  const load = copy.startLoad()
  t.throws(() => load.apply(poison), RecordInvalid)
  load.keep(poison.key)
  load.finish()
  t.equal(copy.rows.find('a.example')?.generation, 1)
  const row = {
    revision: 2,
    name: 'b.example',
    fields: ['state', 'visibility', 'generation', 'upstream', 'later'],
  }
  copy.restore({ ...row, json: '["running","public",7,{"host":"10.0.0.2","port":80},"x"]' })
  t.match(copy.rows.find('b.example'), {
    visibility: 'public',
    state: 'running',
    generation: 7,
    later: undefined,
  })
  for (const json of ['{}', '[', '["running","secret",7]', 'null'])
    t.throws(() => copy.restore({ ...row, json }), json)
  t.throws(() => copy.restore({ ...row, json: '[]', revision: Number.NaN }), RangeError)
  t.end()
})

t.test('counts changes of rows, so that one knows when to save them', (t) => {
  const copy = new TableCopy()
  const seen = [copy.changes]
  copy.apply({ key: 'route/a.example', value: value('a.example', 1), revision: 1 })
  seen.push(copy.changes)
  copy.apply({ key: 'route/a.example', value: undefined, revision: 2 })
  seen.push(copy.changes)
  copy.startLoad().finish()
  seen.push(copy.changes)
  t.equal(new Set(seen).size, 4)
  t.equal(copy.isEmpty, true)
  t.end()
})

function load(copy: TableCopy, generation: number): void {
  const load = copy.startLoad()
  for (let n = 0; n < 5_000; n += 1) {
    const hostname = `h${n}.example`
    load.apply({ key: `route/${hostname}`, value: value(hostname, generation), revision: generation })
  }
  load.finish()
}

function value(hostname: string, generation: number) {
  const upstream = { host: '10.0.0.2', port: 8_000 }
  return { hostname, visibility: 'private', upstream, state: 'running', generation }
}
