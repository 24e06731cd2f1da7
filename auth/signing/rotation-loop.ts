/** Adds the next signing key to the store when it is due; every edge does, and one of them succeeds. */

import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { Access, SigningKeyRow } from '../access.ts'
import { createSigningKey, type KeyRing } from './key-ring.ts'
import { findSigningRow, planKey, type RotationTimes } from './key-rotation.ts'
import type { SigningKeyBook, SigningKeyList } from './signing-key-book.ts'

export interface RotationDeps {
  readonly access: Pick<Access, 'listSigningKeys' | 'onChange'>
  readonly book: SigningKeyBook
  readonly ring: KeyRing
  readonly sealer: Sealer
  readonly log: Log
}

export interface RotationSettings extends RotationTimes {
  /** Unix milliseconds. */
  readonly now: () => number
}

const CHECK_MS = 10_000
/** How long a start waits until the key that is in the store has come to this edge's memory. */
const FIRST_KEY_LIMIT_MS = 5_000

/** Returns when a key signs here, or when it is clear that none will soon: the store is away. */
export async function startRotation(deps: RotationDeps, settings: RotationSettings): Promise<RotationLoop> {
  const loop = new RotationLoop(deps, settings)
  await loop.rotate()
  await loop.untilKeySigns()
  return loop
}

export class RotationLoop implements AsyncDisposable {
  readonly #deps: RotationDeps
  readonly #settings: RotationSettings
  readonly #timer: NodeJS.Timeout
  #rotating: Promise<void> | undefined
  /** The store has keys; memory may not have them yet. */
  #hasKeys = false

  constructor(deps: RotationDeps, settings: RotationSettings) {
    this.#deps = deps
    this.#settings = settings
    this.#timer = setInterval(() => void this.rotate(), CHECK_MS)
    this.#timer.unref()
  }

  /** Done by itself every 10 s, one at a time. Never rejects. */
  rotate(): Promise<void> {
    this.#rotating ??= this.#addDue().finally(() => {
      this.#rotating = undefined
    })
    return this.#rotating
  }

  async untilKeySigns(): Promise<void> {
    if (!this.#hasKeys || this.#isSigning()) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = this.#deps.access.onChange(() => {
      if (this.#isSigning()) resolve()
    })
    const timer = setTimeout(resolve, FIRST_KEY_LIMIT_MS)
    await promise
    clearTimeout(timer)
    stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.#rotating
  }

  #isSigning(): boolean {
    return findSigningRow(this.#deps.access.listSigningKeys(), this.#settings.now()) !== undefined
  }

  #isDue(): boolean {
    return planKey(this.#deps.access.listSigningKeys(), this.#settings.now(), this.#settings) !== undefined
  }

  async #addDue(): Promise<void> {
    const { book, log } = this.#deps
    try {
      // Memory may be behind the store, which is asked only when something seems to be due.
      if (this.#isDue()) await this.#addTo(await book.list())
    } catch (error) {
      log.warn({ err: error }, 'the signing keys could not be read or written; tried again in 10 s')
    }
    await this.#openUsable()
  }

  async #addTo({ keys, version }: SigningKeyList): Promise<void> {
    const { book, log, sealer } = this.#deps
    this.#hasKeys = keys.length > 0
    const nowMs = this.#settings.now()
    const plan = planKey(keys, nowMs, this.#settings)
    if (plan === undefined) return
    const { signsFrom, end } = plan
    const before = keys.filter(({ id }) => id === end?.id)
    // An edge with another secret key would add a key that no other edge can open. Why is in the log already.
    if (!(await this.#canOpen(before))) return
    const createdAt = new Date(nowMs).toISOString()
    const added = { ...(await createSigningKey(sealer)), createdAt, signsFrom }
    const ended = before.map((key) => ({ ...key, ...end }))
    const isAdded = await book.change({ put: [added, ...ended] }, version)
    this.#hasKeys = true
    if (isAdded) log.info({ key: added.id, signs_from: signsFrom }, 'a new signing key was made')
  }

  /** Keys that sign now or later are opened early, so that the log tells of one that cannot be before it is needed. */
  async #openUsable(): Promise<void> {
    const nowMs = this.#settings.now()
    const usable = this.#deps.access
      .listSigningKeys()
      .filter(({ signsUntil }) => signsUntil === undefined || nowMs < Date.parse(signsUntil))
    await this.#canOpen(usable)
  }

  async #canOpen(rows: readonly SigningKeyRow[]): Promise<boolean> {
    const opened = await Promise.allSettled(rows.map((row) => this.#deps.ring.getPrivate(row)))
    return opened.every(({ status }) => status === 'fulfilled')
  }
}
