/** Writes the request head that a VM gets: the client's end-to-end fields, then ours over anything it claimed. */

import { RelayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { findField, findList, hasToken } from './field-lines.ts'
import { OWN_AUTHORIZATION, type RequestFields } from './request-fields.ts'
import { createRequestId } from './request-id.ts'

export interface ForwardingSettings {
  /** This edge in Via. */
  readonly edgeName: string
  /** The fleet in CDN-Loop (RFC 8586): every edge of it writes the same. */
  readonly loopId: string
}

/** RFC 9110 section 5.6.4: parameters may hold commas in quotes; an open quote takes the rest, or it were quadratic. */
const QUOTED = /"(?:[^"\\]|\\.)*(?:"|$)/g
const SCHEME = /^(?:https?|wss?)$/i
const PORT = /^\d{1,5}$/
const HOST = /^[A-Za-z0-9._:[\]-]{1,260}$/
/** A VM that itself relays to another VM is legitimate; what has gone round three times is a circle. */
const MAX_ROUNDS = 3

/** @throws RelayError request_loop (RFC 8586 section 2) */
export function checkLoop(exchange: Exchange, loopId: string): void {
  const { cdnLoop } = exchange.fields
  if (cdnLoop === '') return
  const rounds = cdnLoop
    .replace(QUOTED, '')
    .split(',')
    .filter((id) => id.split(';')[0]?.trim().toLowerCase() === loopId).length
  if (rounds >= MAX_ROUNDS) throw new RelayError('request_loop')
}

/** The whole head as latin1 text, ending in an empty line. */
export function requestHead(exchange: Exchange, settings: ForwardingSettings): string {
  const { fields } = exchange
  return (
    `${exchange.isUpgrade ? 'GET' : exchange.method} ${exchange.target} HTTP/1.1\r\nhost: ${exchange.authority.text}\r\n` +
    fields.kept +
    credentialFields(exchange) +
    forwardingFields(exchange, settings) +
    framingFields(exchange)
  )
}

/** Our own pages read what the client sent; a VM learns who it is, and gets the credentials that were not for the edge. */
function credentialFields({ fields, record, rawHeaders }: Exchange): string {
  const { passage, route } = record
  if (route?.isOwn === true)
    return fields.authorizationLines + fields.proofLines + ownFieldsOf(fields, rawHeaders)
  const authorization = passage?.takes.authorization ? '' : fields.authorizationLines
  const proof = passage?.takes.proof ? '' : fields.proofLines
  return authorization + proof + fields.cookieLine + (passage?.lines ?? '')
}

/** All copies, so that the one who decides sees that there are several. */
function ownFieldsOf(
  { cookie, ownAuthorizationCount }: RequestFields,
  rawHeaders: readonly string[],
): string {
  let lines = cookie === '' ? '' : `cookie: ${cookie}\r\n`
  for (let at = 0; ownAuthorizationCount > 0 && at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === OWN_AUTHORIZATION)
      lines += `${OWN_AUTHORIZATION}: ${rawHeaders[at + 1]}\r\n`
  }
  return lines
}

function forwardingFields(exchange: Exchange, { edgeName, loopId }: ForwardingSettings): string {
  const { fields, client, id } = exchange
  const loop = fields.cdnLoop === '' ? loopId : `${fields.cdnLoop}, ${loopId}`
  const via = `${exchange.version} ${edgeName}`
  return (
    (client.isTrusted ? trustedFields(exchange, via) : ownFields(exchange, via)) +
    `cdn-loop: ${loop}\r\nx-request-id: ${id}\r\n`
  )
}

function ownFields(exchange: Exchange, via: string): string {
  const { client, authority, id } = exchange
  const proto = client.tls === undefined ? 'http' : 'https'
  return (
    `x-forwarded-for: ${client.address}\r\nx-forwarded-proto: ${proto}\r\nx-forwarded-host: ${authority.text}\r\n` +
    `x-forwarded-port: ${authority.port ?? (client.tls === undefined ? 80 : 443)}\r\n` +
    `forwarded: ${forwardedElement(exchange, proto)}\r\nvia: ${via}\r\ntraceparent: ${traceparent(id)}\r\n`
  )
}

/**
 * A configured proxy in front of the edge: its word is kept, and the edge adds itself to the lists. A list may
 * come in several lines, the attacker's before the proxy's, so all of them are read (RFC 9110 section 5.3).
 */
function trustedFields(exchange: Exchange, via: string): string {
  const { client, authority, id, rawHeaders } = exchange
  const proto =
    nearest(rawHeaders, 'x-forwarded-proto', SCHEME) ?? (client.tls === undefined ? 'http' : 'https')
  const port =
    nearest(rawHeaders, 'x-forwarded-port', PORT) ?? authority.port ?? (proto === 'http' ? 80 : 443)
  const state = findList(rawHeaders, 'tracestate')
  return (
    `x-forwarded-for: ${appended(exchange, 'x-forwarded-for', client.address)}\r\n` +
    `x-forwarded-proto: ${proto}\r\nx-forwarded-port: ${port}\r\n` +
    `x-forwarded-host: ${nearest(rawHeaders, 'x-forwarded-host', HOST) ?? authority.text}\r\n` +
    `forwarded: ${appended(exchange, 'forwarded', forwardedElement(exchange, proto))}\r\n` +
    `via: ${appended(exchange, 'via', via)}\r\n` +
    `traceparent: ${findField(rawHeaders, 'traceparent') ?? traceparent(id)}\r\n` +
    (state === undefined ? '' : `tracestate: ${state}\r\n`)
  )
}

/** The client as far as the edge can know it: the last address that a trusted proxy wrote, else the peer's. */
export function clientAddress({ client, rawHeaders }: Exchange): string {
  if (!client.isTrusted) return client.address
  return nearest(rawHeaders, 'x-forwarded-for', HOST) ?? client.address
}

/** What stands last was written by the nearest proxy; what does not have the form is not believed. */
function nearest(rawHeaders: readonly string[], name: string, form: RegExp): string | undefined {
  const last = findList(rawHeaders, name)?.split(',').at(-1)?.trim()
  return last !== undefined && form.test(last) ? last : undefined
}

function appended({ rawHeaders }: Exchange, name: string, own: string): string {
  const list = findList(rawHeaders, name)
  return list === undefined ? own : `${list}, ${own}`
}

/** RFC 7239 section 4: IPv6 addresses and hosts with a port need quotes. */
function forwardedElement({ client, authority }: Exchange, proto: string): string {
  const node = client.address.includes(':') ? `"[${client.address}]"` : client.address
  return `for=${node};host="${authority.text}";proto=${proto}`
}

/** W3C Trace Context: the request id is the trace id, its last half the parent id; a proxy's own id may not fit. */
function traceparent(id: string): string {
  const traceId = id.length === 32 ? id : createRequestId()
  return `00-${traceId}-${traceId.slice(16)}-01`
}

/** What says how the body ends, and what asks for a switch of protocols. */
function framingFields(exchange: Exchange): string {
  if (exchange.isUpgrade) return `connection: Upgrade\r\nupgrade: websocket\r\n\r\n`
  const { bodyFraming, fields } = exchange
  const length = bodyFraming === 'chunked' ? 'transfer-encoding: chunked\r\n' : lengthField(exchange)
  const expect = exchange.expectsContinue ? 'expect: 100-continue\r\n' : ''
  const te = hasToken(fields.te, 'trailers') ? 'te: trailers\r\nconnection: te\r\n' : ''
  return bodyFraming === undefined ? `${length}${te}\r\n` : `${length}${expect}${te}\r\n`
}

/** An explicit length of 0 is passed on: some servers want one with POST (RFC 9110 section 8.6). */
function lengthField({ bodyFraming, fields }: Exchange): string {
  if (bodyFraming !== undefined) return `content-length: ${bodyFraming}\r\n`
  return fields.lengthCount > 0 ? 'content-length: 0\r\n' : ''
}
