/** Requests for VMs that are asleep: each VM is asked to wake once, and its requests wait until its row runs. */

import type { Deadlines, Watched } from '../lib/deadlines.ts'
import type { LandfallError } from '../lib/errors.ts'
import { RelayError } from './errors.ts'
import type { Exchange, ExchangeObserver } from './exchange.ts'
import type { RelayRoute } from './upstream.ts'

/** The store, as far as waking needs it. */
export interface Waker {
  /** Asks the VM's host to wake it; asking again while that is under way changes nothing. @throws when it cannot be asked */
  ask(vm: string): Promise<void>
  /** What the VM's host last said of it: `asleep`, `starting`, `failed`, … @throws when it cannot be read */
  findState(vm: string): Promise<string | undefined>
}

export interface WakeHoldsDeps {
  readonly routes: {
    find(hostname: string): RelayRoute | undefined
    /** `ring` is called when the row may have changed. Returns what ends that. */
    onRow(hostname: string, ring: () => void): () => void
  }
  readonly waker: Waker
  readonly deadlines: Deadlines
  readonly refuse: (exchange: Exchange, error: unknown) => void
  readonly settle: (exchange: Exchange) => void
}

export interface WakeHoldsSettings {
  /** How long an exchange is held at most. */
  readonly timeoutMs: number
}

/** A held exchange keeps its connection and at most what is buffered of its body: 64 KiB, or an HTTP/2 window. */
export const MAX_HOLDS_OF_VM = 256
export const MAX_HOLDS = 4_096
/** What was asked may have been lost with its host. */
const ASK_AGAIN_MS = 5_000

/** One VM that is asked to wake. */
interface Sleeper {
  readonly vm: string
  readonly holds: Set<Hold>
  /** `performance.now()`. */
  askedAt: number
  isAsked: boolean
  isLookedUp: boolean
}

interface Held {
  readonly exchange: Exchange
  readonly route: RelayRoute
  /** Looks at the route anew; called once, after the hold. */
  readonly goOn: (exchange: Exchange) => void
}

export class WakeHolds implements Watched {
  slot = -1
  readonly #deps: WakeHoldsDeps
  readonly #settings: WakeHoldsSettings
  readonly #sleepers = new Map<string, Sleeper>()
  #size = 0
  #asked = 0

  constructor(deps: WakeHoldsDeps, settings: WakeHoldsSettings) {
    this.#deps = deps
    this.#settings = settings
    deps.deadlines.add(this)
  }

  /** Exchanges that wait now. */
  get size(): number {
    return this.#size
  }

  /** How often a host was asked to wake a VM. */
  get asked(): number {
    return this.#asked
  }

  /** True for what is asleep, and for what is between sleeping and running while somebody waits for it. */
  takes({ vm, state }: RelayRoute): boolean {
    if (vm === undefined) return false
    return state === 'asleep' || (this.#sleepers.get(vm)?.holds.size ?? 0) > 0
  }

  /** Holds an exchange whose route `takes` took. @throws RelayError limit_wake_holds */
  hold(held: Held): void {
    const { vm = '' } = held.route
    const sleeper = this.#sleepers.get(vm) ?? createSleeper(vm)
    if (this.#size >= MAX_HOLDS || sleeper.holds.size >= MAX_HOLDS_OF_VM)
      throw new RelayError('limit_wake_holds')
    this.#sleepers.set(vm, sleeper)
    this.#size += 1
    const hold = new Hold(held, {
      ...this.#deps,
      onLeft: () => this.#leave(sleeper, hold),
      onRunning: () => {
        sleeper.askedAt = Number.NEGATIVE_INFINITY
      },
      onDown: () => this.#lookUp(sleeper),
    })
    sleeper.holds.add(hold)
    if (performance.now() - sleeper.askedAt > ASK_AGAIN_MS) this.#ask(sleeper)
  }

  checkDeadlines(now: number): void {
    for (const [vm, sleeper] of this.#sleepers) {
      for (const hold of [...sleeper.holds]) {
        if (hold.heldMs(now) > this.#settings.timeoutMs) hold.fail(new RelayError('wake_timeout'))
      }
      if (now - sleeper.askedAt <= ASK_AGAIN_MS) continue
      if (sleeper.holds.size > 0) this.#ask(sleeper)
      else this.#sleepers.delete(vm)
    }
  }

  #leave(sleeper: Sleeper, hold: Hold): void {
    if (sleeper.holds.delete(hold)) this.#size -= 1
  }

  #ask(sleeper: Sleeper): void {
    sleeper.askedAt = performance.now()
    this.#asked += 1
    this.#deps.waker.ask(sleeper.vm).then(
      () => {
        sleeper.isAsked = true
      },
      (cause: unknown) => {
        // The next exchange asks again.
        sleeper.askedAt = Number.NEGATIVE_INFINITY
        if (!sleeper.isAsked) failAll(sleeper, () => new RelayError('wake_unavailable', { cause }))
      },
    )
  }

  /** A row says `stopped` of what starts, stops and failed alike; the VM's host has said which. */
  #lookUp(sleeper: Sleeper): void {
    if (sleeper.isLookedUp) return
    sleeper.isLookedUp = true
    this.#deps.waker
      .findState(sleeper.vm)
      .then((state) => {
        if (state === 'failed') failAll(sleeper, () => new RelayError('wake_failed'))
        if (state === 'stopped') failAll(sleeper, () => new RelayError('route_stopped'))
      })
      // What cannot be looked up now is told by the next change of the row, or the time limit.
      .catch(() => {})
      .finally(() => {
        sleeper.isLookedUp = false
      })
  }
}

function createSleeper(vm: string): Sleeper {
  return { vm, holds: new Set(), askedAt: Number.NEGATIVE_INFINITY, isAsked: false, isLookedUp: false }
}

function failAll({ holds }: Sleeper, createError: () => RelayError): void {
  for (const hold of [...holds]) hold.fail(createError())
}

interface HoldDeps extends Pick<WakeHoldsDeps, 'routes' | 'refuse' | 'settle'> {
  readonly onLeft: () => void
  readonly onRunning: () => void
  /** The VM is neither asleep nor running. */
  readonly onDown: () => void
}

/** One exchange that waits; of its body nothing is read. */
class Hold implements ExchangeObserver {
  readonly #held: Held
  readonly #deps: HoldDeps
  readonly #startedAt = performance.now()
  readonly #endRing: () => void
  #isRung = false
  #isOver = false

  constructor(held: Held, deps: HoldDeps) {
    this.#held = held
    this.#deps = deps
    this.#endRing = deps.routes.onRow(held.route.hostname, () => this.#ring())
    held.exchange.observer = this
  }

  /** For how long the exchange was held in all. */
  heldMs(now: number): number {
    return (this.#held.exchange.record.wakeMs ?? 0) + now - this.#startedAt
  }

  fail(error: LandfallError): void {
    this.#leave()
    this.#deps.refuse(this.#held.exchange, error)
  }

  onClientGone(): void {
    this.#leave()
    const { exchange } = this.#held
    exchange.record.closeReason = 'client_gone'
    this.#deps.settle(exchange)
  }

  onFault(error: LandfallError): void {
    this.fail(error)
  }

  onDrain(): void {}

  /** Not in the turn of the change: the table must not be asked while it changes. */
  #ring(): void {
    if (this.#isRung) return
    this.#isRung = true
    queueMicrotask(() => {
      this.#isRung = false
      if (!this.#isOver) this.#look()
    })
  }

  #look(): void {
    const { route, exchange, goOn } = this.#held
    const now = this.#deps.routes.find(route.hostname)
    const isSame = now !== undefined && now.vm === route.vm
    if (isSame && now.state === 'asleep') return
    if (isSame && now.state !== 'running') {
      this.#deps.onDown()
      return
    }
    this.#deps.onRunning()
    this.#leave()
    goOn(exchange)
  }

  #leave(): void {
    const { exchange } = this.#held
    exchange.record.wakeMs = this.heldMs(performance.now())
    this.#isOver = true
    this.#endRing()
    exchange.observer = undefined
    this.#deps.onLeft()
  }
}
