/** The table benchmark's results as rows, as a table with the targets beside, and as a picture. */

import type { BarChart, BarGroup } from '../frame/bar-chart.ts'
import type { Row } from '../frame/benchmark.ts'

/** What was measured of one thing; the first is ours. */
export interface Measured {
  readonly measure: Measure
  readonly values: readonly Value[]
  /** What else belongs to it, in the table only. */
  readonly facts?: readonly Fact[]
}

export interface Value {
  readonly of: string
  readonly value: number
}

export interface Fact extends Value {
  readonly unit: string
}

export interface Measure {
  readonly name: string
  readonly unit: string
  /** To be at most. */
  readonly target: number
  readonly digits: number
}

/** A row of `table.json`. */
export interface TableRow extends Row {
  readonly measure: string
  readonly of: string
  readonly value: number
  readonly unit: string
}

export const OURS = 'Landfall'

export const MEASURES = {
  load: { name: 'cold load of an edge', unit: 's', target: 15, digits: 2 },
  memory: { name: 'heap and buffers', unit: 'MiB', target: 350, digits: 0 },
  lookup: { name: 'look-up of a row used before', unit: 'ns', target: 300, digits: 0 },
  change: { name: 'change visible in 20 tables, p99', unit: 'ms', target: 20, digits: 2 },
  write: { name: 'write through the admin API, p99', unit: 'ms', target: 10, digits: 2 },
} as const satisfies Record<string, Measure>

export function toRows(measured: readonly Measured[]): TableRow[] {
  return measured.flatMap(({ measure, values, facts = [] }) =>
    [...values.map((value) => ({ ...value, unit: measure.unit })), ...facts].map(({ of, value, unit }) => ({
      measure: measure.name,
      of,
      value: Number(value.toFixed(3)),
      unit,
    })),
  )
}

export function toTable(measured: readonly Measured[]): string[][] {
  const lines = measured.flatMap(({ measure, values, facts = [] }) => [
    ...values.map(({ of, value }, index) => [
      index === 0 ? measure.name : '',
      of,
      value.toFixed(measure.digits),
      measure.unit,
      index === 0 ? targetText(measure, value) : '',
    ]),
    ...facts.map(({ of, value, unit }) => ['', of, value.toFixed(0), unit, '']),
  ])
  return [['measure', 'of', 'value', 'unit', 'target'], ...lines]
}

export function toChart(measured: readonly Measured[], subtitle: string): BarChart {
  return {
    title: 'The routing table of an edge',
    subtitle,
    unit: '',
    groups: measured.map(toGroup),
  }
}

/** The target is a bar as well: each thing is measured in a unit of its own. */
function toGroup({ measure, values }: Measured): BarGroup {
  const bars = values.map(({ of, value }, index) => ({
    name: of,
    value,
    note: index === 0 ? targetText(measure, value) : '',
    isOurs: index === 0,
  }))
  const target = { name: 'target', value: measure.target, note: '', isOurs: false }
  return { name: measure.name, unit: measure.unit, bars: [...bars, target] }
}

function targetText({ target, unit }: Measure, value: number): string {
  return `at most ${target} ${unit}: ${value <= target ? 'met' : 'not met'}`
}

/** The value below which 99 of 100 lie. @throws RangeError when there is none */
export function p99(values: readonly number[]): number {
  return quantile(values, 0.99)
}

/** By nearest rank. @throws RangeError when there is no value */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
  if (value === undefined) throw new RangeError('nothing has no quantile')
  return value
}
