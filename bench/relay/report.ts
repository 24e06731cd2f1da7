/** The relay benchmark's results as rows, as a table with the targets beside, and as a picture. */

import type { BarChart } from '../frame/bar-chart.ts'
import type { Row } from '../frame/benchmark.ts'
import { medianOf, type Sample, spread } from '../frame/samples.ts'
import { SCENARIOS } from './scenarios.ts'

/** All rounds of one proxy in one scenario. */
export interface Measured {
  readonly proxy: string
  readonly scenario: string
  readonly samples: readonly Sample[]
}

/** A row of `relay.json`. */
export interface RelayRow extends Sample, Row {
  readonly proxy: string
  readonly scenario: string
  /** `cpuMicros` divided by that of nginx in the same scenario. */
  readonly ratio: number
}

const BASE = 'nginx'
const OURS = 'Landfall'

/** Medians of the rounds. @throws RangeError when a scenario was not measured with nginx */
export function toRows(measured: readonly Measured[]): RelayRow[] {
  return measured.map(({ proxy, scenario, samples }) => {
    const base = measured.find((other) => other.scenario === scenario && other.proxy === BASE)
    const { cpuMicros, rps, p99Ms } = medianOf(samples)
    return {
      proxy,
      scenario,
      cpuMicros: rounded(cpuMicros, 2),
      rps: rounded(rps, 0),
      p99Ms: rounded(p99Ms, 3),
      ratio: rounded(cpuMicros / medianOf(base?.samples ?? []).cpuMicros, 3),
    }
  })
}

/** How far CPU times of the rounds lie apart stands beside them: it tells how far to trust the ratio. */
export function toTable(rows: readonly RelayRow[], measured: readonly Measured[]): string[][] {
  const headings = [
    'scenario',
    'proxy',
    'CPU µs/request',
    'spread',
    '× nginx',
    'requests/s',
    'p99 ms',
    'target',
  ]
  const lines = rows.map((row, index) => [
    row.scenario,
    row.proxy,
    row.cpuMicros.toFixed(1),
    `${(spread((measured[index]?.samples ?? []).map(({ cpuMicros }) => cpuMicros)) * 100).toFixed(0)}%`,
    row.ratio.toFixed(2),
    String(row.rps),
    row.p99Ms.toFixed(2),
    targetText(row),
  ])
  return [headings, ...lines]
}

export function toChart(rows: readonly RelayRow[], subtitle: string): BarChart {
  return {
    title: 'CPU time for each proxied request',
    subtitle,
    unit: 'µs',
    groups: SCENARIOS.map(({ name, maxRatio }) => ({
      name,
      bars: rows
        .filter(({ scenario }) => scenario === name)
        .map((row) => ({
          name: row.proxy,
          value: row.cpuMicros,
          note: `${row.ratio.toFixed(2)}× nginx${row.proxy === OURS ? `, to reach ${maxRatio}×` : ''}`,
          isOurs: row.proxy === OURS,
        })),
    })),
  }
}

/** Empty for the proxies that have no target. */
function targetText({ proxy, scenario, ratio }: RelayRow): string {
  const target = SCENARIOS.find(({ name }) => name === scenario)
  if (proxy !== OURS || target === undefined) return ''
  return `at most ${target.maxRatio}× nginx: ${ratio <= target.maxRatio ? 'met' : 'not met'}`
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
