/** Reads a request's header fields once: what decides the framing, and what may go on to the VM. */

import { toTokens } from './field-lines.ts'

/** Everything here is as the client sent it; nothing is checked yet. */
export interface RequestFields {
  /** How many header fields there are. */
  count: number
  hostCount: number
  host: string
  lengthCount: number
  length: string
  /** Joined with commas, as all list fields below. */
  transferEncoding: string
  connection: string
  upgrade: string
  expect: string
  te: string
  cdnLoop: string
  /** With our own cookies among them. */
  cookie: string
  /** Authorization, X-Landfall-Authorization and DPoP: the first value, and how many there are. */
  authorization: string
  authorizationCount: number
  ownAuthorization: string
  ownAuthorizationCount: number
  proof: string
  proofCount: number
  origin: string
  /** Sec-Fetch-Site, -Mode and -Dest: what a browser says of who asks, and for what. */
  fetchSite: string
  fetchMode: string
  fetchDest: string
  /** The value that stands first, for error pages. */
  accept: string
  userAgent: string
  /** A value holds a control character (RFC 9110 section 5.5). */
  hasControl: boolean
  /** End-to-end fields as lines that end in CRLF; what is ours, hop-by-hop or named below is left out. */
  kept: string
  /** The Cookie line without our own cookies. */
  cookieLine: string
  /** All lines of Authorization, and of DPoP, which the gate may take. */
  authorizationLines: string
  proofLines: string
}

/** Fields that the edge reads, writes itself or must not pass on; all others are kept. */
type Kind =
  | 'host'
  | 'length'
  | 'transferEncoding'
  | 'connection'
  | 'upgrade'
  | 'expect'
  | 'te'
  | 'cdnLoop'
  | 'cookie'
  | 'authorization'
  | 'ownAuthorization'
  | 'proof'
  | 'origin'
  | 'fetchSite'
  | 'fetchMode'
  | 'fetchDest'
  | 'accept'
  | 'userAgent'
  | 'dropped'

/** The one field of ours that a client may send. */
export const OWN_AUTHORIZATION = 'x-landfall-authorization'

/** RFC 9110 section 7.6.1 and what Node and HTTP/2 need gone; then the forwarding fields that are ours to write. */
const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['host', 'host'],
  ['content-length', 'length'],
  ['transfer-encoding', 'transferEncoding'],
  ['connection', 'connection'],
  ['upgrade', 'upgrade'],
  ['expect', 'expect'],
  ['te', 'te'],
  ['cdn-loop', 'cdnLoop'],
  ['cookie', 'cookie'],
  ['authorization', 'authorization'],
  [OWN_AUTHORIZATION, 'ownAuthorization'],
  ['dpop', 'proof'],
  ['origin', 'origin'],
  ['sec-fetch-site', 'fetchSite'],
  ['sec-fetch-mode', 'fetchMode'],
  ['sec-fetch-dest', 'fetchDest'],
  ['accept', 'accept'],
  ['user-agent', 'userAgent'],
  ['keep-alive', 'dropped'],
  ['proxy-connection', 'dropped'],
  ['proxy-authorization', 'dropped'],
  ['http2-settings', 'dropped'],
  ['x-forwarded-for', 'dropped'],
  ['x-forwarded-proto', 'dropped'],
  ['x-forwarded-host', 'dropped'],
  ['x-forwarded-port', 'dropped'],
  ['forwarded', 'dropped'],
  ['via', 'dropped'],
  ['x-request-id', 'dropped'],
  ['traceparent', 'dropped'],
  ['tracestate', 'dropped'],
])

const COLON = 58
const LETTER_X = 120
/** Ours, whichever sign stands for the dashes: servers make `_` of more than one. */
const OWN_NAME = /^x[^a-z0-9]landfall[^a-z0-9]/
/** Browsers and servers differ in whether the case of the prefix counts. */
const OWN_COOKIE = /^\s*__host-landfall/i
const OWN_COOKIE_ANYWHERE = /__host-landfall/i
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

/** `rawHeaders` holds names and values, alternating; pseudo-header fields are passed over. */
export function readRequestFields(rawHeaders: readonly string[]): RequestFields {
  const fields = emptyFields()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (name.charCodeAt(0) !== COLON) readField(fields, name, rawHeaders[at + 1] ?? '')
  }
  if (fields.cookie !== '') fields.cookieLine = cookieLineOf(fields.cookie)
  if (fields.connection !== '') dropNominated(fields)
  return fields
}

function readField(fields: RequestFields, name: string, value: string): void {
  fields.count += 1
  if (CONTROL.test(value)) fields.hasControl = true
  const key = toKey(name)
  const kind = KINDS.get(key)
  if (kind === undefined) {
    if (!isOwnName(key)) fields.kept += `${name}: ${value}\r\n`
  } else if (kind !== 'dropped' && !name.includes('_')) {
    readKnown(fields, kind, { name, value })
  }
}

/** Whether a name in lower case is one that only the edge may write; a client's copy never reaches a VM. */
export function isOwnName(key: string): boolean {
  return key.charCodeAt(0) === LETTER_X && OWN_NAME.test(key)
}

/** CGI-like servers read `X_Forwarded_For` as `X-Forwarded-For`, so both spellings are one name here. */
function toKey(name: string): string {
  const lower = name.toLowerCase()
  return lower.includes('_') ? lower.replaceAll('_', '-') : lower
}

function readKnown(
  fields: RequestFields,
  kind: Exclude<Kind, 'dropped'>,
  line: { name: string; value: string },
): void {
  const { name, value } = line
  switch (kind) {
    case 'host':
      fields.hostCount += 1
      fields.host = value
      return
    case 'length':
      fields.lengthCount += 1
      fields.length = value
      return
    case 'cookie':
      // RFC 9113 section 8.2.3: HTTP/2 splits cookies into several fields, HTTP/1.1 wants one.
      fields.cookie += fields.cookie === '' ? value : `; ${value}`
      return
    case 'authorization':
      fields.authorizationLines += `${name}: ${value}\r\n`
      readCredential(fields, kind, value)
      return
    case 'proof':
      fields.proofLines += `${name}: ${value}\r\n`
      readCredential(fields, kind, value)
      return
    case 'ownAuthorization':
      readCredential(fields, kind, value)
      return
    case 'accept':
    case 'userAgent':
      fields[kind] ||= value
      fields.kept += `${name}: ${value}\r\n`
      return
    case 'origin':
    case 'fetchSite':
    case 'fetchMode':
    case 'fetchDest':
      fields.kept += `${name}: ${value}\r\n`
      // Joined as lists are: two different ones then are neither.
      fields[kind] = fields[kind] === '' ? value : `${fields[kind]}, ${value}`
      return
    default:
      fields[kind] = fields[kind] === '' ? value : `${fields[kind]}, ${value}`
  }
}

function readCredential(
  fields: RequestFields,
  kind: 'authorization' | 'ownAuthorization' | 'proof',
  value: string,
): void {
  if (fields[`${kind}Count`] === 0) fields[kind] = value
  fields[`${kind}Count`] += 1
}

/** Whether a cookie, or what sets it, has a name of ours; no VM may send a browser one. */
export function isOwnCookie(pair: string): boolean {
  return OWN_COOKIE.test(pair)
}

/** Our cookies are credentials that a VM could use elsewhere; the others stay as they are, byte for byte. */
function cookieLineOf(cookie: string): string {
  // Most requests bring no cookie with this prefix, and this look costs a tenth of the next.
  if (!cookie.includes('__') || !OWN_COOKIE_ANYWHERE.test(cookie)) return `cookie: ${cookie}\r\n`
  const parts = cookie.split(';').filter((part) => !isOwnCookie(part))
  const rest = parts.join(';').trimStart()
  return rest === '' ? '' : `cookie: ${rest}\r\n`
}

/** Tokens of Connection that name no field to drop. */
const CONNECTION_OPTIONS = ['', 'close', 'keep-alive', 'connection']

/** RFC 9110 section 7.6.1: a field that Connection names is for this hop only. One pass: both lists are hostile. */
function dropNominated(fields: RequestFields): void {
  const nominated = new Set(toTokens(fields.connection))
  for (const option of CONNECTION_OPTIONS) nominated.delete(option)
  if (nominated.size === 0) return
  const lines = fields.kept.split('\r\n')
  fields.kept = lines
    .filter((line) => !nominated.has(line.slice(0, line.indexOf(':')).toLowerCase()))
    .join('\r\n')
  if (nominated.has('cookie')) fields.cookieLine = ''
  if (nominated.has('authorization')) fields.authorizationLines = ''
  if (nominated.has('dpop')) fields.proofLines = ''
}

function emptyFields(): RequestFields {
  return {
    count: 0,
    hostCount: 0,
    host: '',
    lengthCount: 0,
    length: '',
    transferEncoding: '',
    connection: '',
    upgrade: '',
    expect: '',
    te: '',
    cdnLoop: '',
    cookie: '',
    authorization: '',
    authorizationCount: 0,
    ownAuthorization: '',
    ownAuthorizationCount: 0,
    proof: '',
    proofCount: 0,
    origin: '',
    fetchSite: '',
    fetchMode: '',
    fetchDest: '',
    accept: '',
    userAgent: '',
    hasControl: false,
    kept: '',
    cookieLine: '',
    authorizationLines: '',
    proofLines: '',
  }
}
