/** Handshakes that wait until a certificate arrives: so many at once, and each for so long. */

import type { CertificateTable } from '../books.ts'

export interface ArrivalsSettings {
  readonly waitMs: number
  readonly maxWaiting: number
}

/** All that wait for one name; who comes later waits for less long. */
interface Wait {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly timer: NodeJS.Timeout
  count: number
}

export class Arrivals implements Disposable {
  readonly #settings: ArrivalsSettings
  readonly #waits = new Map<string, Wait>()
  readonly #stops: readonly (() => void)[]
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

  /** Undefined when too many wait already. Never rejects. */
  wait(name: string): Promise<void> | undefined {
    if (this.#waiting >= this.#settings.maxWaiting) return undefined
    const wait = this.#waits.get(name) ?? this.#add(name)
    wait.count += 1
    this.#waiting += 1
    return wait.promise
  }

  /** Lets all go that wait for the name. */
  end(name: string): void {
    const wait = this.#waits.get(name)
    if (wait === undefined) return
    clearTimeout(wait.timer)
    this.#waits.delete(name)
    this.#waiting -= wait.count
    wait.resolve()
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop()
    for (const name of [...this.#waits.keys()]) this.end(name)
  }

  #add(name: string): Wait {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(() => this.end(name), this.#settings.waitMs)
    const wait = { promise, resolve, timer, count: 0 }
    this.#waits.set(name, wait)
    return wait
  }
}
