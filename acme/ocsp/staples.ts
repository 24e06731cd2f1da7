/** OCSP answers for the certificates in use that name a responder: fetched in the background, and anew at half of their life. */

import { createHash } from 'node:crypto'
import { DAY_MS } from '../../lib/durations.ts'
import type { Log } from '../../lib/log.ts'
import type { CertificateTable, KnownCertificate } from '../books.ts'
import { readCertificate } from '../certificate-parts.ts'
import type { KeyType } from '../rows.ts'
import { type AddressResolver, fetchOcsp, type OcspFetchSettings } from './ocsp-fetch.ts'
import { createOcspRequest, type OcspAnswer, type OcspSubject, readOcspResponse } from './ocsp-message.ts'
import { findResponder, mayNameResponder } from './responder-url.ts'

export interface StaplesDeps {
  readonly table: Pick<CertificateTable, 'get'>
  /** Called when a responder says that a certificate was revoked; again at each answer until it is replaced. */
  readonly onRevoked: (name: string, keyType: KeyType) => void
  /** Finds responders. */
  readonly resolver: AddressResolver
  readonly log: Log
}

export interface StaplesSettings extends Partial<Omit<OcspFetchSettings, 'resolver'>> {
  /** Certificates that are followed at most; others go without. Default 5,000. */
  readonly maxStaples?: number
  /** Until the next try after a failure; twice as long after each further one. Default 10 minutes. */
  readonly retryMs?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

export interface Staples {
  /** Certificates that are followed. */
  readonly size: number
  /** Follows a certificate that is in use and names a responder. `chain` is DER, the leaf first. */
  notice(certificate: KnownCertificate, chain: readonly Buffer[]): void
  /** An answer that is good and not too old. */
  find(certificateDer: Buffer): Buffer | undefined
}

export interface OcspStaples extends Staples, AsyncDisposable {
  /** Done by itself every 10 s, and whenever an answer has come. */
  askDue(): void
}

interface Followed {
  readonly certificate: KnownCertificate
  /** Leaf and issuer in DER. */
  readonly pair: readonly [Buffer, Buffer]
  dueMs: number
  /** In a row. */
  failures: number
  staple?: { readonly bytes: Buffer; readonly untilMs: number }
}

const DEFAULTS = { timeoutMs: 10_000, maxStaples: 5_000, retryMs: 600_000, now: Date.now }
const TICK_MS = 10_000
/** At once, for the whole edge. */
const MAX_ASKED = 4
/** Of these: whoever uploads chooses the responder, which may let each question run out of time. */
const MAX_ASKED_OF_UPLOADS = 2
const MAX_RETRY_MS = DAY_MS
/** An answer is asked for anew at least so often, and no more often than a failed one. */
const MAX_KEPT_MS = 4 * DAY_MS

export function startStaples(deps: StaplesDeps, settings: StaplesSettings = {}): OcspStaples {
  return new FollowedStaples(deps, { ...DEFAULTS, ...settings })
}

type Settings = Required<Omit<StaplesSettings, 'isAllowed'>> & Pick<StaplesSettings, 'isAllowed'>

class FollowedStaples implements OcspStaples {
  readonly #deps: StaplesDeps
  readonly #settings: Settings
  /** By the digest of the leaf. */
  readonly #followed = new Map<string, Followed>()
  readonly #asking = new Map<string, Promise<void>>()
  readonly #ending = new AbortController()
  readonly #timer: NodeJS.Timeout

  constructor(deps: StaplesDeps, settings: Settings) {
    this.#deps = deps
    this.#settings = settings
    this.#timer = setInterval(() => this.askDue(), TICK_MS)
    this.#timer.unref()
  }

  get size(): number {
    return this.#followed.size
  }

  notice(certificate: KnownCertificate, [leaf, issuer]: readonly Buffer[]): void {
    if (leaf === undefined || issuer === undefined || !mayNameResponder(leaf)) return
    const id = toId(leaf)
    if (this.#followed.has(id) || this.#followed.size >= this.#settings.maxStaples) return
    this.#followed.set(id, { certificate, pair: [leaf, issuer], dueMs: 0, failures: 0 })
    this.askDue()
  }

  find(certificateDer: Buffer): Buffer | undefined {
    if (this.#followed.size === 0) return undefined
    const staple = this.#followed.get(toId(certificateDer))?.staple
    return staple !== undefined && this.#settings.now() < staple.untilMs ? staple.bytes : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    this.#ending.abort()
    await Promise.all(this.#asking.values())
  }

  askDue(): void {
    for (const [id, { certificate }] of this.#followed)
      if (!this.#isKnown(certificate)) this.#followed.delete(id)
    this.#askDueOf('acme', MAX_ASKED)
    this.#askDueOf('upload', MAX_ASKED_OF_UPLOADS)
  }

  #askDueOf(source: KnownCertificate['source'], maxAsked: number): void {
    const nowMs = this.#settings.now()
    for (const [id, followed] of this.#followed) {
      if (this.#asking.size >= maxAsked || this.#ending.signal.aborted) return
      const isDue = followed.dueMs <= nowMs && !this.#asking.has(id)
      if (isDue && followed.certificate.source === source) this.#start(id, followed)
    }
  }

  /** It may have been replaced, or taken away. */
  #isKnown({ name, keyType, revision, notAfterMs }: KnownCertificate): boolean {
    const known = this.#deps.table.get(name, keyType)
    return known?.revision === revision && this.#settings.now() < notAfterMs
  }

  #start(id: string, followed: Followed): void {
    const asked = this.#ask(followed).finally(() => {
      this.#asking.delete(id)
      this.askDue()
    })
    this.#asking.set(id, asked)
  }

  async #ask(followed: Followed): Promise<void> {
    const { name, keyType } = followed.certificate
    const { now, retryMs } = this.#settings
    followed.dueMs = now() + Math.min(retryMs * 2 ** followed.failures, MAX_RETRY_MS)
    followed.failures += 1
    try {
      const [leaf, issuer] = followed.pair.map(readCertificate)
      const url = leaf === undefined ? undefined : findResponder(leaf.certificate)
      if (leaf === undefined || issuer === undefined || url === undefined) followed.dueMs = Infinity
      else this.#keep(followed, await this.#fetch(url, { leaf, issuer }))
    } catch (error) {
      if (!this.#ending.signal.aborted)
        this.#deps.log.warn({ err: error, name, keyType }, 'an OCSP responder gave no good answer')
    }
  }

  async #fetch(url: string, subject: OcspSubject): Promise<OcspAnswer & { readonly bytes: Buffer }> {
    const body = createOcspRequest(subject)
    const settings = { ...this.#settings, resolver: this.#deps.resolver }
    const bytes = await fetchOcsp({ url, body, signal: this.#ending.signal }, settings)
    return { bytes, ...readOcspResponse(bytes, subject, this.#settings.now()) }
  }

  #keep(followed: Followed, answer: OcspAnswer & { readonly bytes: Buffer }): void {
    const { now, retryMs } = this.#settings
    const { status, thisUpdateMs, nextUpdateMs, bytes } = answer
    const halfMs = Math.min((nextUpdateMs - thisUpdateMs) / 2, MAX_KEPT_MS)
    followed.dueMs = Math.max(now() + retryMs, thisUpdateMs + halfMs)
    followed.failures = 0
    if (status === 'good') followed.staple = { bytes, untilMs: nextUpdateMs }
    else this.#refuse(followed, status)
  }

  #refuse(followed: Followed, status: 'revoked' | 'unknown'): void {
    const { name, keyType } = followed.certificate
    delete followed.staple
    if (status === 'unknown') return
    // Until it is replaced: that it was reported may be lost.
    followed.dueMs = this.#settings.now() + this.#settings.retryMs
    this.#deps.log.warn({ name, keyType }, 'a certificate was revoked, says its OCSP responder')
    this.#deps.onRevoked(name, keyType)
  }
}

function toId(der: Buffer): string {
  return createHash('sha256').update(der).digest('base64')
}
