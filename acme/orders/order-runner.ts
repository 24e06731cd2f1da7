/** Starts what carries out this edge's share of the fleet's certificate orders. */

import { toMoment } from '../../lib/moment.ts'
import type { Hold } from '../books.ts'
import { toRegisteredDomain } from '../hostnames.ts'
import type { OrderRow, OrderState } from '../rows.ts'
import { KEY_TYPES, toSlot } from '../rows.ts'
import { createCaChoice } from './ca-choice.ts'
import {
  type FullOrdersSettings,
  type OrdersDeps,
  type OrdersSettings,
  withDefaults,
} from './order-settings.ts'
import { type Carrier, carryOrder, isDue } from './order-states.ts'
import type { CarriedOrders, OrderDemand } from './orders.ts'
import { toRenewalOf } from './renewal-moment.ts'

/** Changes come in bursts; one look serves them all. */
const GATHER_MS = 20
/** Looks take a twentieth of the time at most, however many orders there are. */
const LOOK_SHARE = 20
/** Of the places of an edge; the others are for renewals and the platform. */
const SHARE_OF_NEWCOMERS = 0.7
/** The most that the names of one registered domain get. */
const SHARE_OF_DOMAIN = 0.4
/** The most that names get that have failed: their owner may have them tried again as often as he likes. */
const SHARE_OF_FAILED = 0.4

/** Disposal aborts what is under way, which another edge or a later start carries on, and waits for it to stop. */
export function startOrders(deps: OrdersDeps, settings: OrdersSettings): CarriedOrders {
  return new OrderRunner(deps, withDefaults(settings))
}

interface Busy {
  readonly work: Promise<void>
  readonly isNewcomer: boolean
  readonly hasFailed: boolean
  /** The registered one. */
  readonly domain: string
}

type OrderKey = Pick<OrderRow, 'name' | 'keyType'>

class OrderRunner implements CarriedOrders {
  readonly #deps: OrdersDeps
  readonly #settings: FullOrdersSettings
  readonly #carrier: Carrier
  readonly #counts = new Map<string, number>()
  /** By name: a handshake has room for one answer to tls-alpn-01 (RFC 8737 section 3), so key types go one after the other. */
  readonly #busy = new Map<string, Busy>()
  /** What another edge holds, the store did not take, or was just looked at in the book: until when it is let be. */
  readonly #letBe = new Map<string, number>()
  readonly #ending = new AbortController()
  readonly #stopListening: () => void
  readonly #sweeps: NodeJS.Timeout
  #gathering: NodeJS.Timeout | undefined
  #lastLookMs = 0
  #isOpen = false

  constructor(deps: OrdersDeps, settings: FullOrdersSettings) {
    this.#deps = deps
    this.#settings = settings
    this.#carrier = {
      deps,
      settings,
      choice: createCaChoice(deps.cas, settings),
      count: (host, result) => {
        const key = `${host},${result}`
        this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
      },
    }
    this.#stopListening = deps.table.onOrder(() => this.#lookSoon())
    this.#sweeps = setInterval(() => this.#lookSoon(), settings.sweepMs)
  }

  open(): void {
    this.#isOpen = true
    this.#lookSoon()
  }

  counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  async want(demand: OrderDemand): Promise<void> {
    if (this.#isNeedless(demand)) return
    const { name, keyType, cause, isUrgent = false } = demand
    const known = this.#deps.table.findOrder(name, keyType)
    if (known === undefined && (await this.#write(demand))) return
    if (isUrgent || cause === 'operator') await this.#hurry(demand)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    this.#stopListening()
    clearInterval(this.#sweeps)
    clearTimeout(this.#gathering)
    await Promise.all([...this.#busy.values()].map(({ work }) => work))
  }

  /** An upload is its owner's to replace; and whoever asks because there is none may have looked a moment ago. */
  #isNeedless({ name, names, keyType, cause }: OrderDemand): boolean {
    const { table } = this.#deps
    if (KEY_TYPES.some((one) => table.get(name, one)?.source === 'upload')) return true
    if (cause === 'renewal' || cause === 'operator') return false
    const known = table.get(name, keyType)
    return (
      known !== undefined &&
      known.notAfterMs > this.#settings.now() &&
      names.every((one) => known.names.includes(one))
    )
  }

  async #write({ name, names, keyType, cause }: OrderDemand): Promise<boolean> {
    const known = this.#deps.table.get(name, keyType)?.read()
    const createdAt = toMoment(this.#settings.now())
    const row: OrderRow = {
      ...{ name, keyType, names, cause, createdAt },
      state: 'wanted',
      failures: 0,
      ...(known !== undefined && { of: toRenewalOf(known) }),
    }
    return (await this.#deps.books.orders.put(row, 0)) !== undefined
  }

  /** Ends the pause of one that failed. */
  async #hurry({ name, keyType, names, isUrgent, ...demand }: OrderDemand): Promise<void> {
    const kept = await this.#deps.books.orders.find(name, keyType)
    if (kept?.row.state !== 'failed') return
    const nextTryAt = toMoment(this.#settings.now())
    const cause = isUrgent ? kept.row.cause : demand.cause
    await this.#deps.books.orders.put({ ...kept.row, names, cause, nextTryAt }, kept.revision)
  }

  #lookSoon(): void {
    if (this.#ending.signal.aborted || !this.#isOpen) return
    this.#gathering ??= setTimeout(
      () => {
        const startedAt = performance.now()
        this.#gathering = undefined
        this.#look()
        this.#lastLookMs = performance.now() - startedAt
      },
      Math.max(GATHER_MS, this.#lastLookMs * LOOK_SHARE),
    )
  }

  /** Takes up as many as this edge may carry out at once, the platform's own first. */
  #look(): void {
    const { now, atOnce } = this.#settings
    if (this.#busy.size >= atOnce) return
    const nowMs = now()
    for (const [key, untilMs] of this.#letBe) if (untilMs <= nowMs) this.#letBe.delete(key)
    const due = [...this.#deps.table.listOrders()].filter(
      (row) => isDue(row, nowMs) && !this.#isLetBe(row) && !this.#isBehind(row),
    )
    for (const row of this.#sort(due)) {
      if (this.#busy.size < atOnce && !this.#busy.has(row.name) && this.#hasPlace(row)) this.#take(row)
    }
  }

  /**
   * No number of names that tenants ask for keeps renewals waiting, no owner of many names all other owners, and no
   * names that fail again and again those that are asked for the first time.
   */
  #hasPlace(row: OrderRow): boolean {
    if (!this.#isNewcomer(row)) return true
    const { atOnce } = this.#settings
    const domain = toRegisteredDomain(row.name)
    const newcomers = [...this.#busy.values()].filter(({ isNewcomer }) => isNewcomer)
    const kin = newcomers.filter((one) => one.domain === domain)
    const alike = newcomers.filter((one) => one.hasFailed && hasFailed(row))
    return (
      newcomers.length < Math.max(1, Math.floor(SHARE_OF_NEWCOMERS * atOnce)) &&
      kin.length < Math.ceil(SHARE_OF_DOMAIN * atOnce) &&
      alike.length < Math.ceil(SHARE_OF_FAILED * atOnce)
    )
  }

  #isNewcomer({ name, cause }: OrderRow): boolean {
    return name !== this.#settings.domain && cause !== 'renewal'
  }

  #isLetBe(row: OrderKey): boolean {
    return this.#busy.has(row.name) || this.#letBe.has(toSlot(row))
  }

  /** Behind an order of the same name that was begun, and whose answers may still be looked at. */
  #isBehind({ name, keyType, state }: OrderRow): boolean {
    const others = KEY_TYPES.filter((one) => one !== keyType).map((one) =>
      this.#deps.table.findOrder(name, one),
    )
    return !isBegun(state) && others.some((other) => other !== undefined && isBegun(other.state))
  }

  /**
   * Renewals last, what has failed before them, and EC first, as most clients need no other; otherwise shuffled, so that
   * edges do not all reach for the same one.
   */
  #sort(rows: readonly OrderRow[]): readonly OrderRow[] {
    const { random } = this.#settings
    return rows
      .map((row) => ({ row, rank: this.#rank(row) + random() }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ row }) => row)
  }

  #rank(row: OrderRow): number {
    const keyRank = row.keyType === 'ec' ? 0 : 1
    if (row.name === this.#settings.domain) return keyRank
    return (this.#isNewcomer(row) ? 2 : 6) + (hasFailed(row) ? 2 : 0) + keyRank
  }

  #take(row: OrderRow): void {
    const work = this.#carry(row)
      .catch((error: unknown) => {
        if (this.#ending.signal.aborted) return
        this.#deps.log.warn({ err: error, name: row.name }, 'a certificate order could not be carried on')
        this.#letItBe(row, this.#settings.backOffMs[0] ?? 0)
      })
      .finally(() => {
        this.#busy.delete(row.name)
        this.#lookSoon()
      })
    this.#busy.set(row.name, {
      work,
      isNewcomer: this.#isNewcomer(row),
      hasFailed: hasFailed(row),
      domain: toRegisteredDomain(row.name),
    })
  }

  async #carry(row: OrderKey): Promise<void> {
    await using hold: Hold | undefined = await this.#deps.books.holds.find(`order/${row.name}`)
    const { pollMs, sweepMs } = this.#settings
    const isWork =
      hold !== undefined && (await carryOrder(this.#carrier, row, { hold, signal: this.#ending.signal }))
    // The table may say for long what the book does not: while it is behind, and while the store lost rows.
    this.#letItBe(row, isWork ? pollMs : sweepMs)
  }

  #letItBe(row: OrderKey, ms: number): void {
    this.#letBe.set(toSlot(row), this.#settings.now() + ms)
  }
}

/** A CA may know of it, and look for its answers. */
function isBegun(state: OrderState): boolean {
  return state !== 'wanted' && state !== 'failed'
}

/** Since its last certificate; who waited for a budget or for a CA has not. */
function hasFailed({ failures }: OrderRow): boolean {
  return failures > 0
}
