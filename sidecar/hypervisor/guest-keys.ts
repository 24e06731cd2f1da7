/** Sees to it that a guest has the authorized keys of its VM: a key that was taken away must not open it any longer. */

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import type { Agent } from './agent.ts'

/** A guest that takes longer is asked on while its VM counts as up. */
const WAIT_MS = 5_000
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000

export interface GuestKeysParts {
  readonly vm: string
  readonly agent: Pick<Agent, 'request'>
  /** What the guest has: a digest, or empty when that is not certain. */
  readonly given: string
  /** Notes it for whoever looks after the guest next. */
  readonly note: (given: string) => Promise<void>
  readonly log: Log
}

export function digestOfKeys(keys: readonly string[] = []): string {
  return createHash('sha256').update(keys.join('\n')).digest('hex')
}

export class GuestKeys {
  readonly #parts: GuestKeysParts
  readonly #over = new AbortController()
  #given: string
  #wanted: string
  #telling: Promise<void> | undefined

  constructor(parts: GuestKeysParts) {
    this.#parts = parts
    this.#given = parts.given
    this.#wanted = parts.given
  }

  /**
   * The metadata service has to answer with them already. Settles when the guest has them, or after a while: it is asked
   * until it does. Never rejects.
   */
  async want(keys: readonly string[] | undefined): Promise<void> {
    this.#wanted = digestOfKeys(keys)
    this.#telling ??= this.#tell().finally(() => {
      this.#telling = undefined
    })
    using limit = createTimer(WAIT_MS)
    await Promise.race([this.#telling, limit.over])
  }

  close(): void {
    this.#over.abort()
  }

  async #tell(): Promise<void> {
    for (let pause = FIRST_PAUSE_MS; this.#isWrong; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      try {
        await this.#ask()
      } catch (error) {
        if (this.#over.signal.aborted) return
        this.#parts.log.warn(
          { vm: this.#parts.vm, err: error },
          'a guest does not fetch its keys; it is asked again',
        )
        await sleep(pause, undefined, { signal: this.#over.signal }).catch(() => undefined)
      }
    }
  }

  get #isWrong(): boolean {
    return this.#given !== this.#wanted && !this.#over.signal.aborted
  }

  /** Between a request and its answer the guest may have either, and so may one whose answer never comes. */
  async #ask(): Promise<void> {
    const { agent, note } = this.#parts
    const asked = this.#wanted
    this.#given = ''
    await note('')
    await agent.request('keys')
    this.#given = asked
    await note(asked)
  }
}

function createTimer(ms: number): Disposable & { readonly over: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  return { over: promise, [Symbol.dispose]: () => clearTimeout(timer) }
}
