/** What every benchmark is made of: what it is given, and what it hands back to be printed and kept. */

import type { BarChart } from './bar-chart.ts'
import type { Programs } from './programs.ts'

export interface Benchmark {
  /** As typed after `npm run bench --`, and the name of its results files. */
  readonly name: string
  readonly summary: string
  /** @throws BenchError when an answer is wrong or a request fails */
  run(context: BenchContext): Promise<Report>
}

export interface BenchContext {
  readonly settings: BenchSettings
  readonly programs: Programs
  /** Temporary; removed after the run. */
  readonly folder: string
  /** Aborts at Ctrl-C; whatever waits has to listen to it. */
  readonly signal: AbortSignal
  /** One line of progress. */
  say(line: string): void
}

export interface BenchSettings {
  readonly rounds: number
  readonly roundSeconds: number
  /** Before the first round. */
  readonly warmRequests: number
  /** Rows of the table benchmark. */
  readonly routes: number
  /** Certificates of the TLS benchmark, where there are many. */
  readonly certificates: number
}

export interface Report {
  /** One per thing measured; the columns are the benchmark's own. */
  readonly rows: readonly Row[]
  /** What people read: the first line holds the headings. */
  readonly table: readonly (readonly string[])[]
  readonly chart: BarChart
  /** Of each program that took part. */
  readonly versions: Readonly<Record<string, string>>
}

export type Row = Readonly<Record<string, string | number>>

/** A run that cannot be trusted or done; the message says what to do. */
export class BenchError extends Error {
  override readonly name = 'BenchError'
}
