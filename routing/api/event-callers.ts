/** How many streams of events each caller has, and how long its token lets them go on. */

import { isDeepStrictEqual } from 'node:util'
import { RoutingError } from '../errors.ts'
import { findSound, TOKENS } from '../records/record-kinds.ts'
import { BOOTSTRAP_ID, type Caller, type Scope } from './caller.ts'
import type { ApiContext } from './context.ts'
import { Places } from './places.ts'

const LIMITS = { perEdge: 300, perTenant: 100, what: 'streams of events open' }
/** The end of a token has to be noticed within a second. */
const CHECK_MS = 400

interface Group {
  readonly caller: Caller
  readonly seats: Set<Seat>
  isBeingAsked: boolean
}

export class EventCallers {
  readonly #context: Pick<ApiContext, 'store' | 'log' | 'now'>
  readonly #groups = new Map<Caller | Caller['id'], Group>()
  readonly #places = new Places(LIMITS)
  #timer: NodeJS.Timeout | undefined

  constructor(context: Pick<ApiContext, 'store' | 'log' | 'now'>) {
    this.#context = context
  }

  /** A place among the streams, to be left when the stream is over. @throws RoutingError `api_rate_limited` */
  enter(caller: Caller): Seat {
    const group = this.#groups.get(keyOf(caller)) ?? { caller, seats: new Set(), isBeingAsked: false }
    const leave = this.#places.enter(caller)
    const seat = new Seat(() => {
      leave()
      this.#leave(group, seat)
    })
    group.seats.add(seat)
    this.#groups.set(keyOf(caller), group)
    this.#timer ??= setInterval(() => this.#check(), CHECK_MS)
    return seat
  }

  endAll(): void {
    for (const group of this.#groups.values()) endSeats(group)
  }

  #leave({ caller, seats }: Group, seat: Seat): void {
    seats.delete(seat)
    if (seats.size === 0) this.#groups.delete(keyOf(caller))
    if (this.#groups.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Asks once for each token, however many streams it has. */
  #check(): void {
    const now = this.#context.now().getTime()
    for (const group of this.#groups.values()) {
      const { id, expiresAt } = group.caller
      if (expiresAt !== undefined && Date.parse(expiresAt) <= now) endSeats(group)
      else if (id !== BOOTSTRAP_ID && !group.isBeingAsked) void this.#ask(group)
    }
  }

  /** Never rejects: while the store is away, a token is good until it expires. */
  async #ask(group: Group): Promise<void> {
    group.isBeingAsked = true
    try {
      // What was withdrawn from the token must not be told any longer.
      if (!isDeepStrictEqual(await this.#findScopes(group.caller), group.caller.scopes)) endSeats(group)
    } catch (error) {
      this.#context.log.debug({ err: error }, 'the tokens of event streams could not be checked')
    }
    group.isBeingAsked = false
  }

  /** Undefined when the token is over. */
  async #findScopes({ id, renew }: Caller): Promise<readonly Scope[] | undefined> {
    if (renew !== undefined) return findRenewedScopes(renew)
    const document = await this.#context.store.get(TOKENS.prefix + id)
    return document && findSound(TOKENS, document)?.record.scopes
  }
}

async function findRenewedScopes(renew: () => Promise<Caller>): Promise<readonly Scope[] | undefined> {
  try {
    return (await renew()).scopes
  } catch (error) {
    if (error instanceof RoutingError && error.code === 'api_unauthorized') return undefined
    throw error
  }
}

/** One user may have signed several tokens, each with an end of its own. */
function keyOf(caller: Caller): Caller | Caller['id'] {
  return caller.renew === undefined ? caller.id : caller
}

export class Seat {
  readonly leave: () => void
  #end: (() => void) | undefined
  #isOver = false

  constructor(leave: () => void) {
    this.leave = leave
  }

  /** `end` is called once: when the token is over, or at once when it was so before. */
  onOver(end: () => void): void {
    if (this.#isOver) end()
    else this.#end = end
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#end?.()
  }
}

function endSeats({ seats }: Group): void {
  for (const seat of [...seats]) seat.end()
}
