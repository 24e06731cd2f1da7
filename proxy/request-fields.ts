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
  cookie: string
  /** The value that stands first, for error pages. */
  accept: string
  userAgent: string
  /** A value holds a control character (RFC 9110 section 5.5). */
  hasControl: boolean
  /** End-to-end fields as lines that end in CRLF, ours and hop-by-hop ones left out. */
  kept: string
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
  | 'accept'
  | 'userAgent'
  | 'dropped'

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
/** Every name under this prefix is ours; a client's copy never reaches a VM. */
const OWN_PREFIX = 'x-landfall-'
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

/** `rawHeaders` holds names and values, alternating; pseudo-header fields are passed over. */
export function readRequestFields(rawHeaders: readonly string[]): RequestFields {
  const fields = emptyFields()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (name.charCodeAt(0) !== COLON) readField(fields, name, rawHeaders[at + 1] ?? '')
  }
  if (fields.cookie !== '') fields.kept += `cookie: ${fields.cookie}\r\n`
  if (fields.connection !== '') dropNominated(fields)
  return fields
}

function readField(fields: RequestFields, name: string, value: string): void {
  fields.count += 1
  if (CONTROL.test(value)) fields.hasControl = true
  const key = toKey(name)
  const kind = KINDS.get(key)
  if (kind === undefined) {
    if (!key.startsWith(OWN_PREFIX)) fields.kept += `${name}: ${value}\r\n`
  } else if (kind !== 'dropped' && !name.includes('_')) {
    readKnown(fields, kind, { name, value })
  }
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
    case 'accept':
    case 'userAgent':
      fields[kind] ||= value
      fields.kept += `${name}: ${value}\r\n`
      return
    default:
      fields[kind] = fields[kind] === '' ? value : `${fields[kind]}, ${value}`
  }
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
    accept: '',
    userAgent: '',
    hasControl: false,
    kept: '',
  }
}
