/** Everything of certificates in memory: handshakes and challenges read it synchronously, the store's feed keeps it fresh. */

import type { Log } from '../../lib/log.ts'
import { type Follower, startFollower } from '../feed/feed-follower.ts'
import { DEFAULTS, type FollowerSettings } from '../feed/follower-settings.ts'
import type { ChallengeRecord, KeyType, OrderRecord, TicketKeyRecord } from '../records/certificates.ts'
import { isPast } from '../records/moments.ts'
import { toSlot } from '../records/record-kinds.ts'
import type { Store } from '../store/store.ts'
import { findHeadOf, type SnapshotSettings, startSnapshotKeeper, toOrigin } from '../table/snapshot-keeper.ts'
import { CERTIFICATE_PREFIXES, type CertificateCopy } from './certificate-copy.ts'
import { restoreCertificates, toSnapshotRows } from './certificate-snapshot.ts'
import type { KnownCertificate } from './known-certificate.ts'
import { Sightings } from './sightings.ts'

/** All reads are synchronous and go on while the store is away. Rows are frozen. */
export interface CertificateTable {
  /** True once it was loaded, from the store or a snapshot; it stays true when the store is gone. */
  readonly ready: boolean
  /** Certificates. */
  readonly size: number
  /** For how long it has not been known to be fresh; 0 while it is, Infinity before the first load. */
  readonly ageMs: number
  /** Those whose names cover the canonical host name: an exact name before a wildcard (RFC 9525 section 6.3), EC before RSA. */
  find(hostname: string): readonly KnownCertificate[]
  get(name: string, keyType: KeyType): KnownCertificate | undefined
  list(): Iterable<KnownCertificate>
  findOrder(name: string, keyType: KeyType): OrderRecord | undefined
  listOrders(): Iterable<OrderRecord>
  /** http-01; like the next two without what has run out. */
  findAnswer(token: string): ChallengeRecord | undefined
  /** tls-alpn-01, by host name. */
  findAlpn(hostname: string): ChallengeRecord | undefined
  /** Whether there is any challenge of tls-alpn-01: without one no connection need be looked at. */
  readonly hasAlpn: boolean
  /** dns-01: the values below one label. */
  findTxt(name: string): readonly string[]
  listTicketKeys(): readonly TicketKeyRecord[]
  /**
   * Calls `ring` in the turn of each change, also of a deletion; it must neither throw nor take long. Returns what
   * ends it. A change of a renewal alone is none.
   */
  onCertificate(ring: (name: string) => void): () => void
  /** With the row as it is, or was when it is gone. After a load of everything it is called for every order. */
  onOrder(ring: (row: OrderRecord) => void): () => void
  onTicketKey(ring: () => void): () => void
}

export interface CertificateTableDeps {
  readonly store: Pick<Store, 'get' | 'list' | 'watch' | 'commit'>
  readonly log: Log
}

export interface CertificateTableSettings
  extends Pick<FollowerSettings, 'minRetryMs' | 'maxRetryMs' | 'probeMs' | 'now' | 'startLimitMs'> {
  /** Under which it says which challenges it has; without it, it says nothing. */
  readonly edgeName?: string
  /** Unix milliseconds; the system's clock unless given. */
  readonly wallClock?: () => number
  /** Where the records are kept for a start without the store; nowhere by default. */
  readonly snapshot?: SnapshotSettings
}

const WHAT = 'the certificate table'
/** The longest wait for the store at a start with a snapshot. */
const START_LIMIT_MS = 5_000

/**
 * Resolves after the first attempt to load. When the store is out of reach, the table has what its snapshot had;
 * without one it is empty, and not `ready`.
 */
export async function startCertificateTable(
  { store, log }: CertificateTableDeps,
  { edgeName, wallClock = Date.now, snapshot, ...settings }: CertificateTableSettings = {},
): Promise<CertificateTable & AsyncDisposable> {
  await using started = new AsyncDisposableStack()
  const { minRetryMs, maxRetryMs } = { ...DEFAULTS, ...settings }
  const { copy, head } = await restoreCertificates({
    ...{ file: snapshot?.file, what: WHAT, log, now: wallClock },
    onChallenge: (id, doing) => sightings?.note(id, doing),
  })
  started.use(copy)
  const find = (id: string) => copy.small.challenges.get(id)
  const sightings =
    edgeName === undefined
      ? undefined
      : new Sightings({ store, log, find }, { edgeName, minRetryMs, maxRetryMs, now: wallClock })
  if (sightings !== undefined) started.use(sightings)
  const onConfirmed = () => copy.confirm()
  const follower = await startFollower(
    { store, log, copy },
    {
      ...(head && { from: toOrigin(head), startLimitMs: START_LIMIT_MS }),
      ...{ ...settings, prefixes: CERTIFICATE_PREFIXES, what: WHAT, onConfirmed },
    },
  )
  if (snapshot !== undefined) {
    const source = createSource({ copy, follower, wallClock })
    started.use(startSnapshotKeeper({ source, log, saved: head }, snapshot))
  }
  // Ended first: nothing changes the copy any more, and nothing is noted.
  started.use(follower)
  return new FollowedCertificates({ copy, follower, wallClock }, started.move())
}

function createSource({ copy, follower, wallClock }: TableParts) {
  return {
    what: WHAT,
    rows: toSnapshotRows(copy, wallClock),
    get changes() {
      return copy.changes
    },
    findHead: () => findHeadOf(follower),
  }
}

interface TableParts {
  readonly copy: CertificateCopy
  readonly follower: Follower
  readonly wallClock: () => number
}

class FollowedCertificates implements CertificateTable, AsyncDisposable {
  readonly #copy: CertificateCopy
  readonly #follower: Follower
  readonly #wallClock: () => number
  readonly #running: AsyncDisposableStack

  constructor({ copy, follower, wallClock }: TableParts, running: AsyncDisposableStack) {
    this.#copy = copy
    this.#follower = follower
    this.#wallClock = wallClock
    this.#running = running
  }

  get ready(): boolean {
    return this.#follower.position !== undefined
  }

  get size(): number {
    return this.#copy.rows.size
  }

  get ageMs(): number {
    return this.#follower.ageMs()
  }

  find(hostname: string): readonly KnownCertificate[] {
    return this.#copy.rows.find(hostname)
  }

  get(name: string, keyType: KeyType): KnownCertificate | undefined {
    return this.#copy.rows.get(toSlot({ name, keyType }))
  }

  list(): Iterable<KnownCertificate> {
    return this.#copy.rows.list()
  }

  findOrder(name: string, keyType: KeyType): OrderRecord | undefined {
    return this.#copy.small.orders.get(toSlot({ name, keyType }))
  }

  *listOrders(): Iterable<OrderRecord> {
    for (const [, row] of this.#copy.small.orders) yield row
  }

  findAnswer(token: string): ChallengeRecord | undefined {
    return this.#findChallenges({ type: 'http-01', name: '', token })[0]
  }

  findAlpn(hostname: string): ChallengeRecord | undefined {
    return this.#findChallenges({ type: 'tls-alpn-01', name: hostname })[0]
  }

  get hasAlpn(): boolean {
    return this.#copy.small.hasAlpn
  }

  findTxt(name: string): readonly string[] {
    return this.#findChallenges({ type: 'dns-01', name }).map(({ value }) => value)
  }

  listTicketKeys(): readonly TicketKeyRecord[] {
    return [...this.#copy.small.ticketKeys].map(([, row]) => row)
  }

  onCertificate(ring: (name: string) => void): () => void {
    return this.#copy.certificateRings.add(ring)
  }

  onOrder(ring: (row: OrderRecord) => void): () => void {
    return this.#copy.orderRings.add(ring)
  }

  onTicketKey(ring: () => void): () => void {
    return this.#copy.ticketKeyRings.add(ring)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync()
  }

  /** Those that have not run out, the one that lasts longest first. */
  #findChallenges(wanted: Pick<ChallengeRecord, 'type' | 'name' | 'token'>): readonly ChallengeRecord[] {
    const found = this.#copy.small.findChallenges(wanted)
    if (found.length === 0) return found
    const now = new Date(this.#wallClock())
    return found
      .filter(({ expiresAt }) => !isPast(expiresAt, now))
      .sort((one, other) => Date.parse(other.expiresAt) - Date.parse(one.expiresAt))
  }
}
