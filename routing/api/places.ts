/** Places for what lasts: how many event streams and waits an edge holds, and how much of that one tenant may take. */

import { RoutingError } from '../errors.ts'
import type { Caller } from './caller.ts'

export interface PlaceLimits {
  /** Of all tenants together. */
  readonly perEdge: number
  /** At most; it is less while others have many. */
  readonly perTenant: number
  /** What there are too many of, for the refusal. */
  readonly what: string
}

/** So much of an edge is left to those who have a scope over all pools. */
const OPERATORS_PART = 1 / 4

/**
 * A tenant may take as much as is left free for the others, so that there is always a place for one more tenant. Tokens
 * for the same pools are the same tenant; who has a scope over all pools is one by itself.
 */
export class Places {
  readonly #limits: PlaceLimits
  readonly #taken = new Map<string, number>()
  #count = 0

  constructor(limits: PlaceLimits) {
    this.#limits = limits
  }

  /** Returns what gives the place back; it may be called again. @throws RoutingError `api_rate_limited` */
  enter(caller: Caller): () => void {
    const tenant = tenantOf(caller)
    this.#checkRoom(caller, this.#taken.get(tenant) ?? 0)
    this.#add(tenant, 1)
    let isLeft = false
    return () => {
      if (!isLeft) this.#add(tenant, -1)
      isLeft = true
    }
  }

  #checkRoom(caller: Caller, taken: number): void {
    const { perEdge, perTenant, what } = this.#limits
    const limit = isOperator(caller) ? perEdge : Math.floor(perEdge * (1 - OPERATORS_PART))
    if (this.#count >= limit) {
      throw new RoutingError('api_rate_limited', { detail: `This edge has ${this.#count} ${what}.` })
    }
    if (taken < Math.min(perTenant, Math.ceil((limit - this.#count) / 2))) return
    const detail = `The tokens for these pools have ${taken} ${what} here; others need room too.`
    throw new RoutingError('api_rate_limited', { detail })
  }

  #add(tenant: string, change: number): void {
    const taken = (this.#taken.get(tenant) ?? 0) + change
    this.#count += change
    if (taken > 0) this.#taken.set(tenant, taken)
    else this.#taken.delete(tenant)
  }
}

function isOperator({ scopes }: Caller): boolean {
  return scopes.some(({ pool }) => pool === '*')
}

function tenantOf(caller: Caller): string {
  if (isOperator(caller)) return `token ${caller.id}`
  const pools = new Set(caller.scopes.map(({ pool }) => pool))
  return `pools ${[...pools].sort().join(' ')}`
}
