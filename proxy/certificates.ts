/** What the relay needs of certificates: a context for each server name, answers to challenges, keys of session tickets. */

import type { SecureContext } from 'node:tls'
import type { LandfallError } from '../lib/errors.ts'

export interface Certificates {
  /**
   * At once where it is in memory, otherwise a promise, which a client waits for. `address` is the client's.
   * For a name that has no certificate (yet) the platform's own, so that a page can say why. A context holds one
   * certificate: of an array Node shows the last one to every client of a server name.
   */
  contextFor(
    serverName: string | undefined,
    address: string,
    client: ClientAbilities,
  ): SecureContext | Promise<SecureContext>
  /** For clients that send no server name. */
  defaultPem(): Promise<{ readonly certPem: string; readonly keyPem: string }>
  /** Calls `ring` when `defaultPem` may have changed. Returns what ends it. */
  onPlatform(ring: () => void): () => void
  /** Whether what `contextFor(serverName)` gives covers the host name. */
  covers(serverName: string | undefined, hostname: string): boolean
  /** Why a host name that is served here has no certificate now: being made, refused, or no more than so many at once. */
  findLack(hostname: string): LandfallError | undefined
  /** The answer to http-01 (RFC 8555 section 8.3) for a pending token of ours, asked for on `hostname`. */
  findHttpAnswer(hostname: string, token: string): string | undefined
  /** For `acme-tls/1` alone (RFC 8737); undefined when nothing is pending for the name. */
  findAlpnContext(serverName: string): SecureContext | undefined
  /**
   * False while `findAlpnContext` has nothing for any name: no ClientHello is looked at then. True before a CA is told
   * to come.
   */
  hasAlpnContexts(): boolean
  readonly tickets: TicketKeys
  /** An OCSP answer that is still good, for a certificate that names a responder. */
  findStaple(certificateDer: Buffer): Buffer | undefined
  /** False while `findStaple` has none at all: no handshake is asked for one then. */
  hasStaples(): boolean
  report(): CertificateReport
}

/** Read only where it is needed: each question costs the handshake some microseconds. */
export interface ClientAbilities {
  /** Whether the client would take a signature by an elliptic curve. */
  takesEcdsa(): boolean
}

/** 16 bytes each (RFC 5077 section 4). */
export interface TicketKey {
  readonly name: Buffer
  readonly hmacKey: Buffer
  readonly aesKey: Buffer
}

/** The same on every edge, so that a client resumes its session on any of them. */
export interface TicketKeys {
  /** What seals new tickets; undefined before the keys are known. */
  readonly sealing: TicketKey | undefined
  /** What opens a ticket, as long as it is known. */
  find(name: Buffer): TicketKey | undefined
}

/** For metrics; moments in Unix seconds. */
export interface CertificateReport {
  /** By kind: `platform`, and the custom one that ends first. */
  readonly notAfter: Readonly<Record<'platform' | 'custom', number | undefined>>
  readonly known: number
  /** For how long what is known of the store may be old; Infinity before anything was. */
  readonly ageSeconds: number
  /** Contexts in memory. */
  readonly contexts: number
  /** By `<CA's host>,<result>`. */
  readonly orders: ReadonlyMap<string, number>
  /** Orders under way and waiting in the fleet. */
  readonly open: number
  readonly failed: number
  /** What is left of each budget that counts for all: by limit. */
  readonly budget: ReadonlyMap<string, number>
  /** The start of the earliest window that a CA has named. */
  readonly ariWindowStart: number | undefined
  /** DNS queries since the start, by what became of them; empty where none are answered. */
  readonly dns: ReadonlyMap<string, number>
}
