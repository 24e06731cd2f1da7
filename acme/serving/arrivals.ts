/** Handshakes that wait until a certificate arrives: so many at once, and each for so long. */

import type { CertificateTable } from '../books.ts'
import { toRegisteredDomain } from '../hostnames.ts'

export interface ArrivalsSettings {
  readonly waitMs: number
  /** Of all names. */
  readonly maxWaiting: number
}

/** Of all places: whose DNS is slow must not take those of others. */
const NAME_SHARE = 1 / 5
const DOMAIN_SHARE = 1 / 2

/** All that wait for one name; who comes later waits for less long. */
interface Wait {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly timer: NodeJS.Timeout
  /** Registered. */
  readonly domain: string
  count: number
}

export class Arrivals implements Disposable {
  readonly #settings: ArrivalsSettings
  readonly #waits = new Map<string, Wait>()
  readonly #stops: readonly (() => void)[]
  readonly #waitingByDomain = new Map<string, number>()
  #waiting = 0

  constructor(table: Pick<CertificateTable, 'onCertificate' | 'onOrder'>, settings: ArrivalsSettings) {
    this.#settings = settings
    this.#stops = [
      table.onCertificate((name) => this.end(name)),
      table.onOrder(({ name, state }) => {
        if (state === 'failed') this.end(name)
      }),
    ]
  }

  /** Undefined when too many wait already, in all, for this name, or for its registered domain. Never rejects. */
  wait(name: string): Promise<void> | undefined {
    const { maxWaiting } = this.#settings
    const known = this.#waits.get(name)
    const domain = known?.domain ?? toRegisteredDomain(name)
    const isFull =
      this.#waiting >= maxWaiting ||
      (known?.count ?? 0) >= maxWaiting * NAME_SHARE ||
      (this.#waitingByDomain.get(domain) ?? 0) >= maxWaiting * DOMAIN_SHARE
    if (isFull) return undefined
    const wait = known ?? this.#add(name, domain)
    wait.count += 1
    this.#count(domain, 1)
    return wait.promise
  }

  /** Lets all go that wait for the name. */
  end(name: string): void {
    const wait = this.#waits.get(name)
    if (wait === undefined) return
    clearTimeout(wait.timer)
    this.#waits.delete(name)
    this.#count(wait.domain, -wait.count)
    wait.resolve()
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop()
    for (const name of [...this.#waits.keys()]) this.end(name)
  }

  #count(domain: string, change: number): void {
    this.#waiting += change
    const waiting = (this.#waitingByDomain.get(domain) ?? 0) + change
    if (waiting > 0) this.#waitingByDomain.set(domain, waiting)
    else this.#waitingByDomain.delete(domain)
  }

  #add(name: string, domain: string): Wait {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(() => this.end(name), this.#settings.waitMs)
    const wait = { promise, resolve, timer, domain, count: 0 }
    this.#waits.set(name, wait)
    return wait
  }
}
