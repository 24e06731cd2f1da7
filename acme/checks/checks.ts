/** What is looked at before a CA is asked, and what `landfall domain check` tells. */

import type { ChallengeType } from '../rows.ts'

/** One thing that has to be right for a certificate. */
export interface CheckStep {
  readonly step: 'route' | 'dns' | 'caa' | 'delegation' | 'budget' | 'order' | 'certificate' | 'ca'
  readonly state: 'right' | 'wrong' | 'unknown' | 'waiting'
  /** What was found: names, addresses, moments; at most 500 characters. */
  readonly detail: string
  /** What the owner of the name does about it. */
  readonly next?: string
}

export interface CheckDemand {
  /** `*.` in front of a wildcard. */
  readonly names: readonly string[]
  /** Those that the settings allow, the best first. */
  readonly types: readonly ChallengeType[]
  /** RFC 8555 section 9.7.6; empty where the CA names none, and CAA records cannot be judged. */
  readonly caaIdentities: readonly string[]
  /** RFC 8657: what an `accounturi` in a CAA record has to be. */
  readonly accountUrl?: string
}

export interface CheckOutcome {
  readonly steps: readonly CheckStep[]
  /** The types by which every name can be proven as DNS is now, the best first; empty: the CA need not be asked. */
  readonly types: readonly ChallengeType[]
}

/** Spends nothing but DNS queries, each with a time limit. Never rejects but when `signal` aborts. */
export interface Checks {
  check(demand: CheckDemand, signal: AbortSignal): Promise<CheckOutcome>
}
