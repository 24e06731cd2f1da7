/** Where a login leads back to: a path of the same host, and nothing that any browser reads as another place. */

/** A cookie holds it together with the login's secret. */
const MAX_LENGTH = 2_000
/** Visible ASCII as in an origin-form target (RFC 9112 section 3.2.1), without backslash, quotes and angle brackets. */
const PLAIN = /^\/[!#-;=?-[\]^_a-~]*$/

/**
 * `/` for everything else: absolute and scheme-relative URLs, backslashes, control characters, tabs and line ends
 * (which browsers strip), and paths that turn into `//` once dot segments are removed (WHATWG URL).
 */
export function toLocalPath(text: string | null | undefined): string {
  if (text === null || text === undefined || text.length > MAX_LENGTH) return '/'
  if (!PLAIN.test(text) || text.startsWith('//')) return '/'
  return isLocal(text) ? text : '/'
}

/** Asks the parser that browsers have: the host must stay, and so must the single slash. */
function isLocal(text: string): boolean {
  const base = 'https://host.invalid'
  if (!URL.canParse(text, base)) return false
  const { origin, pathname } = new URL(text, base)
  // A login that leads to a login would go in a circle.
  return origin === base && !pathname.startsWith('//') && !pathname.startsWith('/.landfall/')
}
