/** What metrics tell of certificates; to read the ends of all of them takes milliseconds, so it is done twice a minute at most. */

import type { CertificateTable, KnownCertificate } from '../books.ts'
import type { DnsCounts } from '../dns/udp.ts'
import type { Orders } from '../orders/orders.ts'
import { KEY_TYPES, type KeyType } from '../rows.ts'
import { isCurrent } from '../validity.ts'

export interface ReportDeps {
  readonly table: Pick<CertificateTable, 'ageMs' | 'get' | 'list' | 'listOrders' | 'size'>
  readonly orders?: Pick<Orders, 'counts'> | undefined
  readonly isServed: (hostname: string) => boolean
  /** Contexts in memory. */
  readonly countContexts: () => number
  /** What is left of each budget that counts for all: by limit. */
  readonly budgetLeft?: (() => ReadonlyMap<string, number>) | undefined
  /** Absent where no DNS responder runs. */
  readonly dnsCounts?: (() => Readonly<DnsCounts>) | undefined
}

/** Moments in Unix seconds. */
export interface Report {
  /** `platform`: of its own one alone. */
  readonly notAfter: Readonly<Record<'platform' | 'custom', number | undefined>>
  readonly known: number
  /** For how long the table has not been known to be fresh; Infinity before it was loaded. */
  readonly ageSeconds: number
  readonly contexts: number
  readonly orders: ReadonlyMap<string, number>
  readonly open: number
  readonly failed: number
  readonly budget: ReadonlyMap<string, number>
  readonly ariWindowStart: number | undefined
  /** Queries since the start, by what became of them; empty where no DNS responder runs. */
  readonly dns: ReadonlyMap<string, number>
}

type Moments = Pick<Report, 'notAfter' | 'ariWindowStart'>

const KEPT_MS = 30_000

export interface ReportSettings {
  readonly domain: string
  /** Those that are ordered. */
  readonly keyTypes: readonly KeyType[]
  readonly now: () => number
}

/** Returns what makes the report. */
export function createReporter(deps: ReportDeps, settings: ReportSettings): () => Report {
  const { now } = settings
  let moments: Moments | undefined
  let untilMs = 0
  return () => {
    if (moments === undefined || now() >= untilMs) {
      moments = readMoments(deps, settings)
      untilMs = now() + KEPT_MS
    }
    const rows = [...deps.table.listOrders()]
    const failed = rows.filter(({ state }) => state === 'failed').length
    return {
      ...moments,
      ageSeconds: deps.table.ageMs / 1_000,
      ...{ known: deps.table.size, contexts: deps.countContexts(), open: rows.length - failed, failed },
      orders: deps.orders?.counts() ?? new Map(),
      budget: deps.budgetLeft?.() ?? new Map(),
      dns: toDnsResults(deps.dnsCounts?.()),
    }
  }
}

function toDnsResults(counts: Readonly<DnsCounts> | undefined): ReadonlyMap<string, number> {
  if (counts === undefined) return new Map()
  const { answered, answeredOverTcp, truncated, dropped } = counts
  return new Map(Object.entries({ answered, answered_tcp: answeredOverTcp, truncated, dropped }))
}

function readMoments(deps: ReportDeps, settings: ReportSettings): Moments {
  const { domain } = settings
  let [platform, custom, window] = [Infinity, Infinity, Infinity]
  for (const known of deps.table.list()) {
    const { name, notAfterMs, renewal } = known
    const isOwn = name === domain
    const windowMs = renewal?.windowStartMs ?? Infinity
    const isSooner = notAfterMs < (isOwn ? platform : custom)
    // Most certificates are no news, and need no further look.
    if ((!isSooner && windowMs >= window) || !isMissed(known, deps, settings)) continue
    if (isOwn) platform = Math.min(platform, notAfterMs)
    else custom = Math.min(custom, notAfterMs)
    window = Math.min(window, windowMs)
  }
  const notAfter = { platform: toSeconds(platform), custom: toSeconds(custom) }
  return { notAfter, ariWindowStart: toSeconds(window) }
}

/**
 * Of a custom name that is not served any more nobody misses the certificate; nor one that has ended, or is of a kind
 * that is not ordered any more, beside a good one of the same name.
 */
function isMissed(
  { name, keyType, source, notAfterMs }: KnownCertificate,
  { table, isServed }: ReportDeps,
  { domain, keyTypes, now }: ReportSettings,
): boolean {
  if (name !== domain && !isServed(name)) return false
  const nowMs = now()
  const isOver = notAfterMs <= nowMs || (source === 'acme' && !keyTypes.includes(keyType))
  const others = KEY_TYPES.filter((type) => type !== keyType).map((type) => table.get(name, type))
  return !isOver || !others.some((other) => other !== undefined && isCurrent(other, nowMs))
}

function toSeconds(ms: number): number | undefined {
  return Number.isFinite(ms) ? Math.floor(ms / 1_000) : undefined
}
