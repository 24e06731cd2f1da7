/** Which certificate answers which server name (SNI): stored ones first, then one on demand or of the local CA. */

import type { SecureContext } from 'node:tls'
import { HOUR_MS } from '../../lib/durations.ts'
import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { CertificateTable, KnownCertificate } from '../books.ts'
import { ChallengeAnswers } from '../challenges/challenge-answers.ts'
import { AcmeError } from '../errors.ts'
import {
  findHostname,
  isBelowSingleLabel,
  isSingleLabel,
  isWithin,
  matches,
  toPlatformNames,
} from '../hostnames.ts'
import type { Orders } from '../orders/orders.ts'
import type { KeyType } from '../rows.ts'
import type { TicketKeys } from '../tickets/ticket-keys.ts'
import { isCurrent } from '../validity.ts'
import { Contexts, type ContextsDeps } from './contexts.ts'
import { Demand, type DemandSettings } from './demand.ts'
import { type Issuer, LocalCertificates } from './local-certificates.ts'
import { type ClientAbilities, toFirstOfEach, toPreferred } from './preference.ts'
import { createReporter, type Report, type ReportDeps } from './report.ts'

export interface ServingDeps {
  readonly table: Pick<
    CertificateTable,
    | 'ageMs'
    | 'find'
    | 'findAlpn'
    | 'findAnswer'
    | 'findOrder'
    | 'get'
    | 'hasAlpn'
    | 'list'
    | 'listOrders'
    | 'onCertificate'
    | 'onOrder'
    | 'size'
  >
  readonly sealer: Pick<Sealer, 'open'>
  /** The last resort for the platform's own name; without `orders` it makes those of all names that are served. */
  readonly localCa: Issuer
  /** Whether this host name, in lower case, is served here. Asked in handshakes, so it must be a look-up in memory. */
  readonly isServed: (hostname: string) => boolean
  /** Absent where no CA is set. */
  readonly orders?: Pick<Orders, 'want' | 'counts'> | undefined
  readonly staples: ContextsDeps['staples'] & {
    find(certificateDer: Buffer): Buffer | undefined
    /** Certificates that name a responder. */
    readonly size: number
  }
  readonly tickets: TicketKeys
  readonly budgetLeft?: ReportDeps['budgetLeft']
  readonly dnsCounts?: ReportDeps['dnsCounts']
  readonly log: Log
}

export interface ServingSettings {
  /** The platform domain, lower case. */
  readonly domain: string
  /** Those that are ordered on demand, the first one first. */
  readonly keyTypes: readonly KeyType[]
  /** Contexts kept at most; those of the local CA are counted apart. Default 5,000. */
  readonly maxContexts?: number
  readonly demand?: Partial<Omit<DemandSettings, 'keyTypes' | 'now'>>
  /** `onPlatform` rings at least so often, since certificates end without a change; default an hour. */
  readonly ringMs?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

const DEFAULT_CONTEXTS = 5_000
const DEMAND = { waitMs: 8_000, maxWaiting: 100, clientPerHour: 20, domainPerHour: 40 }

export function createServing(deps: ServingDeps, settings: ServingSettings): Serving {
  return new Serving(deps, settings)
}

/** What answers a handshake. */
type Choice =
  /** The best first. */
  | { readonly kind: 'stored'; readonly certificates: readonly KnownCertificate[] }
  /** The local CA makes one for this name alone. */
  | { readonly kind: 'local'; readonly names: readonly [string] }
  /** There is none (yet). */
  | { readonly kind: 'lack'; readonly hostname: string; readonly found: readonly KnownCertificate[] }
  | { readonly kind: 'platform' }

type Resolved = Required<Pick<ServingSettings, 'domain' | 'now' | 'ringMs'>> & {
  readonly platformNames: readonly [string, string]
}

/** Fits `Certificates` of proxy/certificates.ts. */
export class Serving implements Disposable {
  readonly #deps: ServingDeps
  readonly #settings: Resolved
  readonly #contexts: Contexts
  readonly #local: LocalCertificates
  readonly #demand: Demand | undefined
  readonly #answers: ChallengeAnswers
  readonly #stop: () => void
  readonly tickets: TicketKeys
  /** For metrics. */
  readonly report: () => Report

  constructor(deps: ServingDeps, settings: ServingSettings) {
    const { domain, keyTypes, maxContexts = DEFAULT_CONTEXTS, now = Date.now } = settings
    const { ringMs = HOUR_MS } = settings
    this.#deps = deps
    this.#settings = { domain, now, ringMs, platformNames: toPlatformNames(domain) }
    this.#contexts = new Contexts(deps, maxContexts)
    this.#local = new LocalCertificates({ ca: deps.localCa, log: deps.log }, { capacity: maxContexts, now })
    const demand = { ...DEMAND, ...settings.demand, keyTypes, now }
    this.#demand =
      deps.orders === undefined ? undefined : new Demand({ ...deps, orders: deps.orders }, demand)
    this.#answers = new ChallengeAnswers(deps.table, now)
    this.tickets = deps.tickets
    this.#stop = deps.table.onCertificate((name) => this.#contexts.delete(name))
    const countContexts = () => this.#contexts.size + this.#local.size
    this.report = createReporter({ ...deps, countContexts }, { domain, keyTypes, now })
  }

  /**
   * At once where it is in memory. Names that are not served, no host names or absent get the platform's certificate;
   * so do those that have to wait too long for theirs. Rejects with AcmeError certificate_failed when there is nothing
   * valid at all. Node takes one certificate alone out of a context, so the client has to be known to choose its type.
   */
  contextFor(
    serverName: string | undefined,
    address: string,
    client?: ClientAbilities,
  ): SecureContext | Promise<SecureContext> {
    const name = findHostname(serverName)
    const choice = this.#choose(name)
    if (choice.kind === 'stored')
      // Where none of them can be used that is known now, and another choice is made.
      return this.#contextOf(choice.certificates, client) ?? this.contextFor(name, address, client)
    if (choice.kind === 'local') return this.#local.contextFor(choice.names)
    if (choice.kind === 'platform') return this.#platformContext(client)
    const { hostname, found } = choice
    const arrival = this.#isOpenTo(hostname, found) ? this.#demand?.ask(hostname, address) : undefined
    if (arrival === undefined) return this.#platformContext(client)
    return arrival.then(
      () =>
        this.#contextOf(this.#usable(this.#deps.table.find(hostname)), client) ??
        this.#platformContext(client),
    )
  }

  /** For clients that send no server name; `onPlatform` says when there is another. */
  async defaultPem(): Promise<{ readonly certPem: string; readonly keyPem: string }> {
    const stored = this.#usable(this.#deps.table.find(this.#settings.domain))
    const certificate = stored.find((it) => this.#contexts.find(it) !== undefined)
    return certificate === undefined
      ? this.#local.pemFor(this.#settings.platformNames)
      : this.#contexts.open(certificate)
  }

  /** Calls `ring` when `defaultPem` may have changed. Returns what ends it. */
  onPlatform(ring: () => void): () => void {
    const { domain, ringMs } = this.#settings
    const timer = setInterval(ring, ringMs)
    timer.unref()
    const stop = this.#deps.table.onCertificate((name) => {
      if (name === domain) ring()
    })
    return () => {
      clearInterval(timer)
      stop()
    }
  }

  /**
   * Whether the certificate that `contextFor(serverName)` answers is valid for `hostname` (RFC 9525 section 6.3).
   * Judged by what is known now, so it may err for a connection older than a change of the table; the client has
   * checked that certificate itself.
   */
  covers(serverName: string | undefined, hostname: string): boolean {
    const wanted = findHostname(hostname.replace(/\.$/, ''))
    if (wanted === undefined) return false
    const lists = this.#namesOf(this.#choose(findHostname(serverName)))
    return lists.every((names) => names.some((pattern) => matches(pattern, wanted)))
  }

  /** Why a host name that is served here has no certificate now; undefined while a handshake would start its order. */
  findLack(hostname: string): AcmeError | undefined {
    const name = findHostname(hostname.replace(/\.$/, ''))
    const choice = this.#choose(name)
    if (choice.kind !== 'lack' || this.#demand === undefined) return undefined
    if (this.#isOpenTo(choice.hostname, choice.found)) return this.#demand.findLack(choice.hostname)
    return new AcmeError('certificate_failed', { detail: `The certificate of ${name} cannot be used` })
  }

  /** For http-01 (RFC 8555 section 8.3): of a pending token alone. */
  findHttpAnswer(hostname: string, token: string): string | undefined {
    return this.#answers.findHttp(hostname, token)
  }

  /** For `acme-tls/1` (RFC 8737): of a pending name alone. */
  findAlpnContext(serverName: string): SecureContext | undefined {
    const name = findHostname(serverName)
    return name === undefined ? undefined : this.#answers.findAlpn(name)
  }

  /** False while `findAlpnContext` has nothing for any name. */
  hasAlpnContexts(): boolean {
    return this.#deps.table.hasAlpn
  }

  findStaple(certificateDer: Buffer): Buffer | undefined {
    return this.#deps.staples.find(certificateDer)
  }

  /** False while no certificate in use names a responder. */
  hasStaples(): boolean {
    return this.#deps.staples.size > 0
  }

  [Symbol.dispose](): void {
    this.#stop()
    this.#demand?.[Symbol.dispose]()
  }

  #choose(name: string | undefined): Choice {
    if (name === undefined) return { kind: 'platform' }
    const found = this.#deps.table.find(name)
    const certificates = this.#usable(found)
    if (certificates.length > 0) return { kind: 'stored', certificates }
    const { domain } = this.#settings
    const isOwn = isWithin(name, domain)
    const isLocal = this.#demand === undefined || (isOwn && isSingleLabel(domain))
    if (name === domain || (isOwn && !isLocal)) return { kind: 'platform' }
    const isShown = this.#deps.isServed(name) || isBelowSingleLabel(name, domain)
    if (!isShown) return { kind: 'platform' }
    return isLocal ? { kind: 'local', names: [name] } : { kind: 'lack', hostname: name, found }
  }

  #usable(found: readonly KnownCertificate[]): readonly KnownCertificate[] {
    if (found.length === 0) return found
    const nowMs = this.#settings.now()
    const isUsable = (it: KnownCertificate) => isCurrent(it, nowMs) && !this.#contexts.isBroken(it)
    return found.every(isUsable) ? found : found.filter(isUsable)
  }

  #contextOf(
    certificates: readonly KnownCertificate[],
    client: ClientAbilities | undefined,
  ): SecureContext | undefined {
    for (const certificate of toPreferred(certificates, client)) {
      const context = this.#contexts.find(certificate)
      if (context !== undefined) return context
    }
    return undefined
  }

  #platformContext(client?: ClientAbilities): SecureContext | Promise<SecureContext> {
    const stored = this.#usable(this.#deps.table.find(this.#settings.domain))
    return this.#contextOf(stored, client) ?? this.#local.contextFor(this.#settings.platformNames)
  }

  /** Of each certificate that the client may have got. */
  #namesOf(choice: Choice): readonly (readonly string[])[] {
    if (choice.kind === 'local') return [choice.names]
    const certificates =
      choice.kind === 'stored'
        ? choice.certificates
        : this.#usable(this.#deps.table.find(this.#settings.domain))
    return certificates.length === 0 ? [this.#settings.platformNames] : toFirstOfEach(certificates)
  }

  /** With a wrong clock a name has to wait, and with an uploaded certificate it is its owner's turn. */
  #isOpenTo(hostname: string, found: readonly KnownCertificate[]): boolean {
    const nowMs = this.#settings.now()
    return found.every(
      ({ name, source, notAfterMs }) => notAfterMs <= nowMs && !(name === hostname && source === 'upload'),
    )
  }
}
