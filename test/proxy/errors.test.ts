/** The tables of errors: families, statuses, whose fault, and RFC 9209 types that fit each other. */

import t from 'tap'
import { FAULTS as ACME } from '../../acme/errors.ts'
import { FAULTS as AUTH } from '../../auth/errors.ts'
import type { Fault } from '../../lib/errors.ts'
import { FAULTS, type FaultCode, RelayError, toConnectError } from '../../proxy/errors.ts'
import { FAULTS as ROUTING } from '../../routing/errors.ts'
import { FAULTS as SIDECAR } from '../../sidecar/errors.ts'

const RELAY: Readonly<Record<string, Fault>> = FAULTS
const ALL: Readonly<Record<string, Fault>> = { ...FAULTS, ...ROUTING, ...AUTH, ...ACME, ...SIDECAR }
const FAMILIES = ['request', 'route', 'wake', 'connect', 'upstream', 'limit', 'internal', 'draining']

/** RFC 9209 section 2.3, with the statuses that mean the same. */
const PROXY_STATUS: Readonly<Record<string, readonly number[]>> = {
  connection_limit_reached: [503],
  connection_refused: [502],
  connection_terminated: [502],
  connection_timeout: [504],
  destination_ip_unroutable: [502],
  destination_not_found: [404],
  destination_unavailable: [502, 503],
  http_protocol_error: [502],
  http_request_denied: [401, 403, 405, 408, 413, 414, 421, 429, 431],
  http_request_error: [400, 417, 505],
  http_response_header_section_size: [502],
  http_response_incomplete: [502],
  http_response_timeout: [504],
  http_upgrade_failed: [502],
  proxy_internal_error: [500],
  proxy_loop_detected: [508],
  tls_certificate_error: [503],
}

t.test('every code of the relay belongs to a family', async (t) => {
  for (const code of Object.keys(RELAY)) t.ok(FAMILIES.includes(code.split('_')[0] ?? ''), code)
})

t.test('every family has a code', async (t) => {
  for (const family of FAMILIES)
    t.ok(
      Object.keys(RELAY).some((code) => code === family || code.startsWith(`${family}_`)),
      family,
    )
})

t.test('no code stands in two tables', async (t) => {
  const tables = [FAULTS, ROUTING, AUTH, ACME, SIDECAR]
  t.equal(tables.flatMap((table) => Object.keys(table)).length, Object.keys(ALL).length)
})

t.test('codes are tokens and texts are sentences', async (t) => {
  for (const [code, { title, next }] of Object.entries(ALL)) {
    t.match(code, /^[a-z]+(_[a-z]+)*$/, code)
    t.match(title, /^[A-Z].*[^.]$/, `${code}: title without a full stop`)
    t.match(next, /^[A-Z].*\.$/s, `${code}: next step with a full stop`)
  }
})

t.test('the relay says a Proxy-Status type for each error, and status and type agree', async (t) => {
  for (const [code, { proxyStatus, status }] of Object.entries(RELAY))
    t.ok(PROXY_STATUS[proxyStatus ?? '']?.includes(status), `${code}: ${status} ${proxyStatus}`)
  for (const [code, { proxyStatus, status }] of Object.entries(ALL))
    if (proxyStatus !== undefined)
      t.ok(PROXY_STATUS[proxyStatus]?.includes(status), `${code}: ${status} ${proxyStatus}`)
})

t.test('a status says whose fault it is', async (t) => {
  for (const [code, { source, status }] of Object.entries(ALL)) {
    const isClientStatus = (status >= 400 && status < 500) || status === 505 || status === 508
    t.equal(source === 'client', isClientStatus, `${code}: ${status} is the ${source}'s fault`)
    if (status === 502 || status === 504) t.equal(source, 'upstream', `${code}: ${status}`)
    if (status === 500) t.equal(source, 'internal', `${code}: ${status}`)
  }
})

t.test('a timeout of the VM is 504, any other failure of it is not', async (t) => {
  for (const [code, { status, proxyStatus }] of Object.entries(RELAY))
    t.equal(status === 504, proxyStatus?.endsWith('_timeout') ?? false, code)
})

t.test('each family keeps to its statuses', async (t) => {
  const statuses: Readonly<Record<string, RegExp>> = {
    request: /^(400|405|417|505|508)$/,
    route: /^(403|404|421|502|503)$/,
    wake: /^(502|503|504)$/,
    connect: /^(502|504)$/,
    upstream: /^(502|504)$/,
    limit: /^(408|413|414|429|431|503)$/,
    internal: /^500$/,
    draining: /^503$/,
  }
  for (const [code, { status }] of Object.entries(RELAY))
    t.match(String(status), statuses[code.split('_')[0] ?? ''] ?? /never/, code)
})

t.test('an error of the relay carries its fault, and shows no more than that', async (t) => {
  const cause = new Error('secret')
  const error = new RelayError('connect_refused', { cause, context: { errno: 'ECONNREFUSED' } })
  t.match(error, {
    code: 'connect_refused',
    fault: FAULTS.connect_refused,
    message: FAULTS.connect_refused.title,
    cause,
  })
  t.equal(error.detail, undefined)
})

t.test('tells the ways apart in which a connection fails', async (t) => {
  const codes: readonly (readonly [errno: string | undefined, code: FaultCode])[] = [
    ['ECONNREFUSED', 'connect_refused'],
    ['ETIMEDOUT', 'connect_timeout'],
    ['EHOSTUNREACH', 'connect_unreachable'],
    ['ENETUNREACH', 'connect_unreachable'],
    ['ENOTFOUND', 'connect_unreachable'],
    ['EADDRNOTAVAIL', 'connect_unreachable'],
    [undefined, 'connect_unreachable'],
  ]
  for (const [errno, code] of codes) {
    const cause = Object.assign(new Error('x'), errno === undefined ? {} : { code: errno })
    t.match(toConnectError(cause), { code, cause }, errno ?? 'no errno')
  }
})
