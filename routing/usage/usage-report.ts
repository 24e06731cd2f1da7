/** Adds up what a pool used in a span of time, over all runs of all processes that counted. */

import type { Log } from '../../lib/log.ts'
import { toStored, USAGES } from '../records/record-kinds.ts'
import type { UsageCounts, UsageRecord } from '../records/records.ts'
import type { Store, StoredDocument } from '../store/store.ts'

export interface ReportDeps {
  readonly store: Pick<Store, 'list'>
  readonly log: Log
}

export interface Span {
  /** Included. An hour belongs where it begins, and is never cut in two. */
  readonly from: Date
  /** Not included. */
  readonly to: Date
}

/** One hour or day in which something was counted. */
export interface UsageStep {
  /** Its first moment. */
  readonly at: string
  readonly counts: UsageCounts
}

export interface UsageSums {
  readonly total: UsageCounts
  /** In order; steps without any use are left out. */
  readonly steps: readonly UsageStep[]
}

export type StepLength = 'hour' | 'day'

/** How much of an instant names its step. */
const STEP_CHARACTERS = { hour: 13, day: 10 } as const
const STEP_REST = { hour: ':00:00.000Z', day: 'T00:00:00.000Z' } as const

/**
 * Sums over sources; `diskBytes` is the largest. Reads only records of the span, a page at a time, and keeps one sum
 * for each step. A record that breaks a rule is logged and left out. @throws RoutingError of the store
 */
export async function sumUsage(
  deps: ReportDeps,
  { pool, from, to, step }: Span & { readonly pool: string; readonly step: StepLength },
): Promise<UsageSums> {
  const total = new UsageSum()
  const steps = new Map<string, UsageSum>()
  for await (const { hour, counts } of readUsage(deps, pool, { from, to })) {
    const at = hour.slice(0, STEP_CHARACTERS[step]) + STEP_REST[step]
    const sum = steps.get(at) ?? new UsageSum()
    steps.set(at, sum)
    sum.add(counts)
    total.add(counts)
  }
  const toStep = ([at, sum]: [string, UsageSum]) => ({ at, counts: sum.counts })
  return { total: total.counts, steps: [...steps].map(toStep) }
}

async function* readUsage(
  { store, log }: ReportDeps,
  pool: string,
  { from, to }: Span,
): AsyncIterable<UsageRecord> {
  const prefix = `${USAGES.prefix}${pool}/`
  const end = prefix + to.toISOString()
  for (let after: string | undefined = prefix + from.toISOString(); after !== undefined; ) {
    const page = await store.list(prefix, { after })
    for (const document of page.documents) {
      // Keys go by hour: nothing behind the first one outside belongs to the span.
      if (document.key >= end) return
      yield* toSoundUsage(document, log)
    }
    after = page.next
  }
}

function toSoundUsage(document: StoredDocument, log: Log): UsageRecord[] {
  try {
    return [toStored(USAGES, document).record]
  } catch (error) {
    log.error({ err: error, key: document.key }, 'a usage record is left out of the sums')
    return []
  }
}

class UsageSum {
  readonly #cpuSeconds = new ExactSum()
  readonly #memoryByteSeconds = new ExactSum()
  readonly #replicatedBytes = new ExactSum()
  readonly #egressBytes = new ExactSum()
  readonly #requests = new ExactSum()
  #diskBytes = 0

  get counts(): UsageCounts {
    return {
      cpuSeconds: this.#cpuSeconds.value,
      memoryByteSeconds: this.#memoryByteSeconds.value,
      diskBytes: this.#diskBytes,
      replicatedBytes: this.#replicatedBytes.value,
      egressBytes: this.#egressBytes.value,
      requests: this.#requests.value,
    }
  }

  add(counts: UsageCounts): void {
    this.#cpuSeconds.add(counts.cpuSeconds)
    this.#memoryByteSeconds.add(counts.memoryByteSeconds)
    this.#diskBytes = Math.max(this.#diskBytes, counts.diskBytes)
    this.#replicatedBytes.add(counts.replicatedBytes)
    this.#egressBytes.add(counts.egressBytes)
    this.#requests.add(counts.requests)
  }
}

/** Keeps what rounding takes away (Neumaier), so that thousands of small parts add up to what they are. */
class ExactSum {
  #sum = 0
  #lost = 0

  get value(): number {
    return this.#sum + this.#lost
  }

  /** `part` is at least 0. */
  add(part: number): void {
    const sum = this.#sum + part
    this.#lost += this.#sum >= part ? this.#sum - sum + part : part - sum + this.#sum
    this.#sum = sum
  }
}
