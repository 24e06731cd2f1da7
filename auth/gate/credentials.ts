/** Picks the one credential of a request that counts, by where it stands and who asks. */

import { AuthError } from '../errors.ts'
import { isApiToken } from '../tokens/api-token.ts'
import { findType } from '../tokens/token-shape.ts'

/** `__Host-` binds a cookie to one host name and to TLS: no sibling can set it (RFC 6265bis section 4.1.3.2). */
export const COOKIE_NAME = '__Host-landfall'

export interface Credential {
  /** Without its scheme. */
  readonly text: string
  /** Basic with a token as its password counts as bearer. */
  readonly scheme: 'cookie' | 'bearer' | 'dpop'
  /** `own`: X-Landfall-Authorization. */
  readonly field: 'cookie' | 'own' | 'authorization'
}

/** What is read of a request. */
export interface CredentialRequest {
  readonly authority: { readonly host: string }
  readonly fields: {
    readonly cookie: string
    readonly authorization: string
    readonly authorizationCount: number
    readonly ownAuthorization: string
    readonly ownAuthorizationCount: number
    readonly proofCount: number
    readonly origin: string
    readonly fetchSite: string
    readonly fetchMode: string
    readonly fetchDest: string
  }
  readonly isUpgrade: boolean
}

/** What is read of a row. */
export interface CredentialRoute {
  readonly visibility: string
  readonly vm?: string
  readonly authorization?: string
}

/** The VM that a host name leads to. */
export type VmOf = (hostname: string) => string | undefined

/** RFC 9110 section 11.4: a scheme, spaces, and one word of visible ASCII. */
const AUTHORIZATION = /^([A-Za-z]+) +([!-~]+) *$/
/** Ours among the JWTs in Authorization; everything else there is the app's business. */
const OUR_TYPES = 'landfall-'

/** @throws AuthError `auth_ambiguous`, `auth_invalid`, `auth_origin` (private ports), `auth_required` (private ports) */
export function findCredential(
  request: CredentialRequest,
  route: CredentialRoute,
  vmOf: VmOf,
): Credential | undefined {
  const { fields } = request
  if (fields.ownAuthorizationCount > 0) return readOwn(fields)
  const isPrivate = route.visibility !== 'public'
  if (isPrivate && fields.authorizationCount > 0 && route.authorization !== 'app') {
    const credential = findInAuthorization(fields)
    if (credential !== undefined) return credential
  }
  return findInCookie(request, route, vmOf)
}

type Fields = CredentialRequest['fields']

function readOwn(fields: Fields): Credential {
  if (fields.ownAuthorizationCount > 1) throw new AuthError('auth_ambiguous', 'two-own-authorizations')
  const [, scheme = '', text = ''] = AUTHORIZATION.exec(fields.ownAuthorization) ?? []
  if (scheme === '') throw new AuthError('auth_invalid', 'malformed-authorization')
  const kind = scheme.toLowerCase()
  if (kind !== 'bearer' && kind !== 'dpop') throw new AuthError('auth_invalid', 'unknown-scheme')
  return withProof({ text, scheme: kind, field: 'own' }, fields)
}

function findInAuthorization(fields: Fields): Credential | undefined {
  if (fields.authorizationCount > 1) throw new AuthError('auth_ambiguous', 'two-authorizations')
  const [, scheme = '', word = ''] = AUTHORIZATION.exec(fields.authorization) ?? []
  const kind = scheme.toLowerCase()
  if (kind === 'basic') return findInBasic(word)
  if ((kind !== 'bearer' && kind !== 'dpop') || !looksOurs(word)) return undefined
  return withProof({ text: word, scheme: kind, field: 'authorization' }, fields)
}

/** RFC 7617 section 2: the password is everything behind the first colon. */
function findInBasic(word: string): Credential | undefined {
  const pair = Buffer.from(word, 'base64')
  const colon = pair.indexOf(':')
  if (colon === -1) return undefined
  const text = pair.toString('latin1', colon + 1)
  if (!looksOurs(text)) return undefined
  if (pair.toString('base64') !== word) throw new AuthError('auth_invalid', 'basic-not-base64')
  return { text, scheme: 'bearer', field: 'authorization' }
}

/** Says nothing about whether it counts. */
function looksOurs(text: string): boolean {
  return isApiToken(text) || (findType(text)?.startsWith(OUR_TYPES) ?? false)
}

function withProof(credential: Credential, { proofCount }: Fields): Credential {
  if (credential.scheme === 'dpop' && proofCount > 1) throw new AuthError('auth_ambiguous', 'two-proofs')
  return credential
}

function findInCookie(
  request: CredentialRequest,
  route: CredentialRoute,
  vmOf: VmOf,
): Credential | undefined {
  const { cookie } = request.fields
  if (!cookie.includes(COOKIE_NAME)) return undefined
  const isPrivate = route.visibility !== 'public'
  const text = findCookie(cookie, isPrivate)
  if (text === undefined) return undefined
  const reason = findForeignness(request, route, vmOf)
  if (reason === undefined) return { text, scheme: 'cookie', field: 'cookie' }
  if (isPrivate) throw new AuthError('auth_origin', reason)
  return undefined
}

/**
 * The value of our cookie. Of two neither counts: which of them is the login host's cannot be told.
 * @throws AuthError `auth_required` for two, unless that is to count as none
 */
function findCookie(header: string, isTold: boolean): string | undefined {
  const texts = listCookies(header)
  if (texts.length > 1 && isTold) throw new AuthError('auth_required', 'two-cookies')
  return texts.length === 1 ? texts[0] : undefined
}

/**
 * The values of all cookies with our name. Only the spaces of RFC 6265 are passed over: a name behind any other space
 * can be set by a sibling, for browsers do not take it for ours.
 */
export function listCookies(header: string): string[] {
  const start = `${COOKIE_NAME}=`
  return header
    .split(';')
    .map(trimSpaces)
    .filter((pair) => pair.startsWith(start))
    .map((pair) => trimSpaces(pair.slice(start.length)))
}

/** Linear, where `/ +$/` is not. */
function trimSpaces(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isSpace(text.charCodeAt(start))) start += 1
  while (end > start && isSpace(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

function isSpace(unit: number): boolean {
  return unit === 0x20 || unit === 0x09
}

/** True for most requests that bring a cookie, which then need no closer look. */
export function isPlainlyOwn({ fields, isUpgrade }: CredentialRequest): boolean {
  const { fetchSite, origin } = fields
  return (
    !isUpgrade && origin === '' && (fetchSite === 'same-origin' || fetchSite === '' || fetchSite === 'none')
  )
}

/**
 * Why a cookie must not count: another site than this host, or another host of the same VM, has the browser ask.
 * SameSite=Lax takes all hosts of a platform for one site, so siblings are told apart here.
 * https://www.w3.org/TR/fetch-metadata/ for `Sec-Fetch-…`; RFC 6454 section 7 for Origin.
 */
function findForeignness(
  request: CredentialRequest,
  route: Pick<CredentialRoute, 'vm'>,
  vmOf: VmOf,
): string | undefined {
  if (isPlainlyOwn(request)) return undefined
  const { fetchSite, origin } = request.fields
  const isNavigation = isOfWholePage(request.fields)
  const isSame = fetchSite === '' || fetchSite === 'same-origin' || fetchSite === 'none'
  if (!isSame && fetchSite !== 'same-site' && !isNavigation) return 'cross-site'
  // A page with the policy no-referrer has its own forms sent with `Origin: null` (Fetch, section 3.2).
  if (origin === 'null' && fetchSite === 'same-origin' && !request.isUpgrade) return undefined
  if (origin !== '') return isOwnOrigin(origin, request, route, vmOf) ? undefined : 'foreign-origin'
  if (request.isUpgrade) return 'upgrade-without-origin'
  return isSame || isNavigation ? undefined : 'same-site'
}

/** A frame is a navigation as well, of a page that another site shows as a part of its own. */
function isOfWholePage({ fetchMode, fetchDest }: Fields): boolean {
  return fetchMode === 'navigate' && (fetchDest === 'document' || fetchDest === '')
}

/** As browsers write it: lower case, no path. The cookie is Secure, so http: is somebody else. */
const ORIGIN = /^https:\/\/([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/

function isOwnOrigin(
  origin: string,
  { authority }: CredentialRequest,
  { vm }: Pick<CredentialRoute, 'vm'>,
  vmOf: VmOf,
): boolean {
  const [, host = ''] = ORIGIN.exec(origin) ?? []
  if (host === '') return false
  return host === authority.host || (vm !== undefined && vmOf(host) === vm)
}
