/** Keeps a copy of a part of the store: loads it, follows the feed, and lives through the loss of both. */

import type { Log } from '../../lib/log.ts'
import { pause } from '../../lib/pause.ts'
import type { Change, FeedEvent, Page, Position, Store } from '../store/store.ts'
import { type Copy, fillLoad, listPages, Meanwhile } from './feed-load.ts'
import { DEFAULTS, type FollowerSettings } from './follower-settings.ts'
import { Freshness } from './freshness.ts'
import { LossLog } from './loss-log.ts'
import { RefusalBook, type Refusals } from './refusal-book.ts'
import { StoreContact } from './store-contact.ts'
import { StoreGuard } from './store-guard.ts'

/** Of one request for a listing: reading one takes the event loop 5 ms, and a million rows take 500 of them. */
const PAGE_LIMIT = 2_000

export interface FollowerDeps {
  readonly store: Pick<Store, 'get' | 'list' | 'watch'>
  readonly log: Log
  readonly copy: Copy
}

export interface Follower {
  /** Of the store that the copy came from; undefined before the first load. */
  readonly storeId: string | undefined
  /** Up to where the copy is complete; undefined before the first load. */
  readonly position: Position | undefined
  /** True once the store has confirmed the copy in this process; false while it is only what `from` said. */
  readonly isConfirmed: boolean
  /**
   * True while the store is not the one that the copy came from, or has lost everything: the copy stays as it is
   * until the store has a document `accept/<storeId>`, or is the old one again.
   */
  readonly isHeld: boolean
  readonly refusals: Refusals
  /** For how long the copy has not been known to be fresh: 0 while it is, Infinity before the first load. */
  ageMs(): number
  /**
   * For how long the store has not answered, whatever the copy's age: 0 while it does, Infinity before it first did. A
   * store that comes back counts as away until the copy is fresh, or has had one `probeMs` to become so.
   */
  awayMs(): number
}

/**
 * Resolves after the first attempt to load or to go on, whether it succeeded or not; it is repeated until it does.
 * Once disposed, the copy is not changed any more.
 */
export async function startFollower(
  deps: FollowerDeps,
  settings: FollowerSettings,
): Promise<Follower & AsyncDisposable> {
  const follower = new FeedFollower(deps, settings)
  await follower.start()
  return follower
}

class FeedFollower implements Follower, AsyncDisposable {
  readonly #deps: FollowerDeps
  readonly #settings: Required<Omit<FollowerSettings, 'from'>>
  readonly refusals: RefusalBook
  readonly #freshness: Freshness
  readonly #contact: StoreContact
  readonly #guard: StoreGuard
  readonly #losses: LossLog
  readonly #stop = new AbortController()
  readonly #attempted = Promise.withResolvers<void>()
  storeId: string | undefined
  position: Position | undefined
  /** A lost feed is taken up where it ended; only a gap in it makes the follower list again. */
  #mustLoad = true
  isConfirmed = false
  isHeld = false
  /** What the store has: the copy is fresh once it got that far. */
  #target = 0
  #meanwhile: Meanwhile | undefined
  #failures = 0
  #running: Promise<void> = Promise.resolve()

  constructor(deps: FollowerDeps, { from, ...settings }: FollowerSettings) {
    this.#deps = deps
    this.#settings = { ...DEFAULTS, ...settings }
    this.refusals = new RefusalBook(deps.log, settings.what)
    this.#freshness = new Freshness(this.#settings.now)
    const [prefix = ''] = settings.prefixes
    this.#contact = new StoreContact(deps.store, { prefix, now: this.#settings.now })
    this.#guard = new StoreGuard(deps, settings.what)
    this.#losses = new LossLog(deps.log, settings.what)
    if (from === undefined) return
    this.storeId = from.storeId
    this.position = from.position
    this.#mustLoad = false
    this.#freshness.proveLate(from.ageMs)
  }

  ageMs(): number {
    return this.#freshness.ageMs
  }

  awayMs(): number {
    return this.#contact.awayMs
  }

  async start(): Promise<void> {
    this.#running = this.#run()
    const limit = new AbortController()
    const { startLimitMs } = this.#settings
    const waits = [this.#attempted.promise]
    if (startLimitMs < Number.POSITIVE_INFINITY) waits.push(pause(startLimitMs, limit.signal))
    await Promise.race(waits)
    limit.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#follow()
      } catch (error) {
        this.#freshness.lose()
        this.#attempted.resolve()
        if (!this.#stop.signal.aborted) this.#losses.lose(error, this.ageMs())
      }
      this.#freshness.lose()
      await this.#waitToRetry()
    }
    this.#attempted.resolve()
  }

  /** From one connection to the store to its loss. Loading, following and probing end together. */
  async #follow(): Promise<void> {
    const page = await this.#connect()
    if (page === undefined) return
    const ending = new AbortController()
    const signal = AbortSignal.any([this.#stop.signal, ending.signal])
    if (this.#mustLoad) this.#meanwhile = new Meanwhile(page)
    const watching = this.#watch(this.#mustLoad ? page : (this.position ?? page), signal)
    const work = [watching, this.#probe(signal)]
    if (this.#mustLoad) work.push(this.#load(page, signal).then(() => watching))
    try {
      await Promise.race(work)
    } finally {
      ending.abort()
      await Promise.allSettled(work)
      this.#meanwhile = undefined
    }
  }

  /**
   * Proves that the store answers: a feed that is merely quiet looks the same as a dead one. Returns undefined when
   * the copy is held.
   */
  async #connect(): Promise<Page | undefined> {
    const page = await this.#contact.ask(this.#mustLoad ? PAGE_LIMIT : 1)
    if (this.storeId !== undefined && page.storeId !== this.storeId) {
      this.#mustLoad = true
      this.isHeld = await this.#guard.mustHold(page.storeId, this.storeId)
      if (this.isHeld) {
        this.#contact.prove()
        this.#attempted.resolve()
        return undefined
      }
    }
    this.isHeld = false
    this.#target = page.revision
    // Below the copy's revision the store has lost changes; its feed will say so.
    if (!this.#mustLoad && page.revision === this.position?.revision) this.#becomeFresh()
    return page
  }

  async #load(first: Page, signal: AbortSignal): Promise<void> {
    const { store, copy } = this.#deps
    const load = copy.startLoad()
    const pages = listPages(store, { first, prefixes: this.#settings.prefixes, limit: PAGE_LIMIT })
    const apply = (change: Change) => this.#apply(load, change) || load.keep(change.key)
    for await (const page of pages) {
      await fillLoad(page.documents, apply, signal)
      if (signal.aborted) return
    }
    // Until nothing came in the turn before: the new copy appears with all that is known.
    const takeNews = () => this.#meanwhile?.take() ?? []
    for (let news = takeNews(); news.length > 0; news = takeNews()) await fillLoad(news, apply, signal)
    if (signal.aborted) return
    load.finish()
    this.storeId = first.storeId
    this.position = this.#meanwhile?.position ?? first
    this.#meanwhile = undefined
    this.#mustLoad = false
    this.#failures = 0
    this.#becomeFresh()
  }

  async #watch({ revision, mark }: Position, signal: AbortSignal): Promise<void> {
    for await (const event of this.#deps.store.watch(revision, signal, mark)) {
      if (signal.aborted) return
      if (event.kind === 'resync') {
        this.#mustLoad = true
        return
      }
      this.#take(event)
    }
  }

  #take({ changes, position }: FeedEvent & { readonly kind: 'changes' }): void {
    this.#failures = 0
    const mine = changes.filter(({ key }) => this.#settings.prefixes.some((prefix) => key.startsWith(prefix)))
    if (this.#meanwhile !== undefined) {
      this.#meanwhile.add(mine, position)
      return
    }
    for (const change of mine) this.#apply(this.#deps.copy, change)
    this.position = position
    if (position.revision >= this.#target) this.#becomeFresh()
  }

  /** False when the record was refused. */
  #apply(target: Pick<Copy, 'apply'>, change: Change): boolean {
    try {
      target.apply(change)
      return true
    } catch (error) {
      this.refusals.add(change, error)
      return false
    }
  }

  /** Ends when the feed cannot be trusted any more. @throws Error also when it stands still */
  async #probe(signal: AbortSignal): Promise<void> {
    for (let isSound = true; isSound; ) {
      const before = this.position
      await pause(this.#settings.probeMs, signal)
      if (signal.aborted) return
      const page = await this.#contact.ask(1)
      this.#contact.prove()
      isSound = !signal.aborted && (this.#meanwhile !== undefined || this.#isSound(page, before))
    }
  }

  /** False when the store is another one or has fallen back since `before`. @throws Error */
  #isSound({ storeId, revision }: Page, before: Position | undefined): boolean {
    if (storeId !== this.storeId || this.position === undefined) return false
    if (before === this.position) {
      if (revision < before.revision) return false
      if (before.revision < this.#target) throw new Error('the feed stands still')
    }
    this.#failures = 0
    this.#target = revision
    if (this.position.revision >= revision) this.#becomeFresh()
    return true
  }

  #becomeFresh(): void {
    this.#freshness.prove()
    this.#contact.prove()
    this.#losses.recover()
    const isFirst = !this.isConfirmed
    this.isConfirmed = true
    if (isFirst) this.#settings.onConfirmed()
    this.#attempted.resolve()
  }

  async #waitToRetry(): Promise<void> {
    const { minRetryMs, maxRetryMs } = this.#settings
    const delayMs = Math.min(maxRetryMs, minRetryMs * 2 ** this.#failures)
    this.#failures += 1
    await pause(delayMs, this.#stop.signal)
  }
}
