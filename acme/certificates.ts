/** Which certificate answers which server name (SNI): made on first use, kept in a bounded cache, renewed in time. */

import { isIP } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Log } from '../lib/log.ts'
import { AcmeError } from './errors.ts'
import type { IssuedCertificate } from './local-ca.ts'

const DEFAULT_CAPACITY = 1_000
/** Labels of letters, digits and inner hyphens, lower case (RFC 1123 section 2.1). */
const HOSTNAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/

/** What makes certificates; `loadLocalCa` fits it. */
export interface Issuer {
  issue(names: readonly string[]): Promise<IssuedCertificate>
}

export interface CertificatesDeps {
  readonly ca: Issuer
  /**
   * Whether this host name is served here and so deserves a certificate of its own. Asked on every
   * handshake with a lower-case name, so it must be a look-up in memory.
   */
  readonly isKnown: (hostname: string) => boolean
  /** The platform domain, lower case. */
  readonly domain: string
  readonly log: Log
}

export interface CertificatesSettings {
  /** Certificates kept at most; the least recently used one goes first. Default 1,000. */
  readonly capacity?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

export interface Certificates {
  /**
   * The context for a handshake. Names that are not known, not host names or absent get the default
   * certificate, for the platform domain and its wildcard. @throws AcmeError certificate_failed when
   * the issuer fails and no valid certificate is held
   */
  contextFor(servername: string | undefined): Promise<SecureContext>
  /**
   * Whether the certificate that `contextFor(servername)` answers is valid for `hostname` (RFC 9525
   * section 6.3). Judged by what is known now, so it may err for a connection older than a change of
   * the table; the client has checked that certificate itself.
   */
  covers(servername: string | undefined, hostname: string): boolean
}

/** One name's certificate, and the attempt under way to get a (new) one. */
interface Slot {
  held?: Held
  pending?: Promise<Held>
}

interface Held {
  readonly context: SecureContext
  /** Unix milliseconds. */
  readonly renewAt: number
  readonly expiresAt: number
}

/** Starts nothing and holds only memory, so there is nothing to dispose. */
export function createCertificates(
  { ca, isKnown, domain, log }: CertificatesDeps,
  { capacity = DEFAULT_CAPACITY, now = Date.now }: CertificatesSettings = {},
): Certificates {
  const slots = new Map<string, Slot>()

  // OpenSSL's clients do not match a wildcard directly below a top-level name (`*.localhost`), so a
  // known name gets a certificate of its own. A stranger's random name must not cost a key pair.
  const nameFor = (servername: string | undefined): string => {
    const name = servername?.toLowerCase()
    return name !== undefined && isHostname(name) && isKnown(name) ? name : domain
  }

  const namesFor = (name: string): readonly string[] => (name === domain ? [domain, `*.${domain}`] : [name])

  return {
    contextFor: async (servername) => {
      const name = nameFor(servername)
      const slot = touch(slots, name, capacity)
      if (slot.held && now() < slot.held.renewAt) return slot.held.context
      try {
        slot.pending ??= hold(ca, namesFor(name), now).finally(() => delete slot.pending)
        slot.held = await slot.pending
        return slot.held.context
      } catch (cause) {
        log.warn({ err: cause, name }, 'no certificate could be made')
        if (slot.held && now() < slot.held.expiresAt) return slot.held.context
        throw new AcmeError('certificate_failed', {
          cause,
          detail: `No certificate could be made for ${name}`,
        })
      }
    },
    covers: (servername, hostname) => {
      const wanted = hostname.toLowerCase().replace(/\.$/, '')
      return isHostname(wanted) && namesFor(nameFor(servername)).some((pattern) => matches(pattern, wanted))
    },
  }
}

/** The slot of `name`, now the most recently used of at most `capacity`. */
function touch(slots: Map<string, Slot>, name: string, capacity: number): Slot {
  const slot = slots.get(name) ?? {}
  slots.delete(name)
  slots.set(name, slot)
  if (slots.size > capacity) {
    const [oldest] = slots.keys()
    if (oldest !== undefined) slots.delete(oldest)
  }
  return slot
}

async function hold(ca: Issuer, names: readonly string[], now: () => number): Promise<Held> {
  const { certPem, keyPem, notAfter } = await ca.issue(names)
  const issuedAt = now()
  const expiresAt = notAfter.getTime()
  return {
    context: createSecureContext({ cert: certPem, key: keyPem }),
    renewAt: issuedAt + (2 / 3) * (expiresAt - issuedAt),
    expiresAt,
  }
}

/** RFC 9525 section 6.3: a wildcard stands for exactly one label, the leftmost. */
function matches(pattern: string, hostname: string): boolean {
  if (!pattern.startsWith('*.')) return pattern === hostname
  const dot = hostname.indexOf('.')
  return dot > 0 && hostname.slice(dot) === pattern.slice(1)
}

function isHostname(text: string): boolean {
  return text.length <= 253 && HOSTNAME.test(text) && isIP(text) === 0
}
