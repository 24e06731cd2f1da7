/** Load on the edges of a fleet, and an eye on their tables, for as long as a test breaks things around them. */

import type { Test } from 'tap'
import { until } from '../helpers/until.ts'
import type { EdgeProcess } from './edge-process.ts'
import type { Fleet } from './fleet.ts'
import { type Load, type LoadReport, startLoad } from './load.ts'
import { findFalls, type TableWatch, watchTable } from './table-state.ts'

/** The slowest client alone sends ten; two cores may have a whole test suite to run. */
const REQUESTS_PER_SECOND = 0.5

export interface Traffic {
  /** The watch of an edge that has traffic. */
  readonly tableOf: (edge: EdgeProcess) => TableWatch
  readonly join: (edge: EdgeProcess) => void
  /** Before an edge is ended. */
  readonly leave: (edge: EdgeProcess) => Promise<void>
  /** Lets time pass; every client of every edge must have got on. */
  readonly goesOnFor: (ms: number, what: string) => Promise<void>
  /**
   * Ends it and prints the counts. No request may have failed, no revision may have gone down more often than
   * `maxFalls` (never, by default), and every edge must still run.
   */
  readonly finish: (allowed?: { readonly maxFalls: number }) => Promise<void>
}

interface Part {
  readonly edge: EdgeProcess
  readonly load: Load
  readonly table: TableWatch
}

export function startTraffic(t: Test, { edges, rows }: Pick<Fleet, 'edges' | 'rows'>): Traffic {
  const parts = new Map<EdgeProcess, Part>()
  const join = (edge: EdgeProcess) => {
    parts.set(edge, { edge, load: startLoad(edge, rows), table: watchTable(edge) })
  }
  const leave = async (edge: EdgeProcess) => {
    const part = parts.get(edge)
    parts.delete(edge)
    if (part !== undefined) await checkPart(t, part)
  }
  for (const edge of edges) join(edge)
  t.teardown(() => Promise.all([...parts.values()].flatMap(({ load, table }) => [load.stop(), table.stop()])))
  return {
    tableOf(edge) {
      const part = parts.get(edge)
      if (part === undefined) throw new Error(`${edge.name} has no traffic`)
      return part.table
    },
    join,
    leave,
    async goesOnFor(ms, what) {
      const before = [...parts.values()].map(({ edge, load }) => ({ edge, load, requests: load.slowest() }))
      const end = performance.now() + ms
      await until(() => performance.now() >= end, `${ms} ms have passed`, ms + 10_000)
      for (const { edge, load, requests } of before) {
        const enough = Math.max(1, (ms / 1_000) * REQUESTS_PER_SECOND)
        t.ok(load.slowest() - requests >= enough, `${what}: all clients of ${edge.name} get answers`)
      }
    },
    async finish(allowed) {
      for (const part of parts.values()) await checkPart(t, part, allowed)
      parts.clear()
    },
  }
}

async function checkPart(
  t: Test,
  { edge, load, table }: Part,
  { maxFalls } = { maxFalls: 0 },
): Promise<void> {
  const report: LoadReport = await load.stop()
  t.ok(edge.isRunning(), `${edge.name} runs`)
  await table.stop()
  t.comment(
    `${edge.name}: ${report.requests} requests, ${report.failed} failed, longest ${report.longestMs} ms`,
  )
  t.same(report.failures, [], `no request to ${edge.name} fails`)
  const falls = findFalls(table)
  t.ok(falls.length <= maxFalls, `the revision of ${edge.name} does not go down (${JSON.stringify(falls)})`)
}
