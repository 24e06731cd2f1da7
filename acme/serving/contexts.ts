/** TLS contexts out of stored certificates: opened and built when first asked for, kept in bounded memory. */

import { createSecureContext, type SecureContext } from 'node:tls'
import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { KnownCertificate } from '../books.ts'
import { toCertPem, toKeyPem } from '../pem.ts'
import { KEY_TYPES, toRecordKey, toSlot } from '../rows.ts'
import { BoundedCache } from './bounded-cache.ts'

export interface ContextsDeps {
  readonly sealer: Pick<Sealer, 'open'>
  /** Told of each certificate that is put into a context; leaf first, DER. */
  readonly staples: { notice(certificate: KnownCertificate, chain: readonly Buffer[]): void }
  readonly log: Log
}

interface Entry {
  readonly context: SecureContext
  readonly weight: Buffer
}

/**
 * The ciphers that are used are those of the server's own context; OpenSSL takes certificates alone from one that is
 * chosen by name. A short list saves 25 µs of the 220 that a context takes.
 */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256'
/** id-pe-tlsfeature (RFC 7633), encoded. */
const TLS_FEATURE = Buffer.from('06082b06010505070118', 'hex')
/**
 * A context takes 37 KB (18 of OpenSSL's own, 9 to 10 for each certificate), of which V8 knows nothing. These bytes, which
 * are never touched, let it collect in time: without, 18,000 misses made 431 MB of garbage.
 */
const WEIGHT_BYTES = 37_000

export class Contexts {
  readonly #deps: ContextsDeps
  /** A certificate is the same object until it changes: to find one by it is cheaper than by a name out of packed memory. */
  readonly #entries: BoundedCache<Entry, KnownCertificate>
  /** Those that have an entry. */
  readonly #bySlot = new Map<string, KnownCertificate>()
  readonly #broken = new WeakSet<KnownCertificate>()

  constructor(deps: ContextsDeps, maxContexts: number) {
    this.#deps = deps
    this.#entries = new BoundedCache(maxContexts, (certificate) => this.#forget(certificate))
  }

  get size(): number {
    return this.#entries.size
  }

  /** Undefined when it cannot be used. */
  find(certificate: KnownCertificate): SecureContext | undefined {
    const entry = this.#entries.find(certificate)
    if (entry !== undefined) return entry.context
    if (this.isBroken(certificate)) return undefined
    const context = this.#build(certificate)
    if (context === undefined) return undefined
    this.#keep(certificate, { context, weight: Buffer.allocUnsafeSlow(WEIGHT_BYTES) })
    return context
  }

  /** Connections that were made with them keep them. */
  delete(name: string): void {
    for (const keyType of KEY_TYPES) this.#drop(toSlot({ name, keyType }))
  }

  /** Whether it was tried, and cannot be used. */
  isBroken(certificate: KnownCertificate): boolean {
    return this.#broken.has(certificate)
  }

  /** As PEM. @throws SealError */
  open(certificate: KnownCertificate): { readonly certPem: string; readonly keyPem: string } {
    const row = certificate.read()
    const key = this.#deps.sealer.open(row.sealedKey, toRecordKey('certificate', row))
    return { certPem: row.chain.map(toCertPem).join(''), keyPem: toKeyPem(key) }
  }

  #keep(certificate: KnownCertificate, entry: Entry): void {
    const slot = toSlot(certificate)
    this.#drop(slot)
    this.#bySlot.set(slot, certificate)
    this.#entries.set(certificate, entry)
  }

  #drop(slot: string): void {
    const certificate = this.#bySlot.get(slot)
    if (certificate === undefined) return
    this.#bySlot.delete(slot)
    this.#entries.delete(certificate)
  }

  #forget(certificate: KnownCertificate): void {
    const slot = toSlot(certificate)
    if (this.#bySlot.get(slot) === certificate) this.#bySlot.delete(slot)
  }

  #build(certificate: KnownCertificate): SecureContext | undefined {
    try {
      const chain = certificate.read().chain.map((text) => Buffer.from(text, 'base64'))
      if (chain[0]?.includes(TLS_FEATURE)) throw new Error('the certificate asks for stapling (RFC 7633)')
      const { certPem, keyPem } = this.open(certificate)
      const context = createSecureContext({ cert: certPem, key: keyPem, ciphers: CIPHERS })
      this.#deps.staples.notice(certificate, chain)
      return context
    } catch (error) {
      this.#broken.add(certificate)
      const { name, keyType } = certificate
      // Once for each certificate, not at each handshake.
      this.#deps.log.error({ err: error, name, keyType }, 'a certificate cannot be used here')
      return undefined
    }
  }
}
