/** A steady load on one edge over connections that stay and connections that are new, every answer checked. */

import { Agent } from 'node:https'
import { setTimeout as pace } from 'node:timers/promises'
import { ask } from './ask.ts'
import type { EdgeProcess } from './edge-process.ts'
import type { NumberedRow } from './numbered-rows.ts'

/** Each is a client that sends one request after another with this pause, in milliseconds. */
const KEPT_PAUSES_MS = [25, 50, 100]
const FRESH_PAUSES_MS = [150, 250]
/** Each name has a certificate of its own, which is made when it is first asked for. */
const FRESH_NAMES = 40
/** Has no factor in common with the numbers of rows in use: every client gets to every row. */
const STRIDE = 7
const FAILURES_KEPT = 10

export interface Load {
  /** Requests that every client has behind it: the fewest of them. */
  readonly slowest: () => number
  readonly stop: () => Promise<LoadReport>
}

export interface LoadReport {
  readonly edge: string
  readonly requests: number
  readonly failed: number
  /** Of the longest request. */
  readonly longestMs: number
  /** What happened to the first of those that failed. */
  readonly failures: readonly string[]
}

interface Tally {
  requests: number
  failed: number
  longestMs: number
  readonly failures: string[]
}

/** Every answer must be 200 with the row's own number in it. */
export function startLoad(edge: EdgeProcess, rows: readonly NumberedRow[]): Load {
  const stopping = new AbortController()
  const kept = KEPT_PAUSES_MS.map((pauseMs) => ({
    pauseMs,
    rows,
    agent: new Agent({ keepAlive: true, maxSockets: 1 }),
  }))
  const fresh = FRESH_PAUSES_MS.map((pauseMs) => ({ pauseMs, rows: rows.slice(0, FRESH_NAMES) }))
  const clients = [...kept, ...fresh].map((client, index) => {
    const tally: Tally = { requests: 0, failed: 0, longestMs: 0, failures: [] }
    const running = runClient({ edge, tally, first: index, ...client }, stopping.signal)
    return { tally, running }
  })
  return {
    slowest: () => Math.min(...clients.map(({ tally }) => tally.requests)),
    async stop() {
      stopping.abort()
      await Promise.all(clients.map(({ running }) => running))
      for (const { agent } of kept) agent.destroy()
      const tallies = clients.map(({ tally }) => tally)
      return {
        edge: edge.name,
        requests: sum(tallies.map(({ requests }) => requests)),
        failed: sum(tallies.map(({ failed }) => failed)),
        longestMs: Math.round(Math.max(...tallies.map(({ longestMs }) => longestMs))),
        failures: tallies.flatMap(({ failures }) => failures),
      }
    },
  }
}

interface Client {
  readonly edge: EdgeProcess
  readonly rows: readonly NumberedRow[]
  readonly tally: Tally
  readonly first: number
  readonly pauseMs: number
  readonly agent?: Agent
}

async function runClient(client: Client, stopping: AbortSignal): Promise<void> {
  const { rows, tally, first, pauseMs } = client
  for (let turn = 0; !stopping.aborted; turn += 1) {
    const row = rows[(first + turn * STRIDE) % rows.length]
    if (row === undefined) throw new Error('there are no rows to ask for')
    const startedAt = performance.now()
    const failure = await findFailure(client, row, turn)
    tally.requests += 1
    tally.longestMs = Math.max(tally.longestMs, performance.now() - startedAt)
    if (failure !== undefined) {
      tally.failed += 1
      if (tally.failures.length < FAILURES_KEPT) tally.failures.push(failure)
    }
    await pace(pauseMs, undefined, { signal: stopping }).catch(() => {})
  }
}

/** Every fourth request has a body. */
async function findFailure(
  { edge, agent }: Client,
  { hostname, number }: NumberedRow,
  turn: number,
): Promise<string | undefined> {
  const sent = turn % 4 === 3 ? { method: 'POST', body: 'x'.repeat(1_000) } : {}
  const at = new Date().toISOString()
  try {
    const { status, body } = await ask(edge, { hostname, ...sent, ...(agent && { agent }) })
    const isRight = status === 200 && body === `${hostname} ${number}`
    return isRight ? undefined : `${at} ${hostname}: ${status} ${body.slice(0, 200)}`
  } catch (error) {
    return `${at} ${hostname}: ${error}`
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
