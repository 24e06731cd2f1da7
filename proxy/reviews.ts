/** Looks again at open exchanges that were let in, and ends those that may not go on. */

import type { Watched } from '../lib/deadlines.ts'
import { LandfallError } from '../lib/errors.ts'
import type { ClientRegistry } from './client-registry.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { recordFault } from './exchange-record.ts'
import type { Gate } from './gate.ts'
import type { RelayRoute } from './upstream.ts'

export interface ReviewsDeps {
  readonly clients: Pick<ClientRegistry, 'visitOpen'>
  readonly routes: {
    find(hostname: string): RelayRoute | undefined
    /** `ring` is called in the turn of each change of a row; without a name any may have changed. Returns what ends it. */
    onAnyRow(ring: (hostname: string | undefined) => void): () => void
  }
  readonly gate: Pick<Gate, 'recheck' | 'onChange'>
  /** Called with the code of the error for each exchange that was ended. */
  readonly onEnded: (code: string) => void
}

/** What ends by time alone, with nobody to tell: expiry, and word of revocations that is too old. */
const REGULAR_MS = 1_000
/** More names than this cost as much as looking at everything. */
const MAX_NAMES = 256
/** A fleet that changes all the time must not spend more than this part of a core on looking. */
const RESTS_PER_LOOK = 20
const LONGEST_REST_MS = 250

/**
 * Open exchanges are found by walking through the client connections, so that requests cost nothing here: with 10,000
 * connections a walk takes about half a millisecond.
 */
export class Reviews implements Watched, Disposable {
  slot = -1
  readonly #deps: ReviewsDeps
  readonly #endRings: readonly (() => void)[]
  /** Host names whose rows changed since the last look; undefined stands for all. */
  #names: Set<string> | undefined = new Set()
  #timer: NodeJS.Timeout | undefined
  #restUntil = 0
  #regularAt = 0

  constructor(deps: ReviewsDeps) {
    this.#deps = deps
    this.#endRings = [
      deps.routes.onAnyRow((hostname) => this.#ring(hostname)),
      deps.gate.onChange(() => this.#ring(undefined)),
    ]
  }

  checkDeadlines(now: number): void {
    if (now < this.#regularAt) return
    this.#names = undefined
    this.#look()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    for (const end of this.#endRings) end()
  }

  /** Not in the turn of the change: the table must not be asked while it changes, and many changes come at once. */
  #ring(hostname: string | undefined): void {
    if (hostname === undefined || (this.#names?.size ?? 0) >= MAX_NAMES) this.#names = undefined
    else this.#names?.add(hostname)
    this.#timer ??= setTimeout(() => this.#look(), Math.max(0, this.#restUntil - performance.now()))
  }

  #look(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const names = this.#names
    this.#names = new Set()
    const startedAt = performance.now()
    if (names === undefined) this.#regularAt = startedAt + REGULAR_MS
    this.#deps.clients.visitOpen((exchange) => this.#review(exchange, names))
    const endedAt = performance.now()
    this.#restUntil = endedAt + Math.min((endedAt - startedAt) * RESTS_PER_LOOK, LONGEST_REST_MS)
  }

  #review(exchange: Exchange, names: ReadonlySet<string> | undefined): void {
    const { passage, route, closeReason } = exchange.record
    if (passage === undefined || route === undefined || closeReason === 'access_ended') return
    if (names !== undefined && !names.has(route.hostname)) return
    if (exchange.observer === undefined && exchange.tunnel === undefined) return
    const row = this.#deps.routes.find(route.hostname)
    // A stranger on a public port needs nobody's leave.
    if (passage.subject === undefined && row?.visibility === 'public') return
    try {
      this.#deps.gate.recheck(passage, exchange, row)
    } catch (error) {
      this.#end(exchange, error)
    }
  }

  #end(exchange: Exchange, thrown: unknown): void {
    const error =
      thrown instanceof LandfallError ? thrown : new RelayError('internal_error', { cause: thrown })
    const { record, observer, tunnel } = exchange
    record.closeReason = 'access_ended'
    this.#deps.onEnded(error.code)
    if (tunnel === undefined) observer?.onFault(error)
    else {
      recordFault(record, error)
      tunnel.endAccess()
    }
  }
}
