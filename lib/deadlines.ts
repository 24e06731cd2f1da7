/** One timer for many time limits: each watched object compares the time with its own limits. */

import { SlotList, type Slotted } from './slot-list.ts'

/** `now` is `performance.now()`, in milliseconds. */
export interface Watched extends Slotted {
  checkDeadlines(now: number): void
}

/** A timer per request costs more than a field per request; a limit is noticed at most one tick late. */
const TICK_MS = 100

export class Deadlines implements Disposable {
  readonly #watched = new SlotList<Watched>()
  readonly #timer: NodeJS.Timeout

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  add(watched: Watched): void {
    this.#watched.add(watched)
  }

  delete(watched: Watched): void {
    this.#watched.delete(watched)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const now = performance.now()
    for (const watched of this.#watched.snapshot()) watched.checkDeadlines(now)
  }
}
