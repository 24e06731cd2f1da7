/** Requests of which the gate has to check a signature first: they wait, and only so many of one client. */

import type { Deadlines, Watched } from '../lib/deadlines.ts'
import type { LandfallError } from '../lib/errors.ts'
import { RelayError } from './errors.ts'
import type { Exchange, ExchangeObserver } from './exchange.ts'
import { clientAddress } from './forwarding.ts'
import type { Gate, Passage } from './gate.ts'
import type { RelayRoute } from './upstream.ts'

export interface DecisionsDeps {
  readonly gate: Pick<Gate, 'decide'>
  readonly deadlines: Deadlines
  readonly refuse: (exchange: Exchange, error: unknown) => void
  readonly settle: (exchange: Exchange) => void
}

/** One that waits for the gate. */
export interface Undecided {
  readonly exchange: Exchange
  readonly route: RelayRoute
  /** Called once, with the exchange free again. */
  readonly goOn: (exchange: Exchange, passage: Passage) => void
}

/** A browser sends the requests of a whole page at once, over HTTP/2 a hundred and more. */
export const MAX_UNDECIDED_OF_CLIENT = 512
/** At one edge. */
export const MAX_UNDECIDED = 4_096
/** A check takes a millisecond; this is for one that never ends. */
const TIMEOUT_MS = 10_000

/** All that wait now; it adds itself to the deadlines that it is given. */
export class Decisions implements Watched {
  slot = -1
  readonly #deps: DecisionsDeps
  readonly #waiting = new Set<Hold>()
  readonly #ofClient = new Map<string, number>()

  constructor(deps: DecisionsDeps) {
    this.#deps = deps
    deps.deadlines.add(this)
  }

  /** Exchanges that wait now. */
  get size(): number {
    return this.#waiting.size
  }

  /** @throws RelayError limit_auth_holds */
  hold(undecided: Undecided): void {
    const { exchange, route } = undecided
    const address = clientAddress(exchange)
    const count = this.#ofClient.get(address) ?? 0
    if (this.#waiting.size >= MAX_UNDECIDED || count >= MAX_UNDECIDED_OF_CLIENT)
      throw new RelayError('limit_auth_holds')
    const decision = this.#deps.gate.decide(exchange, route, address)
    const hold = new Hold(undecided, { ...this.#deps, onLeft: () => this.#leave(hold, address) })
    this.#waiting.add(hold)
    this.#ofClient.set(address, count + 1)
    decision.then(
      (passage) => hold.pass(passage),
      (error: unknown) => hold.fail(error),
    )
  }

  checkDeadlines(now: number): void {
    for (const hold of this.#waiting)
      if (now - hold.startedAt > TIMEOUT_MS) hold.fail(new RelayError('limit_auth_holds'))
  }

  #leave(hold: Hold, address: string): void {
    this.#waiting.delete(hold)
    const count = (this.#ofClient.get(address) ?? 1) - 1
    if (count <= 0) this.#ofClient.delete(address)
    else this.#ofClient.set(address, count)
  }
}

interface HoldDeps extends Pick<DecisionsDeps, 'refuse' | 'settle'> {
  readonly onLeft: () => void
}

/** One exchange that waits; of its body nothing is read, and what is decided after its end is forgotten. */
class Hold implements ExchangeObserver {
  readonly startedAt = performance.now()
  readonly #undecided: Undecided
  readonly #deps: HoldDeps
  #isOver = false

  constructor(undecided: Undecided, deps: HoldDeps) {
    this.#undecided = undecided
    this.#deps = deps
    undecided.exchange.observer = this
  }

  pass(passage: Passage): void {
    if (!this.#leave()) return
    this.#undecided.goOn(this.#undecided.exchange, passage)
  }

  fail(error: unknown): void {
    if (!this.#leave()) return
    this.#deps.refuse(this.#undecided.exchange, error)
  }

  onClientGone(): void {
    if (!this.#leave()) return
    const { exchange } = this.#undecided
    exchange.record.closeReason = 'client_gone'
    this.#deps.settle(exchange)
  }

  onFault(error: LandfallError): void {
    this.fail(error)
  }

  onDrain(): void {}

  /** False when the exchange is over already. */
  #leave(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#undecided.exchange.observer = undefined
    this.#deps.onLeft()
    return true
  }
}
