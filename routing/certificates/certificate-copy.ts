/** The records of certificates as a copy that a feed follower keeps, which tells of each change. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Copy, CopyLoad } from '../feed/feed-load.ts'
import type { ChallengeRecord, OrderRecord } from '../records/certificates.ts'
import { CERTIFICATES, CHALLENGES, ORDERS, RENEWALS, TICKET_KEYS } from '../records/record-kinds.ts'
import type { Change } from '../store/store.ts'
import { CertificateRows } from './certificate-rows.ts'
import { Rings } from './rings.ts'
import type { Doing } from './sightings.ts'
import { SmallRecords } from './small-records.ts'

/** Of certificates first: an edge without them can serve nobody. */
export const CERTIFICATE_PREFIXES: readonly string[] = [
  CERTIFICATES,
  RENEWALS,
  ORDERS,
  CHALLENGES,
  TICKET_KEYS,
].map(({ prefix }) => prefix)

export interface CopyListener {
  /** In the turn of the change. */
  onChallenge(id: string, doing: Doing): void
}

export class CertificateCopy implements Copy, AsyncDisposable {
  readonly rows = new CertificateRows()
  readonly certificateRings = new Rings<string>()
  readonly orderRings = new Rings<OrderRecord>()
  readonly ticketKeyRings = new Rings<undefined>()
  readonly #listener: CopyListener
  #small = new SmallRecords()
  #changes = 0
  #rebuilds = 0
  /** Challenges out of a snapshot, of which the store has said nothing yet. */
  readonly #untold = new Set<string>()
  #isDisposed = false
  #tidying: Promise<void> = Promise.resolve()

  constructor(listener: CopyListener) {
    this.#listener = listener
  }

  /** Everything but certificates and renewals. */
  get small(): SmallRecords {
    return this.#small
  }

  get isEmpty(): boolean {
    return this.rows.size === 0 && this.#small.size === 0
  }

  /** Goes up with every change of a record, except of renewals: of these the feed tells again. */
  get changes(): number {
    return this.#changes
  }

  /** Goes up when all records are replaced. */
  get rebuilds(): number {
    return this.#rebuilds
  }

  /** All records as changes that would make them; what changes meanwhile may be missing, or come twice. */
  *records(): Generator<Change> {
    yield* this.rows.changes()
    yield* this.#small.changes()
  }

  /** @throws RecordInvalid, RangeError */
  apply(change: Change): void {
    const { prefix, name } = partsOf(change.key)
    if (isPacked(prefix)) {
      if (!this.rows.apply(change)) return
      this.#changes += 1
      this.certificateRings.ring(name.slice(0, name.lastIndexOf('/')))
      return
    }
    const put = this.#small.put(prefix, name, change)
    if (put === undefined) return
    this.#changes += 1
    if (prefix === TICKET_KEYS.prefix) this.ticketKeyRings.ring(undefined)
    if (prefix === ORDERS.prefix) this.orderRings.ring((put.after ?? put.before) as OrderRecord)
    if (prefix === CHALLENGES.prefix) this.#tellOf(name, put.after as ChallengeRecord | undefined)
  }

  /** A record of a snapshot. Nobody is told of it. @throws RecordInvalid, RangeError */
  restore(change: Change): void {
    if (!Number.isSafeInteger(change.revision)) throw new RangeError('its revision is no number')
    const { prefix, name } = partsOf(change.key)
    if (isPacked(prefix)) this.rows.apply(change)
    else if (this.#small.put(prefix, name, change) && prefix === CHALLENGES.prefix) this.#untold.add(name)
  }

  /** The store has confirmed the copy: what is left of a snapshot's challenges is really there. */
  confirm(): void {
    for (const id of this.#untold) this.#listener.onChallenge(id, 'doubted')
    this.#untold.clear()
  }

  startLoad(): CopyLoad {
    const small = new SmallRecords()
    const rows = this.rows.startLoad()
    return {
      apply: (change) => {
        const { prefix, name } = partsOf(change.key)
        if (isPacked(prefix)) rows.apply(change)
        else small.put(prefix, name, change)
      },
      keep: (key) => {
        const { prefix, name } = partsOf(key)
        if (isPacked(prefix)) rows.keep(key)
        else small.takeFrom(this.#small, prefix, name)
      },
      finish: () => {
        const before = this.#small
        this.#small = small
        this.#changes += 1
        this.#rebuilds += 1
        rows.finish(this.certificateRings.isAwaited ? (name) => this.certificateRings.ring(name) : undefined)
        this.#tellAll(before)
        this.#tidying = this.#tidying.then(() => this.#tidy())
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    await this.#tidying
  }

  #tellOf(id: string, challenge: ChallengeRecord | undefined): void {
    this.#untold.delete(id)
    this.#listener.onChallenge(id, challenge === undefined ? 'gone' : 'fresh')
  }

  /** After a load each of them may be another one. */
  #tellAll(before: SmallRecords): void {
    const { challenges, orders } = this.#small
    this.#untold.clear()
    for (const [id] of challenges) this.#listener.onChallenge(id, 'doubted')
    for (const [id] of before.challenges) {
      if (challenges.get(id) === undefined) this.#listener.onChallenge(id, 'gone')
    }
    for (const [, row] of orders) this.orderRings.ring(row)
    for (const [slot, row] of before.orders) {
      if (orders.get(slot) === undefined) this.orderRings.ring(row)
    }
    this.ticketKeyRings.ring(undefined)
  }

  /** Gives up what the records before a load have left, a slab in each turn of the event loop. */
  async #tidy(): Promise<void> {
    while (!this.#isDisposed && this.rows.tidy()) await nextTurn()
  }
}

function isPacked(prefix: string): boolean {
  return prefix === CERTIFICATES.prefix || prefix === RENEWALS.prefix
}

/** `order/` and `example.test/ec` of `order/example.test/ec`. */
function partsOf(key: string): { readonly prefix: string; readonly name: string } {
  const end = key.indexOf('/') + 1
  return { prefix: key.slice(0, end), name: key.slice(end) }
}
