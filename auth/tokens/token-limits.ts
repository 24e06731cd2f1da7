/** What a token is narrowed to, and whether a request stays within it. */

import { AuthError } from '../errors.ts'
import type { CredentialLimits } from '../identity.ts'
import type { JsonObject } from './unique-json.ts'

export interface LimitedRequest {
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly isUpgrade: boolean
  readonly isConnect: boolean
}

/**
 * Why a request is outside of the limits; undefined when it is inside.
 * An upgrade counts as GET: over HTTP/2 its method is CONNECT (RFC 8441 section 4).
 */
export function findExcess(
  limits: CredentialLimits,
  request: LimitedRequest,
  port: number | undefined,
): string | undefined {
  const { methods, pathPrefix } = limits
  if (!isPortWithin(limits, port)) return 'limit-port'
  // Behind a tunnel nothing of methods and paths is seen.
  if (request.isConnect) return methods || pathPrefix !== undefined ? 'limit-connect' : undefined
  if (methods && !coversMethod(methods, request)) return 'limit-method'
  return pathPrefix === undefined || isBelow(pathPrefix, request.target) ? undefined : 'limit-path'
}

/** RFC 9110 section 9.3.2: HEAD says less than GET does. */
function coversMethod(methods: readonly string[], { method, isUpgrade }: LimitedRequest): boolean {
  const asked = isUpgrade ? 'GET' : method
  return methods.includes(asked) || (asked === 'HEAD' && methods.includes('GET'))
}

export function isPortWithin({ ports }: CredentialLimits, port: number | undefined): boolean {
  return ports === undefined || (port !== undefined && ports.includes(port))
}

/** What servers may read as another path: empty segments, backslashes, and encoded dots, slashes and backslashes, twice encoded too. */
const CRAFTED = /\/\/|[\\#]|%(?:25)*(?:2e|2f|5c)/i
/** Some servers cut `;…` off a segment first. */
const DOT_SEGMENT = /\/\.{1,2}(?:[/;]|$)/

/** Whole segments only: `/a` covers `/a` and `/a/b`, not `/ab`. */
function isBelow(prefix: string, target: string): boolean {
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  if (!path.startsWith(prefix) || CRAFTED.test(path) || DOT_SEGMENT.test(path)) return false
  return prefix.endsWith('/') || path.length === prefix.length || path[prefix.length] === '/'
}

const METHOD = /^[A-Z][A-Z-]{0,31}$/
/** No dot segments, no escapes: what it covers must be plain to see. */
const PATH = /^\/[A-Za-z0-9._~!$&'()*+,;=:@/-]{0,254}$/

/** Of the claims `ports`, `methods` and `path`; undefined without any. @throws AuthError `auth_invalid` */
export function readLimits({ ports, methods, path }: JsonObject): CredentialLimits | undefined {
  if (ports === undefined && methods === undefined && path === undefined) return undefined
  if (ports !== undefined && !isListOf(ports, isPort)) throw new AuthError('auth_invalid', 'bad-ports')
  if (methods !== undefined && !isListOf(methods, isMethod))
    throw new AuthError('auth_invalid', 'bad-methods')
  if (path !== undefined && !isPathPrefix(path)) throw new AuthError('auth_invalid', 'bad-path')
  return { ...(ports && { ports }), ...(methods && { methods }), ...(path && { pathPrefix: path }) }
}

/** An empty list is refused: it is more likely meant as "all" than as "none". */
function isListOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.length > 0 && value.every(isItem)
}

function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
}

function isMethod(value: unknown): value is string {
  return typeof value === 'string' && METHOD.test(value)
}

function isPathPrefix(value: unknown): value is string {
  return typeof value === 'string' && PATH.test(value) && !CRAFTED.test(value) && !DOT_SEGMENT.test(value)
}
