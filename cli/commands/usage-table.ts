/** What a pool used, as people read it: cumulated amounts in hours, traffic in bytes. */

import { type Json, path } from '../api.ts'
import type { CommandContext } from '../command.ts'
import { formatAmount, formatSize } from '../units.ts'
import { listOf, textOf } from '../views.ts'

const HOUR_SECONDS = 3_600
const GIBIBYTE = 1_073_741_824

interface Count {
  readonly title: string
  readonly name: string
  readonly format: (amount: number) => string
}

const COUNTS: readonly Count[] = [
  { title: 'CPU h', name: 'cpuSeconds', format: (seconds) => formatAmount(seconds / HOUR_SECONDS) },
  {
    title: 'MEMORY GiB·h',
    name: 'memoryByteSeconds',
    format: (amount) => formatAmount(amount / HOUR_SECONDS / GIBIBYTE),
  },
  { title: 'DISK', name: 'diskBytes', format: formatSize },
  { title: 'REPLICATED', name: 'replicatedBytes', format: formatSize },
  { title: 'EGRESS', name: 'egressBytes', format: formatSize },
  { title: 'REQUESTS', name: 'requests', format: formatAmount },
]

interface Wanted {
  readonly pool: string
  readonly from: string | undefined
  readonly to: string | undefined
}

export async function printUsage(context: CommandContext, { pool, from, to }: Wanted): Promise<void> {
  const usage = await context.api.call({
    method: 'GET',
    path: path`/v1/pools/${pool}/usage`,
    query: { from, to },
  })
  if (context.isJson) return context.output.printJson(usage)
  const hours = listOf(usage, 'hours').length > 0 ? listOf(usage, 'hours') : listOf(usage, 'days')
  const rows = [
    ...hours.map((row) => [textOf(row, row.hour === undefined ? 'day' : 'hour'), ...toCells(row)]),
    ['total', ...toCells((usage.total ?? {}) as Json)],
  ]
  const titles = [`${textOf(usage, 'pool')} (UTC)`, ...COUNTS.map(({ title }) => title)]
  return context.output.printTable({ titles, rows })
}

function toCells(row: Json): string[] {
  return COUNTS.map(({ name, format }) => format(Number(row[name] ?? 0)))
}
