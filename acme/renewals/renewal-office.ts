/** Has certificates replaced in time: one edge of the fleet looks after all of them. */

import { setImmediate as turn } from 'node:timers/promises'
import type { Hold, KnownCertificate } from '../books.ts'
import { isSingleLabel, toPlatformNames } from '../hostnames.ts'
import type { OrderDemand } from '../orders/orders.ts'
import { KEY_TYPES, type KeyType } from '../rows.ts'
import { createEndWarnings, type EndWarnings } from './end-warnings.ts'
import { planHurried } from './renewal-plan.ts'
import {
  type FullSettings,
  type RenewalsDeps,
  type RenewalsSettings,
  withDefaults,
} from './renewal-settings.ts'
import { createWindowQuestions, type WindowQuestions } from './window-questions.ts'

/** Certificates looked at between two turns of the event loop: below a millisecond. */
const SLICE = 200

export interface Renewals extends AsyncDisposable {
  /** Nothing is looked at before. */
  open(): void
  /** Has it replaced at once; nothing for a name without an ordered certificate. Rejects when the store is away. */
  hurry(name: string, keyType: KeyType, reason: 'revoked' | 'operator'): Promise<void>
}

/** Disposal gives the office to another edge and waits for what is under way. */
export function startRenewals(deps: RenewalsDeps, settings: RenewalsSettings): Renewals {
  return new RenewalOffice(deps, withDefaults(settings))
}

class RenewalOffice implements Renewals {
  readonly #deps: RenewalsDeps
  readonly #settings: FullSettings
  readonly #warnings: EndWarnings
  readonly #questions: WindowQuestions
  readonly #ending = new AbortController()
  readonly #timer: NodeJS.Timeout
  #backlog: NodeJS.Timeout | undefined
  #isOpen = false
  #hold: Hold | undefined
  #sweeping: Promise<void> | undefined
  /** Somebody asked for a look during the one under way. */
  #isRung = false

  constructor(deps: RenewalsDeps, settings: FullSettings) {
    this.#deps = deps
    this.#settings = settings
    this.#warnings = createEndWarnings(deps.log)
    this.#questions = createWindowQuestions(deps, settings)
    this.#timer = setInterval(() => this.#look(), settings.sweepMs)
  }

  open(): void {
    this.#isOpen = true
    this.#look()
  }

  async hurry(name: string, keyType: KeyType, reason: 'revoked' | 'operator'): Promise<void> {
    const known = this.#deps.table.get(name, keyType)
    if (known?.source !== 'acme' || known.renewal?.reason === reason) return
    const nowMs = this.#settings.now()
    await this.#deps.books.certificates.putRenewal(planHurried(known.read(), known, { reason, nowMs }))
    this.#look()
    // The table may not have heard of it yet.
    this.#lookAgain()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    clearInterval(this.#timer)
    clearTimeout(this.#backlog)
    await this.#sweeping
    await this.#hold?.[Symbol.asyncDispose]()
  }

  #look(): void {
    if (this.#ending.signal.aborted || !this.#isOpen) return
    this.#isRung = this.#sweeping !== undefined
    this.#sweeping ??= this.#sweep()
      .catch((error: unknown) => {
        if (!this.#ending.signal.aborted)
          this.#deps.log.warn({ err: error }, 'renewals could not be looked at')
      })
      .finally(() => {
        this.#sweeping = undefined
        if (this.#isRung) this.#lookAgain()
      })
  }

  #lookAgain(): void {
    clearTimeout(this.#backlog)
    if (this.#ending.signal.aborted) return
    this.#backlog = setTimeout(() => this.#look(), this.#settings.backlogMs)
  }

  async #sweep(): Promise<void> {
    if (!this.#deps.table.ready) return
    if (this.#deps.cas.length === 0) {
      // For the warnings alone.
      await this.#sort()
      return
    }
    await this.#wantPlatform()
    if (!(await this.#hasOffice())) return
    const { due, toAsk } = await this.#sort()
    await this.#wantDue(due)
    const signal = AbortSignal.any([this.#ending.signal, this.#hold?.signal ?? this.#ending.signal])
    const isMore = await this.#questions.ask(toAsk, signal)
    // What a CA has just hurried is not left until the next sweep.
    if (toAsk.length > 0) await this.#wantDue((await this.#sort()).due)
    if (isMore) this.#lookAgain()
  }

  /** A platform without a certificate of its own serves nobody, so no office is asked for. */
  async #wantPlatform(): Promise<void> {
    const { domain, keyTypes } = this.#settings
    // No CA issues for such a name, and no client takes its wildcard.
    if (isSingleLabel(domain)) return
    const names = toPlatformNames(domain)
    for (const keyType of this.#isUploaded(domain) ? [] : keyTypes) {
      const known = this.#deps.table.get(domain, keyType)
      const isGood = known !== undefined && names.every((name) => known.names.includes(name))
      if (!isGood) await this.#deps.orders.want({ name: domain, names, keyType, cause: 'platform' })
    }
  }

  /** No key type of such a name is ordered. */
  #isUploaded(name: string): boolean {
    return KEY_TYPES.some((keyType) => this.#deps.table.get(name, keyType)?.source === 'upload')
  }

  async #hasOffice(): Promise<boolean> {
    if (this.#hold?.signal.aborted === true) {
      await this.#hold[Symbol.asyncDispose]()
      this.#hold = undefined
    }
    this.#hold ??= await this.#deps.books.holds.find('renewals')
    return this.#hold !== undefined
  }

  async #sort(): Promise<{
    readonly due: readonly Due[]
    readonly toAsk: readonly KnownCertificate[]
  }> {
    const due: Due[] = []
    const toAsk: KnownCertificate[] = []
    const nowMs = this.#settings.now()
    let count = 0
    for (const known of this.#deps.table.list()) {
      if (this.#isKept(known, nowMs)) {
        if (isDue(known, nowMs)) due.push(known)
        else if ((known.renewal?.askAtMs ?? 0) <= nowMs) toAsk.push(known)
        due.push(...this.#listMissing(known))
      }
      count += 1
      if (count % SLICE === 0) await turn(undefined, { signal: this.#ending.signal })
    }
    return { due, toAsk }
  }

  /** Whether it is ordered anew at all. */
  #isKept(known: KnownCertificate, nowMs: number): boolean {
    const { domain, keyTypes } = this.#settings
    if (known.source === 'upload') {
      this.#warnings.warn(known, nowMs)
      return false
    }
    return keyTypes.includes(known.keyType) && (known.name === domain || this.#deps.isWanted(known.name))
  }

  /** Key types that the settings have come to ask for, or whose first order was dropped. The platform's are wanted apart. */
  #listMissing({ name, names, notAfterMs }: KnownCertificate): readonly Due[] {
    const { domain, keyTypes } = this.#settings
    if (name === domain) return []
    return keyTypes
      .filter((keyType) => this.#deps.table.get(name, keyType) === undefined)
      .map((keyType) => ({ name, names, keyType, notAfterMs }))
  }

  /** In small runs, so that a fleet with 10,000 due names neither floods a CA nor keeps a new name waiting. */
  async #wantDue(due: readonly Due[]): Promise<void> {
    const { domain, openAtOnce } = this.#settings
    const rank = ({ name, notAfterMs }: Due): number => (name === domain ? 0 : notAfterMs)
    const open = [...this.#deps.table.listOrders()].filter(
      ({ cause, state }) => cause === 'renewal' && state !== 'failed',
    )
    const free = Math.max(0, openAtOnce - open.length)
    const left = due
      .filter(({ name, keyType }) => this.#deps.table.findOrder(name, keyType) === undefined)
      .filter(({ name }) => !this.#isUploaded(name))
      .sort((a, b) => rank(a) - rank(b))
    if (left.length > free) this.#lookAgain()
    const next = left.slice(0, free)
    for (const { name, names, keyType } of next) {
      if (this.#ending.signal.aborted) return
      await this.#deps.orders.want({ name, names, keyType, cause: 'renewal' })
    }
  }
}

/** What is wanted as soon as there is room for it; the earliest end first. */
type Due = Pick<OrderDemand, 'name' | 'names' | 'keyType'> & Pick<KnownCertificate, 'notAfterMs'>

function isDue({ renewal, notAfterMs }: KnownCertificate, nowMs: number): boolean {
  return (renewal?.renewAtMs ?? Number.POSITIVE_INFINITY) <= nowMs || notAfterMs <= nowMs
}
