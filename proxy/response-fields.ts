/** What of a VM's response header goes on to the client: end-to-end fields, and ours. */

import type { Exchange } from './exchange.ts'
import { joinFields, toTokens } from './field-lines.ts'
import { markPrivate } from './private-caching.ts'
import { isOwnCookie, isOwnName } from './request-fields.ts'
import type { ResponseHead } from './response-parser.ts'

/** RFC 9110 section 7.6.1; Upgrade and HTTP2-Settings would also make Node's HTTP/2 side throw. */
const DROPPED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'x-request-id',
  'via',
])

/** RFC 9110 section 6.5.1: fields that frame, route or authenticate mean nothing in a trailer. */
const NEVER_TRAILERS: ReadonlySet<string> = new Set([
  ...DROPPED,
  'content-length',
  'host',
  'trailer',
  'content-encoding',
  'content-type',
  'content-range',
  'cache-control',
  'expect',
  'max-forwards',
  'pragma',
  'range',
  'authorization',
  'proxy-authorization',
  'dpop',
  'set-cookie',
  'cookie',
  'age',
  'date',
  'location',
  'cdn-loop',
  'forwarded',
  'traceparent',
  'tracestate',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
])

/** Names (lower case for HTTP/2) and values, alternating. */
export function responseFields(head: ResponseHead, exchange: Exchange, edgeName: string): string[] {
  const fields = endToEnd(head, exchange)
  markPrivate(fields, exchange)
  fields.push('via', `1.1 ${edgeName}`, 'x-request-id', exchange.id)
  return fields
}

/** The same for a 1xx response, which carries nothing of ours. */
export function informFields(head: ResponseHead, exchange: Exchange): string[] {
  return endToEnd(head, exchange)
}

function endToEnd(head: ResponseHead, { version, record }: Exchange): string[] {
  const { headers, names } = head
  const fields: string[] = []
  const nominated = findNominated(head)
  for (let at = 0; at < names.length; at += 1) {
    const name = names[at] ?? ''
    const value = headers[at * 2 + 1] ?? ''
    if (DROPPED.has(name) || nominated?.has(name) || isOutOfPlace(name, head, version)) continue
    if (name === 'set-cookie' && isOwnCookie(value) && record.route?.isOwn !== true) continue
    fields.push(version === '2' ? name : (headers[at * 2] ?? ''), value)
  }
  return fields
}

/** Fields that the VM may write but that break this client: Node throws for the one, HTTP/2 resets for the other. */
function isOutOfPlace(name: string, { status, framing }: ResponseHead, version: string): boolean {
  // RFC 9110 section 6.6.2: a hint, but of no use where no trailers can follow.
  if (name === 'trailer') return framing !== 'chunked' || version === '1.0'
  // RFC 9110 section 8.6 forbids it with 1xx and 204; a 205 has no content over HTTP/2.
  if (name === 'content-length') return status < 200 || status === 204 || (status === 205 && version === '2')
  return false
}

function findNominated({ headers, names }: Pick<ResponseHead, 'headers' | 'names'>): Set<string> | undefined {
  const value = joinFields({ headers, names }, 'connection')
  if (value === '' || value === ',keep-alive' || value === ',close') return undefined
  return new Set(toTokens(value))
}

/** Trailer fields that may be passed on, in either direction. */
export function trailerFields(trailers: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at + 1 < trailers.length; at += 2) {
    const name = (trailers[at] ?? '').toLowerCase()
    const key = name.replaceAll('_', '-')
    if (NEVER_TRAILERS.has(key) || name.startsWith(':') || isOwnName(key)) continue
    kept.push(name, trailers[at + 1] ?? '')
  }
  return kept
}
