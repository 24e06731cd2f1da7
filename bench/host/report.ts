/** The host benchmark's results as rows, as a table with the targets beside, and as a picture. */

import type { Bar, BarChart, BarGroup } from '../frame/bar-chart.ts'
import type { Row } from '../frame/benchmark.ts'
import { quantile } from '../table/report.ts'
import { DATA_MIB } from './copies.ts'
import type { Operation } from './io-program.ts'
import { type Latencies, type Latency, OPERATIONS } from './latency.ts'
import { STOPPED_VMS, type StoppedCost } from './stopped.ts'

/** Milliseconds, of each time that it was done. */
export interface HostTimes {
  readonly created: readonly number[]
  readonly woken: readonly number[]
  readonly wokenToHello: readonly number[]
  readonly saved: readonly number[]
  readonly suspended: readonly number[]
  readonly copied: readonly number[]
  readonly reachable: readonly number[]
  readonly snapshots: readonly number[]
}

export interface HostMeasured {
  readonly times: HostTimes
  readonly stopped: StoppedCost
  readonly latencies: Latencies
}

/** One line of the table. */
export interface Line {
  readonly measure: string
  readonly of: string
  readonly value: number
  readonly unit: string
  readonly digits: number
  readonly target?: Target
}

interface Target {
  readonly kind: 'at most' | 'at least'
  readonly value: number
}

const MEDIAN = 0.5
/** "No memory" as a number: a thousandth of the guest's. What Landfall's own heap does by chance is 50 KiB and more. */
const STOPPED_KIB = 131
const FACTOR = 10

export function toLines({ times, stopped, latencies }: HostMeasured): Line[] {
  const { created, woken, wokenToHello, saved, suspended, copied, reachable, snapshots } = times
  return [
    ...toTimes('create to reachable', created, [{ share: MEDIAN, atMost: 3_500 }, { share: 0.9 }]),
    ...toTimes('wake on request', woken, [
      { share: MEDIAN, atMost: 350 },
      { share: 0.99, atMost: 700 },
    ]),
    ...toTimes('the same, to the page of "hello"', wokenToHello, [{ share: MEDIAN }]),
    ...toTimes('suspend: memory is on the disk', saved, [{ share: MEDIAN, atMost: 200 }, { share: 0.99 }]),
    ...toTimes('the same, to its answer', suspended, [{ share: MEDIAN }]),
    ...toTimes(`copy of 20 GiB, ${DATA_MIB} MiB written`, copied, [
      { share: MEDIAN, atMost: 300 },
      { share: 0.99 },
    ]),
    ...toTimes('the same, to its first answer', reachable, [{ share: MEDIAN }]),
    ...toTimes('snapshot of it', snapshots, [{ share: MEDIAN, atMost: 300 }, { share: 0.99 }]),
    ...toStopped(stopped),
    ...toLatencyLines(latencies),
  ]
}

interface Share {
  readonly share: number
  readonly atMost?: number
}

function toTimes(measure: string, values: readonly number[], shares: readonly Share[]): Line[] {
  return shares.map(({ share, atMost }) => ({
    measure,
    of: `p${share * 100} of ${values.length}`,
    value: quantile(values, share),
    unit: 'ms',
    digits: 0,
    ...(atMost !== undefined && { target: { kind: 'at most', value: atMost } as const }),
  }))
}

function toStopped({ residentKibPerVm, groupKibPerVm, moreProcesses }: StoppedCost): Line[] {
  const measure = `${STOPPED_VMS} stopped VMs`
  const target = { kind: 'at most', value: STOPPED_KIB } as const
  const unit = 'KiB/VM'
  return [
    { measure, of: 'resident, all processes', value: residentKibPerVm, unit, digits: 1, target },
    { measure, of: 'cgroups of the pools', value: groupKibPerVm, unit, digits: 1, target },
    { measure, of: 'more processes', value: moreProcesses, unit: '', digits: 0 },
  ]
}

function toLatencyLines({ latencies, nullMs, roundTripMs }: Latencies): Line[] {
  const ms = { unit: 'ms', digits: 3 }
  return [
    { measure: 'added round trip, measured', of: 'p50', value: roundTripMs, ...ms },
    { measure: 'the guest measuring nothing', of: 'p50', value: quantile(nullMs, MEDIAN), ...ms },
    ...(['guest', 'host'] as const).flatMap((place) =>
      OPERATIONS.flatMap((operation) => toFactorLines(place, operation, latencies)),
    ),
  ]
}

function toFactorLines(place: Latency['place'], operation: Operation, latencies: readonly Latency[]): Line[] {
  const measure = `4 KiB ${operation}, ${place === 'guest' ? 'in the guest' : 'on its host'}`
  const lines = (['near', 'far'] as const).flatMap((way) =>
    [MEDIAN, 0.99].map((share) => ({
      measure,
      of: `${way === 'near' ? 'local disk' : '1 ms away'} p${share * 100}`,
      value: quantile(timesOf(latencies, { place, way, operation }), share),
      unit: 'ms',
      digits: 3,
    })),
  )
  const [near, , far] = lines
  const value = (far?.value ?? 0) / (near?.value ?? 0)
  const factor = { measure, of: 'factor, p50', value, unit: '×', digits: 1 }
  return [...lines, place === 'guest' ? { ...factor, target: { kind: 'at least', value: FACTOR } } : factor]
}

function timesOf(latencies: readonly Latency[], wanted: Omit<Latency, 'times'>): readonly number[] {
  const { place, way, operation } = wanted
  const found = latencies.find((one) => one.place === place && one.way === way && one.operation === operation)
  return found?.times ?? []
}

export function toRows(lines: readonly Line[]): Row[] {
  return lines.map(({ measure, of, value, unit, target }) => ({
    measure,
    of,
    value: Number(value.toFixed(4)),
    unit,
    ...(target !== undefined && { target: `${target.kind} ${target.value}` }),
  }))
}

export function toTable(lines: readonly Line[]): string[][] {
  const body = lines.map((line, index) => [
    lines[index - 1]?.measure === line.measure ? '' : line.measure,
    line.of,
    line.value.toFixed(line.digits),
    line.unit,
    targetText(line),
  ])
  return [['measure', 'of', 'value', 'unit', 'target'], ...body]
}

function targetText({ target, value, unit }: Line): string {
  if (target === undefined) return ''
  const isMet = target.kind === 'at most' ? value <= target.value : value >= target.value
  return `${target.kind} ${target.value}${unit === '×' ? '' : ' '}${unit}: ${isMet ? 'met' : 'not met'}`
}

/** Latency first, since it has most to show. Targets are bars as well: each thing has a scale of its own. */
export function toChart(lines: readonly Line[], subtitle: string): BarChart {
  const measures = [...new Set(lines.map(({ measure }) => measure))]
  const groups = measures.map((measure) => lines.filter((line) => line.measure === measure))
  const isLatency = ([line]: readonly Line[]) => line?.measure.startsWith('4 KiB') ?? false
  const shown = groups.filter((group) => group.some(({ target }) => target !== undefined) || isLatency(group))
  const ordered = [...shown.filter(isLatency), ...shown.filter((group) => !isLatency(group))]
  return { title: 'Virtual machines on a host', subtitle, unit: 'ms', groups: ordered.map(toGroup) }
}

function toGroup(lines: readonly Line[]): BarGroup {
  const factor = lines.find(({ unit }) => unit === '×')
  const drawn = lines.filter(({ unit }) => unit !== '×' && unit !== '')
  const bars = drawn.flatMap((line) => [toBar(line, factor), ...toTargetBar(line)])
  const unit = drawn[0]?.unit ?? ''
  return { name: lines[0]?.measure ?? '', unit, bars }
}

function toBar(line: Line, factor: Line | undefined): Bar {
  const isFar = line.of.startsWith('1 ms away p50')
  const note = isFar && factor ? `${factor.value.toFixed(1)}× the local disk` : targetText(line)
  // By chance, what is left of a difference may be less than nothing.
  return { name: line.of, value: Math.max(0, line.value), note, isOurs: !line.of.startsWith('1 ms') }
}

function toTargetBar({ target }: Line): Bar[] {
  return target === undefined ? [] : [{ name: 'target', value: target.value, note: '', isOurs: false }]
}
