/** Renewal information: how a certificate is named in it, and what it says (RFC 9773). */

import forge from 'node-forge'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../lib/durations.ts'
import { isObject } from '../../lib/json-object.ts'
import { readCertificate } from '../certificate-parts.ts'
import type { RenewalInfo } from './ca.ts'
import { CaProblem } from './ca-problem.ts'

const AUTHORITY_KEY_IDENTIFIER = '2.5.29.35'
const { asn1 } = forge
type Node = forge.asn1.Asn1

/** The CertID of RFC 9773 section 4.1; undefined for a certificate without an authority key identifier, which has none. */
export function findCertId(der: Buffer): string | undefined {
  try {
    return toCertId(der)
  } catch {
    return undefined
  }
}

/**
 * As `findCertId`, and says why there is none: the authority's key identifier and the serial number (with its leading zero
 * byte) in base64url.
 * @throws CaProblem ca_nonsense when it is no certificate, or names no key of its authority
 */
export function toCertId(der: Buffer): string {
  try {
    // Refuses what is no certificate, and keys that are costly to read, before forge sees it.
    const { certificate, serial } = readCertificate(der)
    return `${getKeyIdentifier(certificate.raw).toString('base64url')}.${serial.toString('base64url')}`
  } catch (cause) {
    throw CaProblem.nonsense('The certificate has no CertID (RFC 9773 section 4.1)', { cause })
  }
}

/** @throws Error when there is none */
function getKeyIdentifier(der: Buffer): Buffer {
  const fields = listOf(listOf(parse(der.toString('latin1')))[0])
  const wrapper = fields.find(
    ({ tagClass, type }) => tagClass === asn1.Class.CONTEXT_SPECIFIC && Number(type) === 3,
  )
  const extensions = listOf(listOf(wrapper)[0])
  const found = extensions
    .map(listOf)
    .find(([oid]) => asn1.derToOid(textOf(oid)) === AUTHORITY_KEY_IDENTIFIER)
  const parts = listOf(parse(textOf(found?.at(-1))))
  // RFC 5280 section 4.2.1.1: keyIdentifier is [0], implicit.
  const identifier = parts.find(
    ({ tagClass, type }) => tagClass === asn1.Class.CONTEXT_SPECIFIC && Number(type) === 0,
  )
  return Buffer.from(textOf(identifier), 'latin1')
}

function parse(der: string): Node {
  return asn1.fromDer(der)
}

function listOf(node: Node | undefined): readonly Node[] {
  if (!Array.isArray(node?.value)) throw new TypeError('not a list')
  return node.value
}

function textOf(node: Node | undefined): string {
  if (typeof node?.value !== 'string' || node.value === '') throw new TypeError('not a value')
  return node.value
}

/** RFC 3339 section 5.6. */
const MOMENT = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/
/** RFC 9773 section 4.3.3, for answers that do not say. */
const DEFAULT_RETRY_MS = 6 * HOUR_MS
/** No certificate lives that long (CA/Browser Forum, 398 days), so no window is that far away. */
const MAX_AWAY_MS = 825 * DAY_MS
/** What the record of a renewal takes. */
const WEB_URL = /^https?:\/\/[!-~]{1,2000}$/

interface RenewalInfoFrom {
  readonly retryAfterMs: number | undefined
  /** Unix milliseconds. */
  readonly now: number
}

/** RFC 9773 section 4.2. @throws CaProblem ca_nonsense when there is no window, or one that cannot be */
export function parseRenewalInfo(body: unknown, { retryAfterMs, now }: RenewalInfoFrom): RenewalInfo {
  const window = isObject(body) ? body.suggestedWindow : undefined
  if (!isObject(body) || !isObject(window)) throw CaProblem.nonsense('There is no window for the renewal')
  const startMs = parseMoment(window.start)
  const endMs = parseMoment(window.end)
  const isNear = Math.max(Math.abs(startMs - now), Math.abs(endMs - now)) < MAX_AWAY_MS
  if (startMs >= endMs || !isNear) throw CaProblem.nonsense('The window for the renewal cannot be')
  const { explanationURL } = body
  return {
    startMs,
    endMs,
    ...(isWebUrl(explanationURL) && { explanationUrl: explanationURL }),
    retryAfterMs: Math.min(Math.max(retryAfterMs ?? DEFAULT_RETRY_MS, MINUTE_MS), DAY_MS),
  }
}

function parseMoment(value: unknown): number {
  const ms = typeof value === 'string' && MOMENT.test(value) ? Date.parse(value) : Number.NaN
  if (Number.isNaN(ms)) throw CaProblem.nonsense(`Not a moment: ${String(value).slice(0, 50)}`)
  return ms
}

/** It is shown to people, never fetched. */
function isWebUrl(value: unknown): value is string {
  return typeof value === 'string' && WEB_URL.test(value) && URL.canParse(value)
}
