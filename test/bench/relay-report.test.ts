/** The relay benchmark's rows, table and results file: medians, ratios to nginx, and whether a target is met. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Report } from '../../bench/frame/benchmark.ts'
import { type Run, writeResults } from '../../bench/frame/results-file.ts'
import { median, spread } from '../../bench/frame/samples.ts'
import { toTextTable } from '../../bench/frame/text-table.ts'
import { type Measured, toChart, toRows, toTable } from '../../bench/relay/report.ts'

const measured: Measured[] = [
  {
    proxy: 'nginx',
    scenario: 'plain h1',
    samples: [
      { cpuMicros: 30, rps: 50_000, p99Ms: 1 },
      { cpuMicros: 20, rps: 70_000.6, p99Ms: 3 },
      { cpuMicros: 10, rps: 60_000.4, p99Ms: 2.00049 },
    ],
  },
  { proxy: 'Landfall', scenario: 'plain h1', samples: [{ cpuMicros: 32, rps: 30_000, p99Ms: 4 }] },
  { proxy: 'nginx', scenario: 'TLS h1', samples: [{ cpuMicros: 10, rps: 50_000, p99Ms: 1 }] },
  { proxy: 'Landfall', scenario: 'TLS h1', samples: [{ cpuMicros: 17.1, rps: 20_000, p99Ms: 5 }] },
]

t.test('a row has the medians and the ratio to nginx in the same scenario', (t) => {
  t.strictSame(toRows(measured), [
    { proxy: 'nginx', scenario: 'plain h1', cpuMicros: 20, rps: 60_000, p99Ms: 2, ratio: 1 },
    { proxy: 'Landfall', scenario: 'plain h1', cpuMicros: 32, rps: 30_000, p99Ms: 4, ratio: 1.6 },
    { proxy: 'nginx', scenario: 'TLS h1', cpuMicros: 10, rps: 50_000, p99Ms: 1, ratio: 1 },
    { proxy: 'Landfall', scenario: 'TLS h1', cpuMicros: 17.1, rps: 20_000, p99Ms: 5, ratio: 1.71 },
  ])
  t.throws(() => toRows(measured.slice(1, 2)), RangeError, 'nothing to compare with')
  t.end()
})

t.test('the table says whether each target is met', (t) => {
  const lines = toTable(toRows(measured), measured).map((cells) => cells.join('|'))
  t.same(lines, [
    'scenario|proxy|CPU µs/request|spread|× nginx|requests/s|p99 ms|target',
    'plain h1|nginx|20.0|100%|1.00|60000|2.00|',
    'plain h1|Landfall|32.0|0%|1.60|30000|4.00|at most 1.6× nginx: met',
    'TLS h1|nginx|10.0|0%|1.00|50000|1.00|',
    'TLS h1|Landfall|17.1|0%|1.71|20000|5.00|at most 1.7× nginx: not met',
  ])
  t.end()
})

t.test('columns of numbers are aligned to the right, others to the left', (t) => {
  const table = toTextTable([
    ['name', 'n', 'note'],
    ['a', '1.5', ''],
    ['bcdef', '10', 'x'],
  ])
  t.equal(table, 'name      n   note\n─────   ───   ────\na       1.5\nbcdef    10   x\n')
  t.end()
})

t.test('median and spread', (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.throws(() => median([]), RangeError)
  t.equal(spread([9, 10, 12]), 0.3)
  t.end()
})

t.test('writes NAME.json in the shape that other programs read, and NAME.svg', async (t) => {
  const folder = join(t.testdir(), 'results')
  const rows = toRows(measured)
  const versions = { landfall: '0.1.0', nginx: '1.22.1' }
  const report: Report = { rows, table: [], chart: toChart(rows, 'a machine'), versions }
  const run: Run = {
    report,
    machine: { cpu: 'a CPU', cores: 2, kernel: 'Linux 6' },
    settings: { rounds: 5, roundSeconds: 3, warmRequests: 60_000, routes: 1, certificates: 1 },
    date: new Date(0),
  }
  const paths = await writeResults(run, { folder, name: 'relay' })
  t.same(paths, [join(folder, 'relay.json'), join(folder, 'relay.svg')])
  t.strictSame(JSON.parse(readFileSync(join(folder, 'relay.json'), 'utf8')), {
    machine: { cpu: 'a CPU', cores: 2, kernel: 'Linux 6' },
    date: '1970-01-01T00:00:00.000Z',
    versions,
    settings: { rounds: 5, roundSeconds: 3, warmRequests: 60_000, routes: 1, certificates: 1 },
    rows,
  })
  t.match(readFileSync(join(folder, 'relay.svg'), 'utf8'), /^<svg [\s\S]*1\.71× nginx, to reach 1\.7×/)
})
