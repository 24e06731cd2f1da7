/** Every way the relay can refuse or fail, as one table; docs/errors.md is checked against it. */

import { type Fault, LandfallError, type LandfallErrorOptions } from '../lib/errors.ts'

const client = (status: number, title: string, next: string) =>
  ({ status, source: 'client', retryable: false, title, next, proxyStatus: 'http_request_error' }) as const

const limit = (status: number, title: string, next: string) =>
  ({ status, source: 'client', retryable: false, title, next, proxyStatus: 'http_request_denied' }) as const

const upstream = (status: number, proxyStatus: string, title: string, next: string) =>
  ({ status, source: 'upstream', retryable: true, title, next, proxyStatus }) as const

const invalid = (title: string, next: string) =>
  ({
    status: 502,
    source: 'upstream',
    retryable: false,
    title,
    next,
    proxyStatus: 'http_protocol_error',
  }) as const

export const FAULTS = {
  request_framing: client(
    400,
    'The request can be read in more than one way',
    'Send one Content-Length or Transfer-Encoding: chunked, never both, and chunked in HTTP/1.1 only.',
  ),
  request_host: client(
    400,
    'The request names no valid host',
    'Send exactly one Host field, as name or name:port.',
  ),
  request_target: client(
    400,
    'The request target is not valid',
    'Send a path that starts with a slash, with every character outside printable ASCII percent-encoded.',
  ),
  request_syntax: client(
    400,
    'The request is not valid HTTP',
    'Check the request line and each header field.',
  ),
  request_method: {
    ...client(
      405,
      'The method is not relayed',
      'Use another method; TRACE stops at the edge, and CONNECT is taken over HTTPS alone.',
    ),
    proxyStatus: 'http_request_denied',
  },
  request_version: client(505, 'The HTTP version is not spoken here', 'Send HTTP/1.1, HTTP/1.0 or HTTP/2.'),
  request_expectation: client(
    417,
    'The expectation is unknown',
    'Send Expect: 100-continue or no Expect at all.',
  ),
  request_upgrade: client(
    400,
    'The upgrade request is not valid',
    'Send a WebSocket handshake as RFC 6455 section 4.1 describes: GET, version 13, a key, no body.',
  ),
  request_loop: {
    status: 508,
    source: 'client',
    retryable: false,
    title: 'The request went round in a circle',
    next: 'Check what the VM forwards to: its own address must not lead back to itself.',
    proxyStatus: 'proxy_loop_detected',
  },
  route_unknown: {
    status: 404,
    source: 'client',
    retryable: false,
    title: 'No VM has this name',
    next: 'Check the spelling, or add a route with PUT /v1/routes/{hostname} on the admin API.',
    proxyStatus: 'destination_not_found',
  },
  route_misdirected: {
    status: 421,
    source: 'client',
    retryable: true,
    title: 'The connection was made for another name',
    next: 'Open a new connection whose TLS server name is the host that the request names.',
    proxyStatus: 'http_request_denied',
  },
  route_stopped: {
    status: 503,
    source: 'upstream',
    retryable: true,
    title: 'The VM is not running',
    next: 'Start the VM, then try again.',
    proxyStatus: 'destination_unavailable',
  },
  route_port_closed: {
    status: 502,
    source: 'upstream',
    retryable: false,
    title: 'The VM has nothing on this port',
    next: 'Check the port of the route with GET /v1/routes/{hostname} on the admin API.',
    proxyStatus: 'destination_unavailable',
  },
  route_port_unknown: {
    status: 404,
    source: 'client',
    retryable: false,
    title: 'The VM has no such port',
    next: 'Make the port known: landfall port set <vm> <port> --private.',
    proxyStatus: 'destination_not_found',
  },
  route_port_web: {
    status: 403,
    source: 'client',
    retryable: false,
    title: 'The port is reached by HTTPS alone',
    next: 'Use its URL, or have whoever runs this edge add the port to LANDFALL_TUNNEL_PORTS.',
    proxyStatus: 'http_request_denied',
  },
  wake_failed: {
    status: 502,
    source: 'upstream',
    retryable: true,
    title: 'The VM could not be woken',
    next: 'See what its host says with "landfall vm show", then start it with "landfall vm start".',
    proxyStatus: 'destination_unavailable',
  },
  wake_timeout: {
    status: 504,
    source: 'upstream',
    retryable: true,
    title: 'The VM did not wake in time',
    next: 'Try again; if it stays asleep, see what its host says with "landfall vm show".',
    proxyStatus: 'connection_timeout',
  },
  wake_unavailable: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The VM is asleep and cannot be woken now',
    next: 'Try again in a moment; the edge has lost the store through which it wakes VMs.',
    proxyStatus: 'destination_unavailable',
  },
  connect_refused: upstream(
    502,
    'connection_refused',
    'The VM refused the connection',
    'Check that a server listens on the port of the route, on an address that the edge can reach.',
  ),
  connect_timeout: upstream(
    504,
    'connection_timeout',
    'The VM did not accept the connection in time',
    'Check that the VM is up and not overloaded, then try again.',
  ),
  connect_unreachable: upstream(
    502,
    'destination_ip_unroutable',
    'The VM cannot be reached',
    'Check the address of the route and the network between edge and host.',
  ),
  upstream_reset: upstream(
    502,
    'connection_terminated',
    'The VM closed the connection before it answered',
    'Look at the log of the server in the VM, then try again.',
  ),
  upstream_incomplete: upstream(
    502,
    'http_response_incomplete',
    'The VM closed the connection in the middle of its answer',
    'Look at the log of the server in the VM, then try again.',
  ),
  upstream_timeout: upstream(
    504,
    'http_response_timeout',
    'The VM did not answer in time',
    'Make the server in the VM answer sooner, or raise LANDFALL_FIRST_BYTE_TIMEOUT_MS.',
  ),
  upstream_idle: upstream(
    504,
    'http_response_timeout',
    'The VM fell silent in the middle of its answer',
    'Send something from time to time, or raise LANDFALL_IDLE_TIMEOUT_MS.',
  ),
  upstream_invalid: invalid(
    'The VM did not answer in valid HTTP/1.1',
    'Look at what the server in the VM sends.',
  ),
  upstream_header_too_large: {
    ...invalid(
      'The header of the answer is too large',
      'Send fewer or shorter header fields, cookies first.',
    ),
    proxyStatus: 'http_response_header_section_size',
  },
  upstream_upgrade: {
    ...invalid(
      'The VM switched protocols without being asked as WebSocket wants it',
      'Check the WebSocket server in the VM.',
    ),
    proxyStatus: 'http_upgrade_failed',
  },
  limit_header_bytes: limit(
    431,
    'The request header is too large',
    'Send fewer or shorter header fields, cookies first.',
  ),
  limit_header_count: limit(431, 'The request has too many header fields', 'Send fewer header fields.'),
  limit_url: limit(414, 'The URL is too long', 'Send a shorter URL, or the data in a body.'),
  limit_slow_headers: {
    ...limit(408, 'The request header took too long', 'Send the whole header at once.'),
    retryable: true,
  },
  limit_slow_body: {
    ...limit(408, 'The request body came too slowly', 'Send the body without long pauses.'),
    retryable: true,
  },
  limit_upstream_connections: {
    ...limit(503, 'The edge has too many connections to this VM', 'Try again in a moment.'),
    source: 'upstream',
    retryable: true,
    proxyStatus: 'connection_limit_reached',
  },
  limit_wake_holds: {
    ...limit(503, 'Too many requests wait for VMs that wake', 'Try again in a moment.'),
    source: 'upstream',
    retryable: true,
    proxyStatus: 'connection_limit_reached',
  },
  limit_auth_holds: {
    ...limit(503, 'Too many requests wait until it is known who sent them', 'Try again in a moment.'),
    source: 'internal',
    retryable: true,
    proxyStatus: 'connection_limit_reached',
  },
  draining: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'This edge is going away',
    next: 'Try again at once; another edge answers.',
    proxyStatus: 'destination_unavailable',
  },
  internal_error: {
    status: 500,
    source: 'internal',
    retryable: true,
    title: 'The edge made a mistake',
    next: 'Try again; if it stays, give the request id to whoever runs this edge.',
    proxyStatus: 'proxy_internal_error',
  },
} as const satisfies Record<string, Fault>

export type FaultCode = keyof typeof FAULTS

/** A refusal or failure of the relay; `code` is a key of `FAULTS`. */
export class RelayError extends LandfallError {
  declare readonly code: FaultCode

  constructor(code: FaultCode, options: LandfallErrorOptions = {}) {
    super(code, FAULTS[code], options)
  }
}

/** What Node's socket errors mean for whoever asked; the library's error is wrapped here and nowhere else. */
export function toConnectError(cause: NodeJS.ErrnoException): RelayError {
  const code =
    cause.code === 'ECONNREFUSED'
      ? 'connect_refused'
      : cause.code === 'ETIMEDOUT'
        ? 'connect_timeout'
        : 'connect_unreachable'
  return new RelayError(code, { cause })
}

/** A VM's bytes that are not HTTP/1.1; `detail` says where reading stopped. */
export function upstreamInvalid(detail: string): RelayError {
  return new RelayError('upstream_invalid', { detail })
}
