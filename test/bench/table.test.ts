/** The table benchmark: what it says of its measurements, and a whole run with a few routes. */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { measureLookups } from '../../bench/table/lookups.ts'
import { MEASURES, type Measured, p99, quantile, toChart, toRows, toTable } from '../../bench/table/report.ts'
import { generationOf, hostnameOf } from '../../bench/table/rows.ts'
import { startTask } from '../../bench/table/task.ts'

const RUN = fileURLToPath(new URL('../../bench/run.ts', import.meta.url))
const NEVER = new AbortController().signal

const MEASURED: Measured[] = [
  { measure: MEASURES.load, values: [{ of: 'Landfall', value: 15.001 }] },
  {
    measure: MEASURES.lookup,
    values: [
      { of: 'Landfall', value: 300 },
      { of: 'a Map', value: 99.4 },
    ],
    facts: [{ of: 'changes meanwhile', value: 1_999.7, unit: '1/s' }],
  },
]

t.test('the table says whether each target is met', (t) => {
  const lines = toTable(MEASURED).map((cells) => cells.join('|'))
  t.same(lines, [
    'measure|of|value|unit|target',
    'cold load of an edge|Landfall|15.00|s|at most 15 s: not met',
    'look-up of a row used before|Landfall|300|ns|at most 300 ns: met',
    '|a Map|99|ns|',
    '|changes meanwhile|2000|1/s|',
  ])
  t.equal(toRows(MEASURED).length, 4)
  t.end()
})

t.test('the picture has a scale for each measure, with the target in it', (t) => {
  const { groups } = toChart(MEASURED, '')
  t.match(groups, [
    { unit: 's', bars: [{ isOurs: true }, { name: 'target', value: 15 }] },
    {
      unit: 'ns',
      bars: [{ isOurs: true }, { name: 'a Map', isOurs: false }, { name: 'target', value: 300 }],
    },
  ])
  t.end()
})

t.test('99 of 100 lie at or below the p99', (t) => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index)
  t.equal(p99(values), 99)
  t.equal(quantile(values, 1), 100)
  t.equal(p99([7]), 7)
  t.throws(() => p99([]), RangeError)
  t.end()
})

t.test('look-ups are timed, and a wrong answer is no measurement', async (t) => {
  const map = new Map(Array.from({ length: 2_000 }, (_, index) => [hostnameOf(index), generationOf(index)]))
  const settings = { routes: 2_000, rounds: 1 }
  const nanos = await measureLookups((name) => map.get(name) ?? 0, settings)
  t.ok(nanos > 0 && nanos < 100_000, String(nanos))
  map.delete(hostnameOf(7))
  await t.rejects(
    measureLookups((name) => map.get(name) ?? 0, settings),
    /wrong answer/,
  )
})

t.test('a part that fails ends the run', async (t) => {
  await using task = startTask({
    file: 'no-such-task.ts',
    input: {},
    cores: [0],
    signal: NEVER,
    stderr: 'ignore',
  })
  await t.rejects(task.receive(), /no-such-task.ts ended before its time/)
})

t.test('a whole run prints every measure beside its target and leaves its results', async (t) => {
  const folder = t.testdir()
  const args = ['table', '--routes', '2000', '--rounds', '1', '--seconds', '1', '--out', folder]
  const { stdout } = await promisify(execFile)(process.execPath, [RUN, ...args])
  for (const { name, target, unit } of Object.values(MEASURES)) {
    t.match(stdout, new RegExp(`^${name} .* at most ${target} ${unit}: (not )?met$`, 'm'))
  }
  const { rows, settings } = JSON.parse(readFileSync(join(folder, 'table.json'), 'utf8'))
  t.equal(settings.routes, 2_000)
  t.equal(rows.length, 15)
  t.ok(rows.every(({ value }: { value: number }) => value > 0))
  t.match(readFileSync(join(folder, 'table.svg'), 'utf8'), /The routing table of an edge/)
})
