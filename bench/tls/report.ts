/** The TLS benchmark's results as rows, as a table with the targets beside, and as a picture. */

import type { BarChart } from '../frame/bar-chart.ts'
import type { Row } from '../frame/benchmark.ts'
import { median, spread } from '../frame/samples.ts'
import { baseOf, SCENARIOS, type TlsScenario, titleOf } from './scenarios.ts'

/** One round of one server in one scenario. */
export interface TlsSample {
  /** CPU time of the server's process tree for one handshake with its connection, user and system. */
  readonly cpuMicros: number
  readonly perSecond: number
  /** How much of the server's core was used: where it is well below 1, the clients were the limit. */
  readonly busy: number
}

/** All rounds of one server in one scenario. */
export interface TlsMeasured {
  readonly server: string
  readonly scenario: TlsScenario
  readonly samples: readonly TlsSample[]
  /** Of the process tree, when all was measured, in MiB. */
  readonly memoryMb: number
}

/** A row of `tls.json`. */
export interface TlsRow extends Row {
  readonly server: string
  readonly mode: string
  readonly draw: string
  readonly certificates: number
  readonly cpuMicros: number
  readonly perSecond: number
  readonly busy: number
  /** CPU time divided by nginx's in the same scenario and round. */
  readonly ratio: number
  /** CPU time divided by the same server's with one certificate in the same round. */
  readonly growth: number
  readonly memoryMb: number
}

const BASE = 'nginx'
const OURS = 'Landfall'

/** Medians of the rounds. `many` is how many certificates `many` are. @throws RangeError when what is compared with was not measured */
export function toRows(measured: readonly TlsMeasured[], many: number): TlsRow[] {
  const find = (product: string, scenario: TlsScenario | undefined) =>
    measured.find((one) => one.scenario === scenario && one.server === product)?.samples ?? []
  return measured.map(({ server, scenario, samples, memoryMb }) => {
    const [product = ''] = server.split(',')
    return {
      server,
      mode: scenario.mode,
      draw: scenario.draw,
      certificates: scenario.certificates === 'one' ? 1 : many,
      cpuMicros: rounded(median(samples.map(({ cpuMicros }) => cpuMicros)), 1),
      perSecond: rounded(median(samples.map(({ perSecond }) => perSecond)), 0),
      busy: rounded(median(samples.map(({ busy }) => busy)), 2),
      ratio: rounded(ratioOf(samples, find(BASE, scenario)), 3),
      growth: rounded(ratioOf(samples, find(product, baseOf(scenario))), 3),
      memoryMb: rounded(memoryMb, 0),
    }
  })
}

/** Round by round, since a machine that is slow in one round is so for all. */
function ratioOf(samples: readonly TlsSample[], base: readonly TlsSample[]): number {
  return median(
    base.flatMap((other, round) => {
      const sample = samples[round]
      return sample === undefined ? [] : [sample.cpuMicros / other.cpuMicros]
    }),
  )
}

const HEADINGS = [
  'handshakes',
  'server',
  'CPU µs/handshake',
  'spread',
  '× nginx',
  '× one certificate',
  'handshakes/s',
  'core busy',
  'MiB',
  'target',
]

export function toTable(rows: readonly TlsRow[], measured: readonly TlsMeasured[]): string[][] {
  const lines = measured.map(({ scenario, samples }, index) => {
    const row = rows[index] as TlsRow
    return [
      titleOf(scenario, row.certificates),
      row.server,
      row.cpuMicros.toFixed(1),
      `${(spread(samples.map(({ cpuMicros }) => cpuMicros)) * 100).toFixed(0)}%`,
      row.ratio.toFixed(2),
      row.growth.toFixed(2),
      String(row.perSecond),
      `${(row.busy * 100).toFixed(0)}%`,
      String(row.memoryMb),
      targetText(row, scenario),
    ]
  })
  return [HEADINGS, ...lines]
}

export function toChart(
  rows: readonly TlsRow[],
  { measured, subtitle, many }: { measured: readonly TlsMeasured[]; subtitle: string; many: number },
): BarChart {
  const groups = SCENARIOS.map((scenario) => ({
    name: titleOf(scenario, many),
    bars: rows
      .filter((_, index) => measured[index]?.scenario === scenario)
      .map((row) => ({
        name: row.server,
        value: row.cpuMicros,
        note: `${row.ratio.toFixed(2)}× nginx, ${row.growth.toFixed(2)}× one certificate`,
        isOurs: row.server === OURS,
      })),
  }))
  return { title: 'CPU time for each TLS 1.3 handshake', subtitle, unit: 'µs', groups }
}

/** Empty for the servers that have no target. */
function targetText({ server, ratio, growth }: TlsRow, { maxRatio, maxGrowth }: TlsScenario): string {
  if (server !== OURS) return ''
  const verdict = (isMet: boolean) => (isMet ? 'met' : 'not met')
  return [
    ...(maxRatio === undefined ? [] : [`at most ${maxRatio}× nginx: ${verdict(ratio <= maxRatio)}`]),
    ...(maxGrowth === undefined
      ? []
      : [`at most ${maxGrowth}× one certificate: ${verdict(growth <= maxGrowth)}`]),
  ].join(', ')
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
