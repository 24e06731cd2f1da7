/** Certificates on demand: the first handshake for a name that is served here starts its order, within budgets. */

import { Buckets } from '../../lib/buckets.ts'
import { toClient } from '../../lib/client-address.ts'
import type { Log } from '../../lib/log.ts'
import { toMoment } from '../../lib/moment.ts'
import type { CertificateTable } from '../books.ts'
import { AcmeError, type AcmeErrorCode } from '../errors.ts'
import { findRegisteredDomain, MAX_ORDERED_LABELS } from '../hostnames.ts'
import type { Orders } from '../orders/orders.ts'
import type { KeyType, OrderRow } from '../rows.ts'
import { Arrivals } from './arrivals.ts'
import { BoundedCache } from './bounded-cache.ts'

export interface DemandDeps {
  readonly table: Pick<CertificateTable, 'findOrder' | 'onCertificate' | 'onOrder'>
  readonly orders: Pick<Orders, 'want'>
  readonly log: Log
}

export interface DemandSettings {
  readonly keyTypes: readonly KeyType[]
  /** How long a handshake waits for the certificate; less than a handshake may take. */
  readonly waitMs: number
  /** Handshakes that wait at once. */
  readonly maxWaiting: number
  /** New orders at the expense of one client; of all edges each counts by itself. */
  readonly clientPerHour: number
  /** The same of one registered domain. */
  readonly domainPerHour: number
  /** Unix milliseconds. */
  readonly now: () => number
}

/** What is remembered of a name that has no order's row (yet). */
interface Note {
  readonly code: AcmeErrorCode
  readonly untilMs: number
}

const MAX_NOTES = 10_000
/** Who wants to be forgotten has to come from that many places. */
const MAX_COUNTED = 20_000
/** By then the order that was written has come back through the table, or it was lost. */
const WANTED_MS = 30_000
/** The store is asked no more often for one name while it fails. */
const FAILED_MS = 10_000

export class Demand implements Disposable {
  readonly #deps: DemandDeps
  readonly #settings: DemandSettings
  readonly #clients: Buckets
  readonly #domains: Buckets
  readonly #notes = new BoundedCache<Note>(MAX_NOTES)
  readonly #arrivals: Arrivals
  readonly #stops: readonly (() => void)[]

  constructor(deps: DemandDeps, settings: DemandSettings) {
    const { clientPerHour, domainPerHour, now } = settings
    this.#deps = deps
    this.#settings = settings
    this.#clients = createBuckets(clientPerHour, now)
    this.#domains = createBuckets(domainPerHour, now)
    this.#arrivals = new Arrivals(deps.table, settings)
    this.#stops = [
      deps.table.onCertificate((name) => this.#notes.delete(name)),
      // From then on the row speaks.
      deps.table.onOrder(({ name }) => this.#notes.delete(name)),
    ]
  }

  /**
   * Starts an order where there is none. Undefined when waiting makes no sense; otherwise settles when the certificate
   * is there or is not to be expected any more, within the limit. Never rejects.
   */
  ask(hostname: string, address: string): Promise<void> | undefined {
    const row = this.#findRow(hostname)
    if (row !== undefined) return this.#waitFor(row)
    const known = this.#findNote(hostname)
    // One client's empty budget must not stand in the way of others.
    const note =
      known === undefined || known.code === 'certificate_busy' ? this.#start(hostname, address) : known
    return note.code === 'certificate_pending' ? this.#arrivals.wait(hostname) : undefined
  }

  /** Why there is no certificate; spends nothing. Undefined where a handshake would start an order. */
  findLack(hostname: string): AcmeError | undefined {
    const row = this.#findRow(hostname)
    if (row !== undefined)
      return row.state === 'failed' ? toRefusal(row) : new AcmeError('certificate_pending')
    if (findOrderedDomain(hostname) === undefined) return new AcmeError('certificate_refused')
    const note = this.#findNote(hostname)
    if (note === undefined) return undefined
    if (note.code === 'certificate_pending') return new AcmeError('certificate_pending')
    const detail = `${hostname} is tried again after ${toMoment(note.untilMs)}`
    return new AcmeError(note.code, { detail, context: { retryAtMs: note.untilMs } })
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop()
    this.#arrivals[Symbol.dispose]()
  }

  #findRow(hostname: string): OrderRow | undefined {
    for (const keyType of this.#settings.keyTypes) {
      const row = this.#deps.table.findOrder(hostname, keyType)
      if (row !== undefined) return row
    }
    return undefined
  }

  /** Only in an order's first moments: what takes longer is better told by a page. */
  #waitFor({ name, state, createdAt }: OrderRow): Promise<void> | undefined {
    const ageMs = this.#settings.now() - Date.parse(createdAt)
    return state === 'failed' || ageMs > this.#settings.waitMs ? undefined : this.#arrivals.wait(name)
  }

  #findNote(hostname: string): Note | undefined {
    const note = this.#notes.find(hostname)
    return note !== undefined && this.#settings.now() < note.untilMs ? note : undefined
  }

  #start(hostname: string, address: string): Note {
    const domain = findOrderedDomain(hostname)
    if (domain === undefined) return this.#remember(hostname, 'certificate_refused', WANTED_MS)
    const client = toClient(address)
    const waitMs = Math.max(this.#clients.waitMs(client), this.#domains.waitMs(domain))
    if (waitMs > 0) return this.#remember(hostname, 'certificate_busy', waitMs)
    this.#clients.take(client)
    this.#domains.take(domain)
    void this.#want(hostname)
    return this.#remember(hostname, 'certificate_pending', WANTED_MS)
  }

  async #want(name: string): Promise<void> {
    const { orders, log } = this.#deps
    try {
      for (const keyType of this.#settings.keyTypes)
        await orders.want({ name, names: [name], keyType, cause: 'demand' })
    } catch (error) {
      log.warn({ err: error, name }, 'a certificate could not be asked for')
      this.#remember(name, 'certificate_failed', FAILED_MS)
      this.#arrivals.end(name)
    }
  }

  #remember(hostname: string, code: AcmeErrorCode, forMs: number): Note {
    const note = { code, untilMs: this.#settings.now() + forMs }
    this.#notes.set(hostname, note)
    return note
  }
}

function createBuckets(perHour: number, now: () => number): Buckets {
  return new Buckets({ capacity: perHour, perSecond: perHour / 3_600, maxNames: MAX_COUNTED, now })
}

/** Undefined for what no public CA issues for: `localhost`, a public suffix, a name that is too deep. */
function findOrderedDomain(hostname: string): string | undefined {
  const isNone = hostname.split('.').length > MAX_ORDERED_LABELS || /(?:^|\.)localhost$/.test(hostname)
  return isNone ? undefined : findRegisteredDomain(hostname)
}

/**
 * Whoever visits the name is shown it. The rest is for its owner alone: it may name accounts, inner servers and edges, and
 * be the words of a private authority.
 */
const PUBLIC_CODES: readonly string[] = ['certificate_dns', 'certificate_caa']

function toRefusal({ lastError, nextTryAt }: OrderRow): AcmeError {
  const parts = [
    ...(lastError !== undefined && PUBLIC_CODES.includes(lastError.code) ? [lastError.detail] : []),
    ...(nextTryAt === undefined ? [] : [`It is tried again at ${nextTryAt}.`]),
  ]
  return new AcmeError('certificate_refused', {
    ...(parts.length > 0 && { detail: withoutStop(parts.join(' ')) }),
    context: { reason: lastError?.code, ...(nextTryAt && { retryAtMs: Date.parse(nextTryAt) }) },
  })
}

/** Steps are sentences; the detail of an error is not, and a page ends it itself. */
function withoutStop(text: string): string {
  return text.endsWith('.') ? text.slice(0, -1) : text
}
