/** Which CA an order goes to: the first that has not failed for it, and that may be asked now. */

import { toMoment } from '../../lib/moment.ts'
import type { Ca } from '../ca/ca.ts'
import { type OrderRow, toSlot } from '../rows.ts'
import type { FullOrdersSettings } from './order-settings.ts'
import { OrderTrouble, type Trouble } from './order-trouble.ts'

/** A CA that does not answer costs each order a time limit; for so long the others are asked before it. */
const SILENCE_MS = 60_000
const MAX_RESTS = 10_000

export interface CaChoice {
  /** @throws OrderTrouble ca_limited when none may be asked now */
  get(row: OrderRow): Ca
  /** Whether another one can be asked at once. */
  hasNext(row: OrderRow): boolean
  /** Remembers what a CA said of being asked again. */
  note(ca: Ca, row: OrderRow, trouble: Trouble): void
}

/** What is remembered is this edge's alone; a failed order's own pause is in its row. */
export function createCaChoice(cas: readonly Ca[], { now }: Pick<FullOrdersSettings, 'now'>): CaChoice {
  const silentUntilMs = new Map<string, number>()
  const restUntilMs = new Map<string, number>()
  const restOf = (ca: Ca, row: OrderRow): number => restUntilMs.get(toPair(ca, row)) ?? 0
  const listUntried = ({ triedCas = [] }: OrderRow): readonly Ca[] =>
    cas.filter(({ directory }) => !triedCas.includes(directory))

  const find = (row: OrderRow): Ca | undefined => {
    const known = cas.find(({ directory }) => directory === row.ca)
    if (known !== undefined) return known
    const free = listUntried(row).filter((ca) => restOf(ca, row) <= now())
    return free.find(({ directory }) => (silentUntilMs.get(directory) ?? 0) <= now()) ?? free[0]
  }

  return {
    get: (row) => {
      const ca = find(row)
      if (ca !== undefined) return ca
      const rests = listUntried(row).map((one) => restOf(one, row))
      const retryAtMs = rests.length === 0 ? now() + SILENCE_MS : Math.min(...rests)
      const detail = `No authority may be asked before ${toMoment(retryAtMs)}`
      throw new OrderTrouble({ code: 'ca_limited', detail, retryAtMs })
    },
    hasNext: ({ ca: _failed, ...row }) => find(row) !== undefined,
    note: (ca, row, { code, retryAtMs }) => {
      if (code === 'ca_unreachable') silentUntilMs.set(ca.directory, now() + SILENCE_MS)
      if (retryAtMs === undefined) return
      const [oldest] = restUntilMs.keys()
      if (oldest !== undefined && restUntilMs.size >= MAX_RESTS) restUntilMs.delete(oldest)
      restUntilMs.set(toPair(ca, row), retryAtMs)
    },
  }
}

function toPair({ directory }: Ca, row: OrderRow): string {
  return `${directory} ${toSlot(row)}`
}
