/** Reads what a certificate authority answers (RFC 8555 section 7.1); nothing in it is believed before it was looked at. */

import { isObject } from '../../lib/json-object.ts'
import { readCertificate } from '../certificate-parts.ts'
import { toBareName } from '../hostnames.ts'
import type { CaAuthorization, CaChallenge, CaFacts, CaOrder } from './ca.ts'
import { CaProblem, findProblem } from './ca-problem.ts'
import { checkUrl } from './ca-url.ts'

const ORDER_STATUSES = ['pending', 'ready', 'processing', 'valid', 'invalid'] as const
const AUTHORIZATION_STATUSES = ['pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked'] as const
const MAX_LIST = 100
const MAX_CHAIN_CHARACTERS = 128 * 1024
const MAX_CERTIFICATES = 10
const MAX_TEXT = 256
/** RFC 8555 section 8.1: base64url, 128 bits of it at least. */
const TOKEN = /^[A-Za-z0-9_-]{22,256}$/
const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g
const MARK = /-----[A-Z ]+-----/g

/** Where things are; `Directory` of RFC 8555 section 7.1.1. */
export interface DirectoryDocument {
  readonly newNonce: string
  readonly newAccount: string
  readonly newOrder: string
  readonly renewalInfo?: string
}

export interface DirectoryAnswer {
  readonly document: DirectoryDocument
  readonly facts: CaFacts
}

/** How an answer's URLs are judged. */
interface From {
  readonly directory: string
}

/** @throws CaProblem ca_nonsense, as all of these */
export function parseDirectory(body: unknown, { directory }: From): DirectoryAnswer {
  if (!isObject(body)) throw CaProblem.nonsense('The directory is not a JSON object')
  const { newNonce, newAccount, newOrder, renewalInfo } = body
  return {
    document: {
      newNonce: checkUrl(newNonce, directory),
      newAccount: checkUrl(newAccount, directory),
      newOrder: checkUrl(newOrder, directory),
      ...(renewalInfo !== undefined && { renewalInfo: checkUrl(renewalInfo, directory) }),
    },
    facts: toFacts(isObject(body.meta) ? body.meta : {}, renewalInfo !== undefined),
  }
}

function toFacts(meta: Record<string, unknown>, hasRenewalInfo: boolean): CaFacts {
  const { profiles, caaIdentities, termsOfService, externalAccountRequired } = meta
  return {
    profiles: isObject(profiles) ? Object.keys(profiles).filter(isShort).slice(0, MAX_LIST) : [],
    hasRenewalInfo,
    caaIdentities: Array.isArray(caaIdentities) ? caaIdentities.filter(isShort).slice(0, MAX_LIST) : [],
    ...(isShort(termsOfService) && { termsOfService }),
    needsExternalAccount: externalAccountRequired === true,
  }
}

interface OrderFrom extends From {
  readonly url: string
  readonly retryAfterMs: number | undefined
  /** What was asked for, where that is known. */
  readonly names?: readonly string[]
}

export function parseOrder(body: unknown, { directory, url, retryAfterMs, names }: OrderFrom): CaOrder {
  if (!isObject(body)) throw CaProblem.nonsense('The order is not a JSON object')
  const listed = listOf(body.authorizations, 'authorizations')
  checkIdentifiers(body.identifiers, names)
  const problem = findProblem(body.error)
  return {
    url: checkUrl(url, directory),
    status: oneOf(ORDER_STATUSES, body.status),
    authorizations: listed.map((item) => checkUrl(item, directory)),
    finalize: checkUrl(body.finalize, directory),
    ...(body.certificate !== undefined && { certificate: checkUrl(body.certificate, directory) }),
    ...(problem && { problem }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}

function checkIdentifiers(value: unknown, names: readonly string[] | undefined): void {
  const found = listOf(value, 'identifiers').map((item) => toName(item))
  if (names === undefined) return
  const [left, right] = [found, names].map((list) => [...new Set(list)].sort().join())
  if (left !== right) throw CaProblem.nonsense('The order has other names than were asked for')
}

export function parseAuthorization(
  body: unknown,
  { directory, url, retryAfterMs }: Omit<OrderFrom, 'names'>,
): CaAuthorization {
  if (!isObject(body)) throw CaProblem.nonsense('The authorization is not a JSON object')
  return {
    url: checkUrl(url, directory),
    status: oneOf(AUTHORIZATION_STATUSES, body.status),
    name: toBareName(toName(body.identifier)),
    isWildcard: body.wildcard === true,
    challenges: listOf(body.challenges, 'challenges').flatMap((item) => findChallenge(item, directory)),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}

/** Kinds that have no token are none of ours; a server may offer whatever it likes (RFC 8555 section 8). */
function findChallenge(value: unknown, directory: string): readonly CaChallenge[] {
  if (!isObject(value)) return []
  const { type, url, token, status } = value
  if (!isShort(type) || typeof token !== 'string' || !TOKEN.test(token) || !isShort(status)) return []
  const problem = findProblem(value.error)
  return [{ type, url: checkUrl(url, directory), token, status, ...(problem && { problem }) }]
}

/** The certificates alone in DER, whatever stands between them (RFC 8555 section 9.1). */
export function parseChain(body: unknown): readonly Buffer[] {
  if (typeof body !== 'string' || body.length > MAX_CHAIN_CHARACTERS) {
    throw CaProblem.nonsense('The chain is not text, or too long')
  }
  const blocks = body.match(PEM) ?? []
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES) {
    throw CaProblem.nonsense(`The chain has ${blocks.length} certificates`)
  }
  return blocks.map(toDer)
}

function toDer(block: string): Buffer {
  try {
    return readCertificate(Buffer.from(block.replaceAll(MARK, ''), 'base64')).certificate.raw
  } catch (cause) {
    throw CaProblem.nonsense('The chain has what is not a certificate', { cause })
  }
}

function toName(value: unknown): string {
  if (isObject(value) && value.type === 'dns' && isShort(value.value)) return value.value.toLowerCase()
  throw CaProblem.nonsense('An identifier is not a host name')
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value) && value.length <= MAX_LIST) return value
  throw CaProblem.nonsense(`There is no list of ${what}, or a very long one`)
}

function oneOf<const T extends string>(known: readonly T[], value: unknown): T {
  const found = known.find((item) => item === value)
  if (found === undefined) throw CaProblem.nonsense(`Not a status: ${String(value).slice(0, 50)}`)
  return found
}

function isShort(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT
}
