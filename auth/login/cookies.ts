/** Cookies of one host alone (RFC 6265bis section 4.1.3.2): no parent domain can set them, and none is sent them. */

/** Logins that are under way at a VM host: this, a dash and the beginning of the login's challenge. */
export const FLOW_COOKIE = '__Host-landfall-flow'
/** What the login host knows its visitor by. */
export const SESSION_COOKIE = '__Host-landfall-session'
/** On the login host of a browser that was logged out there: whoever comes next has to prove who they are. */
export const LOGGED_OUT_COOKIE = '__Host-landfall-logged-out'

const MAX_AGE_S = 400 * 86_400

/** The value; undefined when there is none, or more than one: then somebody else may have set one of them. */
export function findCookie(header: string | undefined, name: string): string | undefined {
  const prefix = `${name}=`
  const found = pairsOf(header).filter((pair) => pair.startsWith(prefix))
  return found.length === 1 ? found[0]?.slice(prefix.length).trimEnd() : undefined
}

/** Those whose names begin so, in the browser's order: what it has had for longest first (RFC 6265 section 5.4). */
export function listCookies(header: string | undefined, prefix: string): readonly CookiePair[] {
  return pairsOf(header)
    .filter((pair) => pair.startsWith(prefix) && pair.includes('='))
    .map((pair) => {
      const at = pair.indexOf('=')
      return { name: pair.slice(0, at), value: pair.slice(at + 1).trimEnd() }
    })
}

export interface CookiePair {
  readonly name: string
  readonly value: string
}

function pairsOf(header: string | undefined): string[] {
  return header === undefined ? [] : header.split(';').map(withoutSpaces)
}

/** Only those of RFC 6265: behind any other space browsers do not see the prefix, and let a sibling set the cookie. */
function withoutSpaces(pair: string): string {
  let start = 0
  while (pair[start] === ' ' || pair[start] === '\t') start += 1
  return pair.slice(start)
}

export interface Cookie {
  /** Begins with `__Host-`. */
  readonly name: string
  /** base64url and dots. */
  readonly value: string
  /** 0 clears it. */
  readonly lifeMs: number
}

/** A Set-Cookie value. Lax, since logins come back by a redirect from another site. */
export function toSetCookie({ name, value, lifeMs }: Cookie): string {
  const maxAge = Math.min(MAX_AGE_S, Math.max(0, Math.floor(lifeMs / 1_000)))
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${maxAge}`
}
