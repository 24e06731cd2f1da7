/** Certificates of the local CA: made on first use, kept in a bounded cache, renewed in time. */

import { createSecureContext, type SecureContext } from 'node:tls'
import type { Log } from '../../lib/log.ts'
import { AcmeError } from '../errors.ts'
import type { IssuedCertificate } from '../local-ca.ts'

/** What makes certificates; `loadLocalCa` fits it. */
export interface Issuer {
  issue(names: readonly string[]): Promise<IssuedCertificate>
}

export interface LocalCertificatesDeps {
  readonly ca: Issuer
  readonly log: Log
}

export interface LocalCertificatesSettings {
  /** Certificates kept at most; the least recently used one goes first. */
  readonly capacity: number
  /** Unix milliseconds. */
  readonly now: () => number
}

/** One name's certificate, and the attempt under way to get a (new) one. */
interface Slot {
  made?: Made
  pending?: Promise<Made>
}

interface Made {
  readonly context: SecureContext
  readonly issued: IssuedCertificate
  /** Unix milliseconds. */
  readonly renewAt: number
  readonly expiresAt: number
}

export class LocalCertificates {
  readonly #deps: LocalCertificatesDeps
  readonly #settings: LocalCertificatesSettings
  readonly #slots = new Map<string, Slot>()

  constructor(deps: LocalCertificatesDeps, settings: LocalCertificatesSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  get size(): number {
    return this.#slots.size
  }

  /** Found by the first of `names`. Rejects with AcmeError certificate_failed when the CA fails and there is no valid one. */
  contextFor(names: readonly [string, ...string[]]): SecureContext | Promise<SecureContext> {
    const slot = this.#touch(names[0])
    if (slot.made !== undefined && this.#settings.now() < slot.made.renewAt) return slot.made.context
    return this.#renew(slot, names).then(({ context }) => context)
  }

  /** As `contextFor`. */
  async pemFor(names: readonly [string, ...string[]]): Promise<IssuedCertificate> {
    const slot = this.#touch(names[0])
    if (slot.made !== undefined && this.#settings.now() < slot.made.renewAt) return slot.made.issued
    return (await this.#renew(slot, names)).issued
  }

  async #renew(slot: Slot, names: readonly [string, ...string[]]): Promise<Made> {
    const [name] = names
    try {
      slot.pending ??= this.#issue(names).finally(() => delete slot.pending)
      slot.made = await slot.pending
      return slot.made
    } catch (cause) {
      this.#deps.log.warn({ err: cause, name }, 'no certificate could be made')
      if (slot.made && this.#settings.now() < slot.made.expiresAt) return slot.made
      const detail = `No certificate could be made for ${name}`
      throw new AcmeError('certificate_failed', { cause, detail })
    }
  }

  /** The slot of `name`, now the most recently used one. */
  #touch(name: string): Slot {
    const slot = this.#slots.get(name) ?? {}
    this.#slots.delete(name)
    this.#slots.set(name, slot)
    if (this.#slots.size > this.#settings.capacity) {
      const [oldest] = this.#slots.keys()
      if (oldest !== undefined) this.#slots.delete(oldest)
    }
    return slot
  }

  async #issue(names: readonly string[]): Promise<Made> {
    const issued = await this.#deps.ca.issue(names)
    const issuedAt = this.#settings.now()
    const expiresAt = issued.notAfter.getTime()
    return {
      context: createSecureContext({ cert: issued.certPem, key: issued.keyPem }),
      issued,
      renewAt: issuedAt + (2 / 3) * (expiresAt - issuedAt),
      expiresAt,
    }
  }
}
