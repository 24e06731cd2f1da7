/** DNS queries for checks: each with a time limit, and each ending in something that can be told. */

import { codeOf } from '../../lib/node-error.ts'
import { withinTime } from '../../lib/within-time.ts'
import type { SoaView } from '../dns/zone.ts'

/** Node's `dns.promises.Resolver` fits. */
export interface CheckResolver {
  resolve4(name: string): Promise<readonly string[]>
  resolve6(name: string): Promise<readonly string[]>
  resolveCname(name: string): Promise<readonly string[]>
  /** The flags as `critical`, and the value by its tag. */
  resolveCaa(name: string): Promise<readonly object[]>
  resolveSoa(name: string): Promise<SoaView>
}

/** `values` is empty when there are none. */
export type Found<Value> = Values<Value> | Failed

interface Values<Value> {
  readonly values: readonly Value[]
  /** There may be more: a part of the look-up failed. */
  readonly isPart?: true
}

export interface Failed {
  /** As `SERVFAIL`, or "no answer within 5000 ms". */
  readonly why: string
  /** Name servers said so; else nobody answered, and nothing is known. */
  readonly isAnswer: boolean
}

export interface Lookup {
  addresses(name: string): Promise<Found<string>>
  cname(name: string): Promise<Found<string>>
  caa(name: string): Promise<Found<object>>
  soa(name: string): Promise<Found<SoaView>>
}

const ABSENT: readonly unknown[] = ['ENODATA', 'ENOTFOUND']
const ANSWERS: readonly unknown[] = ['ESERVFAIL', 'EREFUSED', 'ENOTIMP', 'EFORMERR', 'EBADRESP', 'EBADNAME']

export interface LookupLimits {
  /** For one query. */
  readonly timeoutMs: number
  /** For all of them: who owns a zone may make each answer slow, below as many labels as a name has. */
  readonly totalMs: number
  readonly signal: AbortSignal
}

/** Rejects only with the signal's reason. Asks for each thing once. */
export function createLookup(resolver: CheckResolver, { timeoutMs, totalMs, signal }: LookupLimits): Lookup {
  const deadline = performance.now() + totalMs
  const ask = async <Value>(query: () => Promise<readonly Value[]>): Promise<Found<Value>> => {
    const leftMs = Math.round(deadline - performance.now())
    if (leftMs <= 0) return { why: `the checks took more than ${totalMs} ms`, isAnswer: false }
    try {
      return { values: await withinTime(query(), { timeoutMs: Math.min(timeoutMs, leftMs), signal }) }
    } catch (error) {
      signal.throwIfAborted()
      return toFound(error)
    }
  }
  return {
    addresses: memoize(async (name) => {
      const both = await Promise.all([ask(() => resolver.resolve4(name)), ask(() => resolver.resolve6(name))])
      return join(both)
    }),
    cname: memoize((name) => ask(() => resolver.resolveCname(name))),
    caa: memoize((name) => ask(() => resolver.resolveCaa(name))),
    soa: memoize((name) => ask(async () => [await resolver.resolveSoa(name)])),
  }
}

export function hasFailed<Value>(found: Found<Value>): found is Failed {
  return 'why' in found
}

function toFound(error: unknown): Found<never> {
  const code = codeOf(error)
  if (ABSENT.includes(code)) return { values: [] }
  const why = code?.replace(/^E/, '') ?? (error instanceof Error ? error.message : String(error))
  return { why, isAnswer: ANSWERS.includes(code) }
}

/** A CA may use either kind, so a failure beside addresses does not hide them. */
function join(both: readonly Found<string>[]): Found<string> {
  const values = both.flatMap((found) => (hasFailed(found) ? [] : found.values))
  const failed = both.find(hasFailed)
  if (failed === undefined) return { values }
  return values.length > 0 ? { values, isPart: true } : failed
}

function memoize<Value>(ask: (name: string) => Promise<Value>): (name: string) => Promise<Value> {
  const asked = new Map<string, Promise<Value>>()
  return (name) => {
    const known = asked.get(name) ?? ask(name)
    asked.set(name, known)
    return known
  }
}
