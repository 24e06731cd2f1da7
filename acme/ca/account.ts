/** The account that all edges share at one authority: its key is made and saved before the authority hears of it. */

import { createPrivateKey } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import { digestOf } from '../../lib/digest.ts'
import { KeyedQueue } from '../../lib/keyed-queue.ts'
import type { Log } from '../../lib/log.ts'
import { toMoment } from '../../lib/moment.ts'
import { pause } from '../../lib/pause.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { AccountBook, Hold, HoldBook, Kept } from '../books.ts'
import { AcmeError } from '../errors.ts'
import { generateKey } from '../keys.ts'
import type { AccountRow } from '../rows.ts'
import { CaProblem } from './ca-problem.ts'

const HOLD_RETRY_MS = 200

export interface AccountDeps {
  readonly accounts: AccountBook
  readonly holds: HoldBook
  readonly sealer: Pick<Sealer, 'seal' | 'open'>
  readonly log: Log
}

export interface AccountSettings {
  readonly directory: string
  /** How long another edge may take to make the account. */
  readonly waitMs: number
  readonly now: () => number
  /** Tells the authority of a key, and returns the URL of its account, new or known. */
  readonly register: (keyPem: string, signal: AbortSignal) => Promise<string>
}

export interface AccountKey {
  readonly keyPem: string
  readonly url: string
}

export class FleetAccount {
  readonly #deps: AccountDeps
  readonly #settings: AccountSettings
  readonly #queue = new KeyedQueue()
  readonly #boundTo: string
  #known: AccountKey | undefined

  constructor(deps: AccountDeps, settings: AccountSettings) {
    this.#deps = deps
    this.#settings = settings
    this.#boundTo = `acme-account/${digestOf(settings.directory)}`
  }

  /** @throws CaProblem, AcmeError certificate_setting when the key cannot be opened, and what the books throw */
  async get(signal: AbortSignal): Promise<AccountKey> {
    return this.#known ?? this.#make({ signal, lost: undefined })
  }

  /** For an account that the authority says it has not: made again with the same key, unless another edge did so meanwhile. */
  async remake(lost: AccountKey, signal: AbortSignal): Promise<AccountKey> {
    return this.#make({ signal, lost })
  }

  /** RFC 7638. */
  async getThumbprint(): Promise<string> {
    const keyPem = this.#known?.keyPem ?? this.#open((await this.#getRow()).row)
    return calculateJwkThumbprint(createPrivateKey(keyPem).export({ format: 'jwk' }))
  }

  async #make({
    signal,
    lost,
  }: {
    readonly signal: AbortSignal
    readonly lost: AccountKey | undefined
  }): Promise<AccountKey> {
    return this.#queue.run(['account'], async () => {
      if (this.#known && this.#known !== lost) return this.#known
      const made = (await this.#findKnown(lost)) ?? (await this.#makeHeld(signal, lost))
      this.#known = made
      return made
    })
  }

  async #makeHeld(signal: AbortSignal, lost: AccountKey | undefined): Promise<AccountKey> {
    const deadline = performance.now() + this.#settings.waitMs
    for (;;) {
      const hold = await this.#deps.holds.find(`account/${digestOf(this.#settings.directory)}`)
      if (hold) return this.#register({ hold, signal, lost })
      if (performance.now() > deadline) throw this.#late()
      await pause(HOLD_RETRY_MS, signal)
      if (signal.aborted) {
        throw CaProblem.silence('aborted', 'Nobody waits for the account any more', signal.reason)
      }
      const known = await this.#findKnown(lost)
      if (known) return known
    }
  }

  async #register({ hold, signal, lost }: Registration): Promise<AccountKey> {
    await using held = hold
    const known = await this.#findKnown(lost)
    if (known) return known
    const { row, revision } = await this.#getRow()
    const keyPem = this.#open(row)
    const url = await this.#settings.register(keyPem, AbortSignal.any([signal, held.signal]))
    const saved = await this.#deps.accounts.put({ ...row, url }, revision)
    // Whoever wrote meanwhile has told the authority of the same key.
    const ca = this.#settings.directory
    if (saved === undefined) this.#deps.log.warn({ ca }, 'the account was written by another edge meanwhile')
    else this.#deps.log.info({ ca, account: url }, 'the certificate authority has the account')
    return { keyPem, url }
  }

  async #findKnown(lost: AccountKey | undefined): Promise<AccountKey | undefined> {
    const kept = await this.#deps.accounts.find(this.#settings.directory)
    const url = kept?.row.url
    return kept && url !== undefined && url !== lost?.url ? { keyPem: this.#open(kept.row), url } : undefined
  }

  /** The row with the key; of several edges that make one, the first to write it wins. */
  async #getRow(): Promise<Kept<AccountRow>> {
    const { accounts } = this.#deps
    const { directory } = this.#settings
    const found = await accounts.find(directory)
    if (found) return found
    const row = await this.#createRow()
    const revision = await accounts.put(row, 0)
    const kept = revision === undefined ? await accounts.find(directory) : { row, revision }
    if (!kept) throw this.#late()
    return kept
  }

  async #createRow(): Promise<AccountRow> {
    const key = await generateKey('ec')
    const pem = key.export({ type: 'pkcs8', format: 'pem' })
    return {
      ca: this.#settings.directory,
      sealedKey: this.#deps.sealer.seal(pem, this.#boundTo),
      createdAt: toMoment(this.#settings.now()),
    }
  }

  #open({ sealedKey }: AccountRow): string {
    try {
      return this.#deps.sealer.open(sealedKey, this.#boundTo).toString()
    } catch (cause) {
      const detail = `The key of the account at ${this.#settings.directory} cannot be opened`
      throw new AcmeError('certificate_setting', { cause, detail })
    }
  }

  #late(): CaProblem {
    return CaProblem.silence('timeout', 'Another edge has been making the account for too long', undefined)
  }
}

interface Registration {
  readonly hold: Hold
  readonly signal: AbortSignal
  readonly lost: AccountKey | undefined
}
