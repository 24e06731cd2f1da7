/** Lets only some VMs start at once: a host that comes up with hundreds of them must not choke on it. */

import type { Vmm } from './vmm.ts'

export interface StartLimit {
  readonly atOnce: number
  /** A start that takes longer than this no longer counts; default 10,000. */
  readonly placeMs?: number
}

/**
 * Starts beyond the limit wait in order, but for those of pools of which fewer are under way: whoever starts many, or
 * some that never come up, keeps others waiting for no longer than a place is kept. One that is aborted meanwhile gives
 * up its place.
 */
export function limitStarts(
  vmm: Pick<Vmm, 'start'>,
  { atOnce, placeMs = 10_000 }: StartLimit,
): Pick<Vmm, 'start'> {
  const places = new Places(atOnce)
  return {
    start: async (spec, signal) => {
      const leave = await places.take(spec.pool, signal)
      const timer = setTimeout(leave, placeMs).unref()
      try {
        return await vmm.start(spec, signal)
      } finally {
        clearTimeout(timer)
        leave()
      }
    },
  }
}

interface Waiting {
  readonly pool: string
  readonly take: () => void
}

class Places {
  #free: number
  /** How many each pool has. */
  readonly #held = new Map<string, number>()
  readonly #waiting = new Set<Waiting>()

  constructor(count: number) {
    this.#free = count
  }

  /** Answers what gives the place back; again does nothing. @throws the signal's reason */
  async take(pool: string, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted()
    if (this.#free > 0) this.#hold(pool)
    else await this.#wait(pool, signal)
    let isHeld = true
    return () => {
      if (isHeld) this.#give(pool)
      isHeld = false
    }
  }

  #hold(pool: string): void {
    this.#free -= 1
    this.#held.set(pool, this.#countOf(pool) + 1)
  }

  async #wait(pool: string, signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const take = () => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const waiting: Waiting = { pool, take }
      const leave = () => {
        this.#waiting.delete(waiting)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiting)
    })
  }

  #give(pool: string): void {
    const left = this.#countOf(pool) - 1
    if (left > 0) this.#held.set(pool, left)
    else this.#held.delete(pool)
    this.#free += 1
    const next = this.#findNext()
    if (next === undefined) return
    this.#waiting.delete(next)
    this.#hold(next.pool)
    next.take()
  }

  /** The first one of those whose pool has the fewest places. */
  #findNext(): Waiting | undefined {
    let next: Waiting | undefined
    for (const one of this.#waiting) {
      if (next === undefined || this.#countOf(one.pool) < this.#countOf(next.pool)) next = one
    }
    return next
  }

  #countOf(pool: string): number {
    return this.#held.get(pool) ?? 0
  }
}
