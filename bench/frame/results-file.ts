/** The files that a run leaves behind: `<name>.json` to compare with, `<name>.svg` to look at. */

import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toSvg } from './bar-chart.ts'
import type { BenchSettings, Report, Row } from './benchmark.ts'
import type { Machine } from './machine.ts'

/** The shape of `<name>.json`. */
export interface Results {
  readonly machine: Machine
  /** ISO 8601, UTC. */
  readonly date: string
  readonly versions: Readonly<Record<string, string>>
  readonly settings: BenchSettings
  readonly rows: readonly Row[]
}

export interface Run {
  readonly report: Report
  readonly machine: Machine
  readonly settings: BenchSettings
  readonly date: Date
}

export function toResults({ report, machine, settings, date }: Run): Results {
  return { machine, date: date.toISOString(), versions: report.versions, settings, rows: report.rows }
}

/** Returns the paths written. Each appears whole or not at all. */
export async function writeResults(run: Run, { folder, name }: { folder: string; name: string }) {
  await mkdir(folder, { recursive: true })
  const files = [
    { path: join(folder, `${name}.json`), text: `${JSON.stringify(toResults(run), undefined, 2)}\n` },
    { path: join(folder, `${name}.svg`), text: toSvg(run.report.chart) },
  ]
  for (const { path, text } of files) {
    await writeFile(`${path}.tmp`, text)
    await rename(`${path}.tmp`, path)
  }
  return files.map(({ path }) => path)
}
