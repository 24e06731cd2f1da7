/** Uses of links that anybody may open many times: gathered here, so that a flood of them is a write now and then. */

/** What one use is to write. */
export interface LinkStep {
  /** 0: nothing yet; the next write counts it. */
  readonly uses: number
  readonly isAudited: boolean
}

interface Count {
  pending: number
  writtenAt: number
  auditedAt: number
}

export const ONE_USE: LinkStep = { uses: 1, isAudited: true }
const WRITE_MS = 10_000
const AUDIT_MS = 60_000
/** The one that was written longest ago goes: its next use is written at once. */
const MAX_LINKS = 1_000

export class LinkCounts {
  /** In the order of their last writes. */
  readonly #counts = new Map<string, Count>()

  /** Counts a use at `now`, in Unix milliseconds. */
  add(link: string, now: number): LinkStep {
    const count = this.#counts.get(link)
    if (count === undefined) {
      this.#keep(link, { pending: 0, writtenAt: now, auditedAt: now })
      return ONE_USE
    }
    count.pending += 1
    if (Math.abs(now - count.writtenAt) < WRITE_MS) return { uses: 0, isAudited: false }
    const isAudited = Math.abs(now - count.auditedAt) >= AUDIT_MS
    this.#counts.delete(link)
    this.#keep(link, { pending: 0, writtenAt: now, auditedAt: isAudited ? now : count.auditedAt })
    return { uses: count.pending, isAudited }
  }

  #keep(link: string, count: Count): void {
    const [oldest] = this.#counts.size < MAX_LINKS ? [] : this.#counts.keys()
    if (oldest !== undefined) this.#counts.delete(oldest)
    this.#counts.set(link, count)
  }
}
