/** The auth benchmark's results as rows, as a table with the target beside, and as a picture. */

import type { BarChart } from '../frame/bar-chart.ts'
import type { Row } from '../frame/benchmark.ts'
import { medianOf, type Sample, spread } from '../frame/samples.ts'
import { SCENARIOS } from './scenarios.ts'

/** All rounds of one proxy in one scenario. */
export interface AuthMeasured {
  readonly product: string
  readonly proxy: string
  readonly scenario: string
  readonly samples: readonly Sample[]
}

/** A row of `auth.json`. */
export interface AuthRow extends Sample, Row {
  readonly proxy: string
  readonly scenario: string
  /** `cpuMicros` less that of the same product without a check. */
  readonly addedMicros: number
  /** `cpuMicros` divided by Landfall's in the same scenario. */
  readonly timesLandfall: number
}

const OURS = 'Landfall'
const [OPEN] = SCENARIOS

export function toRows(measured: readonly AuthMeasured[]): AuthRow[] {
  const cpuOf = (product: string, scenario: string) =>
    medianOf(measured.find((one) => one.product === product && one.scenario === scenario)?.samples ?? [])
      .cpuMicros
  return measured.map(({ product, proxy, scenario, samples }) => {
    const { cpuMicros, rps, p99Ms } = medianOf(samples)
    return {
      proxy,
      scenario,
      cpuMicros: rounded(cpuMicros, 2),
      addedMicros: rounded(cpuMicros - cpuOf(product, OPEN?.name ?? ''), 2),
      timesLandfall: rounded(cpuMicros / cpuOf(OURS, scenario), 3),
      rps: rounded(rps, 0),
      p99Ms: rounded(p99Ms, 3),
    }
  })
}

export function toTable(rows: readonly AuthRow[], measured: readonly AuthMeasured[]): string[][] {
  const headings = [
    'scenario',
    'proxy',
    'CPU µs/request',
    'spread',
    'added µs',
    '× Landfall',
    'requests/s',
    'p99 ms',
  ]
  const lines = rows.map((row, index) => [
    row.scenario,
    row.proxy,
    row.cpuMicros.toFixed(1),
    `${(spread((measured[index]?.samples ?? []).map(({ cpuMicros }) => cpuMicros)) * 100).toFixed(0)}%`,
    row.addedMicros.toFixed(1),
    row.timesLandfall.toFixed(2),
    String(row.rps),
    row.p99Ms.toFixed(2),
  ])
  return [
    headings,
    ...lines,
    ...SCENARIOS.filter(({ isGuarded }) => isGuarded).map(({ name }) => verdict(rows, name)),
  ]
}

/** Cheaper than both others is the target. */
function verdict(rows: readonly AuthRow[], scenario: string): string[] {
  const others = rows.filter((row) => row.scenario === scenario && !row.proxy.startsWith(OURS))
  const isMet = others.every(({ timesLandfall }) => timesLandfall > 1)
  return [scenario, `target: cheaper than both: ${isMet ? 'met' : 'not met'}`, '', '', '', '', '', '']
}

export function toChart(rows: readonly AuthRow[], subtitle: string): BarChart {
  return {
    title: 'CPU time for each request that brings a JWT',
    subtitle,
    unit: 'µs',
    groups: SCENARIOS.map(({ name }) => ({
      name,
      bars: rows
        .filter(({ scenario }) => scenario === name)
        .map((row) => ({
          name: row.proxy.split(' ')[0] ?? '',
          value: row.cpuMicros,
          note: row.addedMicros === 0 ? '' : `${row.addedMicros.toFixed(1)} µs for the check`,
          isOurs: row.proxy.startsWith(OURS),
        })),
    })),
  }
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
