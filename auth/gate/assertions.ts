/** What a VM is told of who calls, signed: made before it is needed, and kept while it is new enough. */

import type { Log } from '../../lib/log.ts'
import { AuthError } from '../errors.ts'
import { findSubject, type Identity } from '../identity.ts'
import type { Signer } from '../signing/signing.ts'

export interface Assertions {
  /**
   * The same text while it is the same assertion; undefined when it has to be signed first. One that grows old is made
   * anew in the background.
   */
  find(identity: Identity, host: string): string | undefined
  /** `host` is the one that the assertion is for: its `aud`. Rejects with AuthError `auth_stale` while no key can sign. */
  sign(identity: Identity, host: string): Promise<string>
}

export interface AssertionsDeps {
  readonly signer: Signer
  readonly log: Log
}

export interface AssertionsSettings {
  /** How many are kept; the oldest goes first. 20,000 by default, about 25 MB. */
  readonly maxKept?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

interface Kept {
  readonly text: string
  readonly signedAtMs: number
  renewAtMs: number
}

const LIFE_S = 300
const RENEW_AFTER_MS = 120_000
/** A VM has a minute of the five to make use of it. */
const MAX_AGE_MS = 240_000
const RETRY_MS = 10_000
const DEFAULT_MAX_KEPT = 20_000

/** Disposal waits for what is being signed. */
export async function startAssertions(
  deps: AssertionsDeps,
  settings: AssertionsSettings = {},
): Promise<Assertions & AsyncDisposable> {
  return new KeptAssertions(deps, settings)
}

class KeptAssertions implements Assertions, AsyncDisposable {
  readonly #deps: AssertionsDeps
  readonly #maxKept: number
  readonly #now: () => number
  /** In the order in which they were signed. */
  readonly #kept = new Map<string, Kept>()
  readonly #pending = new Map<string, Promise<string>>()
  #isFailing = false
  #isDisposed = false

  constructor(deps: AssertionsDeps, { maxKept = DEFAULT_MAX_KEPT, now = Date.now }: AssertionsSettings) {
    this.#deps = deps
    this.#maxKept = maxKept
    this.#now = now
  }

  find(identity: Identity, host: string): string | undefined {
    const key = toKey(identity, host)
    const kept = this.#findFresh(key)
    if (kept !== undefined && this.#now() >= kept.renewAtMs) this.#renew(key, { identity, host, kept })
    return kept?.text
  }

  async sign(identity: Identity, host: string): Promise<string> {
    const key = toKey(identity, host)
    return this.#findFresh(key)?.text ?? this.#make(key, identity, host)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    await Promise.allSettled(this.#pending.values())
  }

  #findFresh(key: string): Kept | undefined {
    const kept = this.#kept.get(key)
    if (kept === undefined) return undefined
    const ageMs = this.#now() - kept.signedAtMs
    // One from the future was signed before the clock was set back.
    return ageMs >= 0 && ageMs < MAX_AGE_MS ? kept : undefined
  }

  #renew(key: string, { identity, host, kept }: { identity: Identity; host: string; kept: Kept }): void {
    if (this.#isDisposed) return
    kept.renewAtMs = this.#now() + RETRY_MS
    this.#make(key, identity, host).then(
      () => {
        this.#isFailing = false
      },
      (error: unknown) => this.#logFailure(error),
    )
  }

  /** The first of a row of failures; there may be thousands a second. */
  #logFailure(error: unknown): void {
    if (!this.#isFailing)
      this.#deps.log.warn({ err: error }, 'assertions cannot be renewed; tried again in 10 s')
    this.#isFailing = true
  }

  /** One at a time for each key. */
  #make(key: string, identity: Identity, host: string): Promise<string> {
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending
    const made = this.#signAndKeep(key, identity, host).finally(() => this.#pending.delete(key))
    this.#pending.set(key, made)
    return made
  }

  async #signAndKeep(key: string, identity: Identity, host: string): Promise<string> {
    const signedAtMs = this.#now()
    const text = await this.#deps.signer.sign({
      kind: 'assertion',
      audience: host,
      subject: getSubject(identity),
      expiresAt: Math.floor(signedAtMs / 1_000) + LIFE_S,
      claims: claimsOf(identity),
    })
    this.#kept.delete(key)
    const [oldest] = this.#kept.keys()
    if (oldest !== undefined && this.#kept.size >= this.#maxKept) this.#kept.delete(oldest)
    this.#kept.set(key, { text, signedAtMs, renewAtMs: signedAtMs + RENEW_AFTER_MS })
    return text
  }
}

/** All that the assertion says, and nothing else. */
function toKey(identity: Identity, host: string): string {
  const { kind, user, grantId, tokenId, email, ctx, sessionId } = identity
  return JSON.stringify([host, kind, user, grantId, tokenId, email, ctx, sessionId])
}

function getSubject(identity: Identity): string {
  const subject = findSubject(identity)
  if (subject === undefined) throw new AuthError('auth_invalid', 'no-subject')
  return subject
}

function claimsOf({ kind, email, ctx, sessionId }: Identity): Readonly<Record<string, unknown>> {
  return {
    kind,
    ...(email !== undefined && { email }),
    ...(ctx !== undefined && { ctx }),
    ...(sessionId !== undefined && { sid: sessionId }),
  }
}
