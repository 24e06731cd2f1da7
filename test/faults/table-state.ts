/** What an edge says of its route table on the operations port, once or all the time. */

import { setTimeout as pace } from 'node:timers/promises'
import { askOps } from './ask.ts'
import type { EdgeProcess } from './edge-process.ts'

const POLL_MS = 50

export interface TableState {
  readonly revision: number
  readonly rows: number
  readonly ageSeconds: number
  readonly isHeld: boolean
  /** Records that were refused so far. */
  readonly refused: number
}

/** What `/readyz` answers. */
export interface Readiness {
  readonly status: number
  readonly table: {
    readonly source: 'store' | 'snapshot'
    readonly rows: number
    /** Null before the first load. */
    readonly ageSeconds: number | null
    readonly held: boolean
  }
}

export interface TableWatch {
  readonly edge: EdgeProcess
  readonly states: readonly TableState[]
  readonly stop: () => Promise<void>
}

export async function readTable(edge: Pick<EdgeProcess, 'opsPort'>): Promise<TableState> {
  const { body } = await askOps(edge, '/metrics')
  const read = (name: string) => {
    const value = new RegExp(`^landfall_table_${name} (\\S+)`, 'm').exec(body)?.[1]
    if (value === undefined) throw new Error(`there is no metric landfall_table_${name}`)
    return value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value)
  }
  return {
    revision: read('revision'),
    rows: read('rows'),
    ageSeconds: read('age_seconds'),
    isHeld: read('held') === 1,
    refused: read('refused_total'),
  }
}

export async function readReadiness(edge: Pick<EdgeProcess, 'opsPort'>): Promise<Readiness> {
  const { status, body } = await askOps(edge, '/readyz')
  return { status, table: JSON.parse(body).table }
}

/** Reads again and again until it is stopped; the edge must run as long. */
export function watchTable(edge: EdgeProcess): TableWatch {
  const stopping = new AbortController()
  const states: TableState[] = []
  const run = async () => {
    while (!stopping.signal.aborted) {
      states.push(await readTable(edge))
      await pace(POLL_MS, undefined, { signal: stopping.signal }).catch(() => {})
    }
  }
  const running = run()
  // Told by `stop`.
  running.catch(() => {})
  return {
    edge,
    states,
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

/** Pairs of neighbours of which the second has the lower revision. */
export function findFalls({ states }: TableWatch): [before: number, after: number][] {
  return states.flatMap(({ revision }, index) => {
    const before = states[index - 1]?.revision ?? 0
    return revision < before ? [[before, revision] as [number, number]] : []
  })
}
