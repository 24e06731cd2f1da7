/** Whether this edge's memory of who may what is new enough to let anybody into a private port. */

export interface FreshnessDeps {
  readonly access: { readonly ageMs: number; readonly awayMs: number }
  readonly routes: { ageMs(): number; awayMs(): number }
}

export interface FreshnessSettings {
  /** How old a feed may be while the store answers. */
  readonly ageLimitMs: number
  /** How long the store may be away. */
  readonly awayLimitMs: number
}

export interface Freshness {
  /** `nowMs`: Unix milliseconds. */
  isFresh(nowMs: number): boolean
}

/** A feed that was fresh does not become too old sooner than this at the shortest setting; asked at each request it cost 100 ns. */
const MEASURE_MS = 100

export function createFreshness(deps: FreshnessDeps, settings: FreshnessSettings): Freshness {
  const { access, routes } = deps
  let freshFrom = 0
  let freshUntil = 0
  return {
    isFresh(nowMs) {
      // A clock that was set back makes all of it uncertain.
      if (nowMs < freshUntil && nowMs >= freshFrom) return true
      const leftMs = Math.min(
        leftOf(access.ageMs, access.awayMs, settings),
        leftOf(routes.ageMs(), routes.awayMs(), settings),
      )
      if (!(leftMs > 0)) return false
      freshFrom = nowMs
      freshUntil = nowMs + Math.min(leftMs, MEASURE_MS)
      return true
    },
  }
}

/** For how long a feed of that age still counts. One that was never loaded is infinitely old, whether the store is away or not. */
function leftOf(ageMs: number, awayMs: number, { ageLimitMs, awayLimitMs }: FreshnessSettings): number {
  return awayMs > 0 ? awayLimitMs - Math.max(ageMs, awayMs) : ageLimitMs - ageMs
}
