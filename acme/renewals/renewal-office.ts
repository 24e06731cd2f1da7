/** Has certificates replaced in time: one edge of the fleet looks after all of them. */

import { setImmediate as turn } from 'node:timers/promises'
import type { Hold, KnownCertificate } from '../books.ts'
import { isSingleLabel, toPlatformNames } from '../hostnames.ts'
import type { OrderDemand } from '../orders/orders.ts'
import { KEY_TYPES, type KeyType } from '../rows.ts'
import { createEndWarnings, type EndWarnings } from './end-warnings.ts'
import { isRevoked, planRevoked } from './renewal-plan.ts'
import {
  type FullRenewalsSettings,
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
  /** Has replaced at once what its CA has revoked; nothing for a name without an ordered certificate. Rejects when the store is away. */
  hurry(name: string, keyType: KeyType): Promise<void>
}

/** Disposal gives the office to another edge and waits for what is under way. */
export function startRenewals(deps: RenewalsDeps, settings: RenewalsSettings): Renewals {
  return new RenewalOffice(deps, withDefaults(settings))
}

class RenewalOffice implements Renewals {
  readonly #deps: RenewalsDeps
  readonly #settings: FullRenewalsSettings
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

  constructor(deps: RenewalsDeps, settings: FullRenewalsSettings) {
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

  async hurry(name: string, keyType: KeyType): Promise<void> {
    const known = this.#deps.table.get(name, keyType)
    if (known?.source !== 'acme' || isRevoked(known)) return
    // A renewal that failed before may wait for a day. First, since what is known to be revoked is not hurried again.
    if (this.#deps.table.findOrder(name, keyType)?.state === 'failed') {
      await this.#deps.orders?.want({ name, names: known.names, keyType, cause: 'renewal', isUrgent: true })
    }
    await this.#deps.books.certificates.putRenewal(planRevoked(known.read(), known, this.#settings.now()))
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
    if (this.#deps.orders === undefined) {
      // For the warnings alone.
      await this.#survey()
      return
    }
    await this.#wantPlatform()
    if (!(await this.#hasOffice())) return
    const { due, toAsk } = await this.#survey()
    await this.#wantDue(due)
    const signal = AbortSignal.any([this.#ending.signal, this.#hold?.signal ?? this.#ending.signal])
    const isMore = await this.#questions.ask(toAsk, signal)
    // What a CA has just hurried is not left until the next sweep.
    if (toAsk.length > 0) await this.#wantDue((await this.#survey()).due)
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
      if (!isGood) await this.#deps.orders?.want({ name: domain, names, keyType, cause: 'platform' })
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

  /** Looks at all certificates, and warns of uploads that end. */
  async #survey(): Promise<Survey> {
    const found: Survey = { due: [], toAsk: [] }
    const nowMs = this.#settings.now()
    let count = 0
    for (const known of this.#deps.table.list()) {
      this.#lookAt(known, nowMs, found)
      count += 1
      if (count % SLICE === 0) await turn(undefined, { signal: this.#ending.signal })
    }
    return found
  }

  #lookAt(known: KnownCertificate, nowMs: number, { due, toAsk }: Survey): void {
    if (known.source === 'upload') {
      this.#warnings.warn(known, nowMs)
      return
    }
    if (!this.#isRenewed(known)) return
    if (isDue(known, nowMs)) due.push(known)
    else if ((known.renewal?.askAtMs ?? 0) <= nowMs) toAsk.push(known)
    due.push(...this.#listMissing(known))
  }

  /** Whether it is ordered anew at all. */
  #isRenewed({ name, keyType }: KnownCertificate): boolean {
    const { domain, keyTypes } = this.#settings
    return keyTypes.includes(keyType) && (name === domain || this.#deps.isWanted(name))
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
      await this.#deps.orders?.want({ name, names, keyType, cause: 'renewal' })
    }
  }
}

interface Survey {
  readonly due: Due[]
  readonly toAsk: KnownCertificate[]
}

/** What is wanted as soon as there is room for it; the earliest end first. */
type Due = Pick<OrderDemand, 'name' | 'names' | 'keyType'> & Pick<KnownCertificate, 'notAfterMs'>

function isDue({ renewal, notAfterMs }: KnownCertificate, nowMs: number): boolean {
  return (renewal?.renewAtMs ?? Number.POSITIVE_INFINITY) <= nowMs || notAfterMs <= nowMs
}
