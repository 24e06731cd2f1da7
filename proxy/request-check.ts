/** Refuses requests that two parsers could read differently, before anything is decided about them. */

import { type Authority, parseAuthority } from './authority.ts'
import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { findField, hasToken } from './field-lines.ts'
import type { RequestFields } from './request-fields.ts'

export interface RequestLimits {
  readonly headerCount: number
  readonly urlBytes: number
}

/** RFC 9112 section 3.2.1 without a fragment; printable ASCII only, so that nothing is re-encoded on the way. */
const ORIGIN_FORM = /^\/[\x21\x22\x24-\x7e]*$/
const ABSOLUTE_FORM = /^https?:\/\/([^/?#]*)([/?].*)?$/i
/** TRACE would echo identity fields to scripts; SOURCE is another protocol that Node's parser takes for HTTP. */
const REFUSED_METHODS: ReadonlySet<string> = new Set(['TRACE', 'CONNECT', 'SOURCE'])
/** RFC 9113 section 8.5: a CONNECT has neither. */
const PSEUDO_OF_REQUESTS = [':scheme', ':path']
const LENGTH = /^\d{1,15}$/

/**
 * Checks framing, target and host, and fills in `exchange.authority`.
 * @throws RelayError request_framing, request_host, request_target, request_method, request_syntax, limit_…
 */
export function checkRequest(exchange: Exchange, limits: RequestLimits): void {
  const { fields } = exchange
  if (exchange.target.length > limits.urlBytes) throw new RelayError('limit_url')
  if (fields.count > limits.headerCount) throw new RelayError('limit_header_count')
  if (fields.hasControl) throw new RelayError('request_syntax', { detail: 'control character in a field' })
  if (exchange.version === 'other') throw new RelayError('request_version')
  if (REFUSED_METHODS.has(exchange.method)) checkMethod(exchange)
  if (fields.expect !== '' && fields.expect.toLowerCase() !== '100-continue')
    throw new RelayError('request_expectation')
  checkFraming(exchange)
  if (exchange.isConnect) checkConnect(exchange)
  else checkTarget(exchange)
}

/**
 * An extended CONNECT (RFC 8441) is an upgrade and passes. A plain one passes over TLS: what it carries would else
 * be told in clear, and the plain port may stand behind a proxy that reads CONNECT in its own way.
 */
function checkMethod(exchange: Exchange): void {
  if (exchange.method === 'SOURCE') throw new RelayError('request_syntax')
  const isTunnel = exchange.isConnect && exchange.client.tls !== undefined && exchange.version !== '1.0'
  if (!exchange.isUpgrade && !isTunnel) throw new RelayError('request_method')
}

/** RFC 9112 section 6.1 and 6.3: what a recipient may repair, this edge refuses. */
function checkFraming({ fields, version, bodyFraming }: Exchange): void {
  const { lengthCount, length, transferEncoding } = fields
  if (lengthCount > 1) throw new RelayError('request_framing', { detail: 'Content-Length twice' })
  if (lengthCount === 1 && !LENGTH.test(length))
    throw new RelayError('request_framing', { detail: 'Content-Length is not a number' })
  if (transferEncoding !== '') checkCoding(transferEncoding, lengthCount, version)
  if (version !== '2' && bodyFraming !== undefined && asksForWebSocket(fields)) {
    throw new RelayError('request_upgrade', { detail: 'an upgrade request with a body' })
  }
}

/** RFC 9110 section 7.8: an Upgrade that Connection does not name is no offer. */
function asksForWebSocket({ upgrade, connection }: RequestFields): boolean {
  return upgrade.toLowerCase() === 'websocket' && hasToken(connection, 'upgrade')
}

function checkCoding(coding: string, lengthCount: number, version: string): void {
  if (lengthCount > 0)
    throw new RelayError('request_framing', { detail: 'Content-Length and Transfer-Encoding' })
  if (coding.toLowerCase() !== 'chunked')
    throw new RelayError('request_framing', { detail: 'transfer coding other than chunked' })
  if (version !== '1.1')
    throw new RelayError('request_framing', { detail: `Transfer-Encoding in HTTP/${version}` })
}

/** RFC 9112 section 3.2.3 and RFC 9113 section 8.5: host and port, the same in Host, and no content. */
function checkConnect(exchange: Exchange): void {
  const { fields, version, rawHeaders } = exchange
  if (fields.lengthCount > 0 || fields.transferEncoding !== '')
    throw new RelayError('request_framing', { detail: 'CONNECT with a body' })
  const isWhole =
    version !== '2' || PSEUDO_OF_REQUESTS.every((name) => findField(rawHeaders, name) === undefined)
  if (!isWhole) throw new RelayError('request_target', { detail: 'CONNECT with :scheme or :path' })
  exchange.authority = readAuthority(exchange)
  if (version === '2') exchange.target = exchange.authority.text
  else checkAgreement(exchange.authority, parseAuthority(exchange.target))
  if (exchange.authority.port === undefined)
    throw new RelayError('request_target', { detail: 'CONNECT without a port' })
}

function checkTarget(exchange: Exchange): void {
  const { target } = exchange
  if (ORIGIN_FORM.test(target) || (target === '*' && exchange.method === 'OPTIONS')) {
    exchange.authority = readAuthority(exchange)
    return
  }
  const absolute = exchange.version === '2' ? null : ABSOLUTE_FORM.exec(target)
  if (absolute === null) throw new RelayError('request_target')
  exchange.authority = readAuthority(exchange)
  checkAgreement(exchange.authority, parseAuthority(absolute[1] ?? ''))
  exchange.target = relativeTarget(absolute[2], exchange.method)
  if (exchange.target !== '*' && !ORIGIN_FORM.test(exchange.target)) throw new RelayError('request_target')
}

/** RFC 9112 section 3.2.4: OPTIONS for a whole server ends as `*`. */
function relativeTarget(rest: string | undefined, method: string): string {
  if (rest === undefined) return method === 'OPTIONS' ? '*' : '/'
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** RFC 9112 section 3.2.2 lets the target win; two different hosts are refused here instead. */
function checkAgreement(host: Authority, target: Authority): void {
  if (host.host !== target.host || host.port !== target.port) {
    throw new RelayError('request_host', { detail: 'the target names another host than the Host field' })
  }
}

function readAuthority(exchange: Exchange): Authority {
  const { fields, client, version } = exchange
  const pseudo = version === '2' ? findField(exchange.rawHeaders, ':authority') : undefined
  if (fields.hostCount > 1) throw new RelayError('request_host', { detail: 'Host twice' })
  const text = pseudo ?? fields.host
  if (client.lastAuthority?.text !== text || text === '') client.lastAuthority = parseAuthority(text)
  const authority = client.lastAuthority
  if (pseudo !== undefined && fields.hostCount === 1) checkAgreement(authority, parseAuthority(fields.host))
  return authority
}
