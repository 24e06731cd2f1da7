/**
 * The attacker (or a lost user) makes the edge answer by itself in every way there is. Each answer must say the same
 * thing everywhere: a status, a Proxy-Status of RFC 9209, a problem of RFC 9457 with a next step, one request id in
 * field, body and log. None may tell what is inside: no address of a VM, no stack, no path of this machine.
 */

import t, { type Test } from 'tap'
import { type AttackedEdge, attackedEdgeFor } from '../helpers/attacked-edge.ts'
import { fullPortFor } from '../helpers/connect-faults.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole, type RawAnswer } from '../helpers/raw-client.ts'
import { putTestRoute } from '../helpers/route.ts'
import { upgradeRequest } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const BAD = 'bad.localhost'
const CLOSED = 'closed.localhost'
const FULL = 'full.localhost'
const PRIVATE = 'private.localhost'

const get = (host: string, path = '/', extra = '') => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${extra}\r\n`

interface Case {
  readonly code: string
  readonly status: number
  /** RFC 9209 section 2.3. */
  readonly type: string
  readonly request: string
}

const CASES: readonly Case[] = [
  {
    ...{ code: 'request_framing', status: 400, type: 'http_request_error' },
    request: get(BAD, '/', 'Content-Length: 1\r\nContent-Length: 1\r\n'),
  },
  { code: 'request_host', status: 400, type: 'http_request_error', request: get('a b') },
  { code: 'request_target', status: 400, type: 'http_request_error', request: get(BAD, '/x#y') },
  { code: 'request_syntax', status: 400, type: 'http_request_error', request: get(BAD, '/', 'X : y\r\n') },
  {
    code: 'request_method',
    status: 405,
    type: 'http_request_denied',
    request: get(BAD).replace('GET', 'TRACE'),
  },
  {
    code: 'request_version',
    status: 505,
    type: 'http_request_error',
    request: get(BAD).replace('1.1', '0.9'),
  },
  {
    code: 'request_expectation',
    status: 417,
    type: 'http_request_error',
    request: get(BAD, '/', 'Expect: tea\r\n'),
  },
  {
    ...{ code: 'request_upgrade', status: 400, type: 'http_request_error' },
    request: upgradeRequest(BAD).replace('Version: 13', 'Version: 7'),
  },
  {
    ...{ code: 'request_loop', status: 508, type: 'proxy_loop_detected' },
    request: get(BAD, '/', 'CDN-Loop: localhost, localhost, localhost\r\n'),
  },
  { code: 'route_unknown', status: 404, type: 'destination_not_found', request: get('nobody.localhost') },
  { code: 'auth_required', status: 401, type: 'http_request_denied', request: get(PRIVATE) },
  { code: 'route_stopped', status: 503, type: 'destination_unavailable', request: get('off.localhost') },
  { code: 'route_port_closed', status: 502, type: 'destination_unavailable', request: get('on.localhost') },
  { code: 'connect_refused', status: 502, type: 'connection_refused', request: get(CLOSED) },
  { code: 'connect_timeout', status: 504, type: 'connection_timeout', request: get(FULL) },
  { code: 'upstream_reset', status: 502, type: 'connection_terminated', request: get(BAD, '/reset') },
  {
    code: 'upstream_incomplete',
    status: 502,
    type: 'http_response_incomplete',
    request: get(BAD, '/partial'),
  },
  { code: 'upstream_timeout', status: 504, type: 'http_response_timeout', request: get(BAD, '/silent') },
  { code: 'upstream_invalid', status: 502, type: 'http_protocol_error', request: get(BAD, '/garbage') },
  {
    ...{ code: 'upstream_header_too_large', status: 502, type: 'http_response_header_section_size' },
    request: get(BAD, '/large'),
  },
  { code: 'upstream_upgrade', status: 502, type: 'http_upgrade_failed', request: get(BAD, '/switch') },
  {
    code: 'limit_url',
    status: 414,
    type: 'http_request_denied',
    request: get(BAD, `/${'a'.repeat(20_000)}`),
  },
  {
    ...{ code: 'limit_header_bytes', status: 431, type: 'http_request_denied' },
    request: get(BAD, '/', `X-A: ${'a'.repeat(40_000)}\r\n`),
  },
  {
    ...{ code: 'limit_header_count', status: 431, type: 'http_request_denied' },
    request: get(BAD, '/', 'X-A: b\r\n'.repeat(100)),
  },
  {
    ...{ code: 'limit_slow_body', status: 408, type: 'http_request_denied' },
    request: get(BAD, '/silent', 'Content-Length: 5\r\n').replace('GET', 'POST'),
  },
  {
    code: 'limit_slow_headers',
    status: 408,
    type: 'http_request_denied',
    request: 'GET / HTTP/1.1\r\nHost: a',
  },
]

/** What the VM does, by path. */
const MISDEEDS: Readonly<Record<string, string>> = {
  '/partial': 'HTTP/1.1 200 OK\r\nContent-Le',
  '/garbage': 'ICY 200 OK\r\n\r\n',
  '/large': `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(200_000)}\r\n\r\n`,
  '/switch': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
}

async function misbehavingEdge(t: Test): Promise<AttackedEdge> {
  const edge = await attackedEdgeFor(t, {
    LANDFALL_FIRST_BYTE_TIMEOUT_MS: '2000',
    LANDFALL_BODY_IDLE_TIMEOUT_MS: '300',
    LANDFALL_CONNECT_TIMEOUT_MS: '1000',
    LANDFALL_HEADERS_TIMEOUT_MS: '1000',
  })
  const vm = await rawOriginFor(t, (socket, received) => {
    const path = /^[A-Z]+ (\S+) /.exec(received)?.[1] ?? ''
    if (path === '/reset') socket.resetAndDestroy()
    else if (path !== '/silent') socket.end(MISDEEDS[path] ?? 'HTTP/1.1 204 No Content\r\n\r\n')
  })
  const upstream = { host: '127.0.0.1', port: vm.port }
  await putTestRoute(edge.store, { hostname: PRIVATE, upstream })
  const down = { visibility: 'public', port: 8_000, generation: 1 } as const
  await putTestRoute(edge.store, { ...down, hostname: 'off.localhost', vm: 'off', state: 'stopped' })
  await putTestRoute(edge.store, { ...down, hostname: 'on.localhost', vm: 'on' })
  await edge.route(CLOSED, 1)
  await edge.route(FULL, await fullPortFor(t))
  // Waits until the edge knows of this one, and so of all before it.
  await edge.route(BAD, vm.port)
  return edge
}

/** All that the edge wrote to its logs about the request with this id, as text. */
function loggedAbout(edge: AttackedEdge, requestId: string): string[] {
  return [...edge.accessLog, ...edge.logged]
    .map((line) => JSON.stringify(line))
    .filter((line) => line.includes(requestId))
}

function checkProblem(t: Test, answer: RawAnswer, { code, status }: Case): void {
  const problem = JSON.parse(answer.body)
  t.match(problem, {
    type: `/.landfall/errors#${code}`,
    title: /^[A-Z]/,
    status,
    code,
    next: /^[A-Z].*\.$/s,
    requestId: answer.headers['x-request-id'],
  })
  t.type(problem.retryable, 'boolean')
  t.equal(answer.headers['content-type'], 'application/problem+json')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal(Number(answer.headers['content-length']), answer.body.length)
  t.notMatch(
    answer.text,
    /127\.0\.0\.1|\.ts\b|\/(work|home|usr|tmp)\/|node:|Error:| {4}at /,
    'nothing from inside',
  )
}

t.test('says the same in status, Proxy-Status, problem and log, whatever is wrong', async (t) => {
  const edge = await misbehavingEdge(t)
  for (const one of CASES) {
    await t.test(one.code, async (t) => {
      const answer = await exchange(await edge.dialPlain(), one.request, isWhole)
      t.equal(answer.status, one.status)
      t.equal(answer.headers['proxy-status'], `landfall; error=${one.type}; details="${one.code}"`)
      const requestId = answer.headers['x-request-id'] ?? ''
      t.match(requestId, /^[0-9a-f]{32}$/)
      checkProblem(t, answer, one)
      await until(
        () => loggedAbout(edge, requestId).length > 0,
        'a line in the log with the request id',
        2_000,
      )
      const lines = loggedAbout(edge, requestId)
      t.equal(lines.length, 1, 'one line')
      t.match(lines[0], one.code)
    })
  }
})

t.test('counts each of them by its code', async (t) => {
  const edge = await misbehavingEdge(t)
  for (const { request } of CASES.filter(({ code }) => /^(request|route)_/.test(code))) {
    await exchange(await edge.dialPlain(), request, isWhole)
  }
  const metrics = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  for (const { code } of CASES.filter(({ code }) => /^(request|route)_/.test(code))) {
    t.match(metrics, new RegExp(`^edge_errors_total\\{code="${code}"\\} 1$`, 'm'), code)
  }
})

t.test('sends no body in answer to HEAD, but the same fields', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await edge.dialPlain()
  const request = get('nobody.localhost').replace('GET', 'HEAD')
  const { text } = await exchange(socket, request + get('app.localhost', '/', 'Connection: close\r\n'))
  const [head = '', next = ''] = text.split(/\r\n\r\n(?=HTTP)/)
  t.match(head, /^HTTP\/1\.1 404 /)
  t.match(head, /^content-length: [1-9]/im)
  t.match(head, /^proxy-status: landfall; error=destination_not_found/im)
  t.match(next, /^HTTP\/1\.1 200 /, 'the next answer follows the head at once')
})

t.test('tells what may be tried again, and when', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_MAX_UPSTREAM_CONNECTIONS: '1' })
  const silent = await rawOriginFor(t, () => {})
  await edge.route(BAD, silent.port)
  const first = await edge.dialPlain()
  first.write(get(BAD))
  await until(() => silent.sockets.length === 1, 'the first request at the VM')
  const answer = await exchange(await edge.dialPlain(), get(BAD), isWhole)
  t.match(answer, {
    status: 503,
    headers: { 'retry-after': /^\d+$/, 'proxy-status': /connection_limit_reached/ },
  })
  t.match(JSON.parse(answer.body), { code: 'limit_upstream_connections', retryable: true })
})
