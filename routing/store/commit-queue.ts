/** Group commit: mutations of one turn of the event loop share a transaction and its fsync. */

import { RevisionConflict } from '../errors.ts'
import type { Tables } from './tables.ts'

/** Keeps one transaction to a few milliseconds, so that a burst does not hold up the loop. */
const MAX_BATCH = 256

interface Job {
  /** Throws what must undo the whole transaction; keeps what concerns its own caller only. */
  readonly run: () => void
  readonly settle: () => void
  readonly reject: (error: unknown) => void
}

export class CommitQueue {
  readonly #tables: Tables
  readonly #onCommit: () => void
  #jobs: Job[] = []
  #scheduled: NodeJS.Immediate | undefined

  constructor(tables: Tables, onCommit: () => void) {
    this.#tables = tables
    this.#onCommit = onCommit
  }

  /** Settles after the commit. A RevisionConflict rejects this caller; anything else undoes the batch. */
  add<Result>(work: () => Result): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    let settle = () => {}
    const run = () => {
      const outcome = attempt(work)
      settle = 'result' in outcome ? () => resolve(outcome.result) : () => reject(outcome.conflict)
    }
    this.#jobs.push({ run, settle: () => settle(), reject })
    this.#scheduled ??= setImmediate(() => this.#commitOne())
    return promise
  }

  /** Commits all that is queued, now. */
  drain(): void {
    clearImmediate(this.#scheduled)
    while (this.#jobs.length > 0) this.#commitOne()
    clearImmediate(this.#scheduled)
  }

  #commitOne(): void {
    const batch = this.#jobs.splice(0, MAX_BATCH)
    this.#scheduled = this.#jobs.length > 0 ? setImmediate(() => this.#commitOne()) : undefined
    try {
      this.#tables.transaction(() => {
        for (const job of batch) job.run()
      })
    } catch (error) {
      for (const job of batch) job.reject(error)
      return
    }
    for (const job of batch) job.settle()
    this.#onCommit()
  }
}

function attempt<Result>(work: () => Result): { result: Result } | { conflict: RevisionConflict } {
  try {
    return { result: work() }
  } catch (error) {
    if (error instanceof RevisionConflict) return { conflict: error }
    throw error
  }
}
