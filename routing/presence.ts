/** Shows a host or an edge to the others: its record, and a lease that lives as long as its process. */

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { RoutingError } from './errors.ts'
import { EDGES, HOSTS } from './records/record-kinds.ts'
import type { EdgeRecord, HostRecord } from './records/records.ts'
import type { Document, Lease, Store } from './store/store.ts'

export interface PresenceDeps {
  readonly store: Pick<Store, 'get' | 'put' | 'acquireLease' | 'findLease' | 'renewLease' | 'releaseLease'>
  readonly log: Log
}

export type PresenceSettings = (
  | { readonly kind: 'host'; readonly record: HostRecord }
  | { readonly kind: 'edge'; readonly record: EdgeRecord }
) & {
  /** How long the others wait for a sign of life; it is renewed three times as often. Default 15,000. */
  readonly ttlMs?: number
  /** No other process can have this store open, so whoever held the name is dead, and is not waited for. */
  readonly isAlone?: boolean
  /** Another process lives under the name, after this one had begun. Called again and again while it does. */
  readonly onTaken?: (refusal: RoutingError) => void
}

export interface Presence extends AsyncDisposable {
  /** True while nobody else can have the name: as of the last renewal that was confirmed. */
  isHeld(): boolean
}

const DEFAULT_TTL_MS = 15_000
const RENEWALS_PER_TTL = 3
/** The first wait after a failure is this part of the lease's time; it doubles up to the pause between renewals. */
const FIRST_RETRY_PART = 60
const LOOKS_PER_TTL = 10

/**
 * Resolves after the first attempt; when the store is away it is tried again and again. A host whose name another
 * process goes on renewing is refused, which takes about `ttlMs / 3`; one that was killed is forgotten after `ttlMs`.
 * An edge only says so and goes on trying. Disposal releases the name; it never rejects.
 * @throws RoutingError `host_name_taken`; RecordInvalid when the record breaks a rule
 */
export async function startPresence(deps: PresenceDeps, settings: PresenceSettings): Promise<Presence> {
  const presence = new NameHolder(deps, settings)
  await presence.start()
  return presence
}

class NameHolder implements Presence {
  readonly #deps: PresenceDeps
  readonly #kind: PresenceSettings['kind']
  /** Of the record, and of the lease. */
  readonly #key: string
  readonly #record: Document
  readonly #ttlMs: number
  readonly #isAlone: boolean
  readonly #onTaken: (refusal: RoutingError) => void
  readonly #owner = randomUUID()
  readonly #stop = new AbortController()
  #lease: Lease | undefined
  /** Whose lease was in the way the last time; its process may be dead. */
  #rival: Lease | undefined
  #isWritten = false
  #heldUntil = Number.NEGATIVE_INFINITY
  #isTakenLogged = false
  #failures = 0
  #running: Promise<void> = Promise.resolve()

  constructor(deps: PresenceDeps, settings: PresenceSettings) {
    const { kind, record, ttlMs = DEFAULT_TTL_MS, isAlone = false, onTaken = () => {} } = settings
    const parsed = kind === 'host' ? HOSTS.parse(record) : EDGES.parse(record)
    this.#deps = deps
    this.#kind = kind
    this.#key = `${kind}/${parsed.name}`
    this.#record = { ...parsed }
    this.#ttlMs = ttlMs
    this.#isAlone = isAlone
    this.#onTaken = onTaken
  }

  isHeld(): boolean {
    return performance.now() < this.#heldUntil
  }

  async start(): Promise<void> {
    await this.#attempt(async () => {
      if (this.#isAlone) await this.#forgetDead()
      await this.#renew()
      if (this.#lease) return
      if (this.#kind === 'host') await this.#waitOut()
      else this.#noteTaken()
    })
    this.#running = this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
    const lease = this.#lease
    this.#heldUntil = Number.NEGATIVE_INFINITY
    if (lease) await this.#attempt(() => this.#deps.store.releaseLease(lease))
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await sleep(this.#pauseMs(), undefined, { signal: this.#stop.signal }).catch(() => {})
      if (!this.#stop.signal.aborted) await this.#attempt(() => this.#renewOrSay())
    }
  }

  async #renewOrSay(): Promise<void> {
    await this.#renew()
    const rival = this.#lease === undefined ? await this.#findRival() : undefined
    if (rival && this.#rival && isAlive(this.#rival, rival)) this.#onTaken(this.#toRefusal(rival))
    this.#rival = rival
  }

  async #findRival(): Promise<Lease | undefined> {
    this.#noteTaken()
    return this.#deps.store.findLease(this.#key)
  }

  #pauseMs(): number {
    const renewMs = this.#ttlMs / RENEWALS_PER_TTL
    if (this.#failures === 0) return renewMs
    return Math.min(renewMs, (this.#ttlMs / FIRST_RETRY_PART) * 2 ** (this.#failures - 1))
  }

  /** @throws RoutingError `host_name_taken`, and no other */
  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work()
      this.#failures = 0
    } catch (error) {
      if (error instanceof RoutingError && error.code === 'host_name_taken') throw error
      this.#failures += 1
      this.#deps.log.warn({ err: error, name: this.#key }, 'this process cannot show that it lives')
    }
  }

  /** Takes the lease where nobody has it, and writes the record where it is not. */
  async #renew(): Promise<void> {
    const askedAt = performance.now()
    const { store } = this.#deps
    const kept = this.#lease && (await store.renewLease(this.#lease, this.#ttlMs))
    if (this.#lease && !kept) this.#noteLoss()
    this.#lease = kept ?? (await store.acquireLease(this.#key, this.#owner, this.#ttlMs))
    if (this.#lease === undefined) return
    this.#heldUntil = askedAt + this.#ttlMs
    this.#isTakenLogged = false
    // A store that lost its data, or an operator, may have taken the record away.
    if (!this.#isWritten || (await store.get(this.#key)) === undefined) await this.#write()
  }

  async #write(): Promise<void> {
    await this.#deps.store.put(this.#key, this.#record)
    this.#isWritten = true
  }

  #noteLoss(): void {
    this.#heldUntil = Number.NEGATIVE_INFINITY
    this.#isWritten = false
    this.#deps.log.warn({ name: this.#key }, 'the lease of this process ran out or was lost')
  }

  #noteTaken(): void {
    if (this.#isTakenLogged) return
    this.#isTakenLogged = true
    const level = this.#kind === 'host' ? 'error' : 'warn'
    this.#deps.log[level]({ name: this.#key }, 'another process has the name of this one')
  }

  async #forgetDead(): Promise<void> {
    const lease = await this.#deps.store.findLease(this.#key)
    if (lease) await this.#deps.store.releaseLease(lease)
  }

  /** Until the lease runs out; one that is renewed meanwhile has a living holder. */
  async #waitOut(): Promise<void> {
    this.#deps.log.info({ name: this.#key }, 'waiting until the lease of an earlier process runs out')
    let seen = await this.#deps.store.findLease(this.#key)
    while (this.#lease === undefined) {
      await sleep(this.#ttlMs / LOOKS_PER_TTL)
      const found = await this.#deps.store.findLease(this.#key)
      if (found === undefined) await this.#renew()
      else if (seen !== undefined && isAlive(seen, found)) throw this.#toRefusal(found)
      seen = found
    }
  }

  #toRefusal({ owner }: Lease): RoutingError {
    const detail = `Another process runs as ${this.#key}.`
    return new RoutingError('host_name_taken', { detail, context: { owner } })
  }
}

function isAlive(before: Lease, now: Lease): boolean {
  return now.token !== before.token || now.expiresAt > before.expiresAt
}
