/** One JSON line per request; queries, cookies and tokens are left out because logs travel further than requests. */

import type { Exchange } from './exchange.ts'

/** Where lines go: pino's destination fits. */
export interface LineWriter {
  write(line: string): unknown
}

const PROTOCOLS = { '1.0': 'HTTP/1.0', '1.1': 'HTTP/1.1', '2': 'HTTP/2.0', other: 'other' } as const
const PINO_INFO = 30
/** Text that is the same inside JSON quotes. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/**
 * Field names follow Caddy's access log, so that its readers read ours. The line has pino's shape and goes to
 * pino's destination, but is put together here: pino's serializer costs 3.5 µs for these fields, this 0.6 µs.
 */
export function createAccessLog(
  destination: LineWriter,
): (exchange: Exchange, durationSeconds: number) => void {
  return (exchange, durationSeconds) => {
    const { record } = exchange
    destination.write(
      `{"level":${PINO_INFO},"time":${Date.now()},"logger":"access","request_id":${quote(exchange.id)},` +
        `"request":${requestFacts(exchange)},"status":${record.status},"size":${record.bytesOut},` +
        `"bytes_in":${record.bytesIn},"duration":${round(durationSeconds)}` +
        text('vm', record.route?.vm) +
        upstreamFacts(exchange) +
        text('tls', exchange.client.tls?.version) +
        text('error_code', record.errorCode) +
        text('error_detail', record.errorDetail) +
        text('close_reason', record.closeReason) +
        ',"msg":"request"}\n',
    )
  }
}

function requestFacts({ client, version, method, authority, target, fields }: Exchange): string {
  return (
    `{"remote_ip":"${client.address}","proto":"${PROTOCOLS[version]}","method":${quote(method)},` +
    `"host":${quote(authority.host)},"uri":${quote(withoutQuery(target))}${text('user_agent', fields.userAgent)}}`
  )
}

function upstreamFacts({ record }: Exchange): string {
  if (record.upstreamReused === undefined) return ''
  const { upstream } = record.route ?? {}
  const address = upstream === undefined ? 'inside' : `${upstream.host}:${upstream.port}`
  return (
    `,"upstream":{"addr":"${address}","reused":${record.upstreamReused},"retries":${record.retries}` +
    `${milliseconds('connect_ms', record.upstreamConnectMs)}${milliseconds('ttfb_ms', record.upstreamFirstByteMs)}}`
  )
}

/** A member of an object, left out when there is nothing to say. */
function text(name: string, value: string | undefined): string {
  return value === undefined || value === '' ? '' : `,"${name}":${quote(value)}`
}

function milliseconds(name: string, value: number | undefined): string {
  return value === undefined ? '' : `,"${name}":${round(value)}`
}

function quote(value: string): string {
  return PLAIN.test(value) ? `"${value}"` : JSON.stringify(value)
}

function withoutQuery(target: string): string {
  const at = target.indexOf('?')
  return at < 0 ? target : target.slice(0, at)
}

/** Microseconds are enough. */
function round(value: number): number {
  return Math.round(value * 1e6) / 1e6
}
