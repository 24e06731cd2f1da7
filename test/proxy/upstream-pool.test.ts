/** The pool of upstream connections: who may share one, how long it stays, and what makes it unfit for another request. */

import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { RelayError } from '../../proxy/errors.ts'
import type { ResponseHead } from '../../proxy/response-parser.ts'
import type { RelayRoute } from '../../proxy/upstream.ts'
import type { ConnectionUser, UpstreamConnection } from '../../proxy/upstream-connection.ts'
import { type AcquireOptions, UpstreamPool } from '../../proxy/upstream-pool.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const ANY: AcquireOptions = { isFresh: false, isRaw: false }
const CONTEXT = { method: 'GET', isUpgrade: false }
const REQUEST = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

const nothing = () => {}
const SILENT: ConnectionUser = {
  ...{ inform: nothing, head: nothing, data: nothing, end: nothing, upgraded: nothing },
  ...{ onConnected: nothing, onWritable: nothing, onReadEnd: nothing, onFailed: nothing },
}

/** A VM that answers each request with `answer`. */
async function vmFor(t: Test, answer: string | ((socket: Socket) => void) = OK) {
  const vm = await rawOriginFor(t, (socket) => {
    if (typeof answer === 'string') socket.write(answer, 'latin1')
    else answer(socket)
  })
  const { port } = vm
  const routeOf = (more: Partial<RelayRoute> = {}): RelayRoute => ({
    ...{ hostname: 'a.test', visibility: 'public', state: 'running', generation: 1, vm: 'a' },
    upstream: { host: '127.0.0.1', port },
    ...more,
  })
  return { ...vm, routeOf }
}

function poolFor(t: Test, upstreamConnections = 10): UpstreamPool {
  const pool = new UpstreamPool({ upstreamConnections })
  t.teardown(() => pool[Symbol.dispose]())
  return pool
}

interface Sent {
  readonly connection: UpstreamConnection
  readonly head: ResponseHead | undefined
  readonly error: RelayError | undefined
}

/** Sends one request and gives the connection back when the response has ended. */
async function send(pool: UpstreamPool, route: RelayRoute, options = ANY): Promise<Sent> {
  let head: ResponseHead | undefined
  let error: RelayError | undefined
  let isOver = false
  const user: ConnectionUser = {
    ...SILENT,
    onConnected: () => connection.send(REQUEST, CONTEXT),
    onFailed(fault) {
      error = fault
      isOver = true
    },
    head: (given) => {
      head = given
    },
    end() {
      if (head !== undefined) connection.release(head)
      isOver = true
    },
  }
  const connection = pool.acquire(route, user, options)
  if (!connection.isConnecting) connection.send(REQUEST, CONTEXT)
  await until(() => isOver, 'a response')
  return { connection, head, error }
}

/** Moves the pool's clock. */
function wait(pool: UpstreamPool, ms: number): void {
  pool.checkDeadlines(performance.now() + ms)
}

t.test('uses a connection again', async (t) => {
  const pool = poolFor(t)
  const vm = await vmFor(t)
  const route = vm.routeOf()
  const first = await send(pool, route)
  const second = await send(pool, route)
  t.equal(second.connection, first.connection)
  t.equal(second.connection.isReused, true)
  t.equal(vm.sockets.length, 1)
  t.equal(pool.openConnections, 1)
})

t.test('dials anew for two requests at a time, after a stale one, and for a tunnel', async (t) => {
  const pool = poolFor(t)
  const vm = await vmFor(t)
  const [one, other] = await Promise.all([send(pool, vm.routeOf()), send(pool, vm.routeOf())])
  t.not(one.connection, other.connection, 'at a time')
  const fresh = await send(pool, vm.routeOf(), { ...ANY, isFresh: true })
  t.equal(fresh.connection.isReused, false)
  const raw = await send(pool, vm.routeOf(), { ...ANY, isRaw: true })
  t.equal(raw.connection.isReused, false)
  t.equal(vm.sockets.length, 4)
})

t.test('shares connections between the names of one VM', async (t) => {
  const pool = poolFor(t)
  const vm = await vmFor(t)
  await send(pool, vm.routeOf({ hostname: 'a.test' }))
  await send(pool, vm.routeOf({ hostname: 'www.custom.example' }))
  t.equal(vm.sockets.length, 1)
})

t.test('does not share them between generations, VMs, addresses or with a bare upstream', async (t) => {
  const pool = poolFor(t)
  const vm = await vmFor(t)
  const other = await vmFor(t)
  const { vm: _, ...bare } = vm.routeOf()
  const routes = [
    vm.routeOf(),
    vm.routeOf({ generation: 2 }),
    vm.routeOf({ vm: 'b' }),
    { ...vm.routeOf(), ...{ upstream: { host: '127.0.0.1', port: other.port } } },
    bare,
  ]
  for (const route of routes) await send(pool, route)
  t.equal(vm.sockets.length + other.sockets.length, routes.length)
})

t.test('does not go back to an older generation', async (t) => {
  const pool = poolFor(t)
  const vm = await vmFor(t)
  await send(pool, vm.routeOf({ generation: 1 }))
  await send(pool, vm.routeOf({ generation: 2 }))
  const { connection } = await send(pool, vm.routeOf({ generation: 2 }))
  t.equal(connection.isReused, true)
  t.equal(vm.received[0], REQUEST, 'the first connection had one request')
})

const IDLE: readonly (readonly [name: string, field: string, keptMs: number, closedMs: number])[] = [
  ['4 s without a hint', '', 3_000, 4_100],
  ['a second less than the hint', 'keep-alive: timeout=10, max=100\r\n', 8_000, 9_100],
  ['the hint in capitals', 'Keep-Alive: TIMEOUT=3\r\n', 1_000, 2_100],
  ['at most a minute', 'keep-alive: timeout=99999\r\n', 59_000, 60_100],
  ['4 s for a hint that is none', 'keep-alive: max=5\r\n', 3_000, 4_100],
]

t.test('closes what stayed idle for too long', async (t) => {
  for (const [name, field, keptMs, closedMs] of IDLE) {
    const pool = poolFor(t)
    const vm = await vmFor(t, OK.replace('\r\n\r\n', `\r\n${field}\r\n`))
    await send(pool, vm.routeOf())
    wait(pool, keptMs)
    t.equal(pool.openConnections, 1, `${name}: kept`)
    wait(pool, closedMs)
    t.equal(pool.openConnections, 0, `${name}: closed`)
    t.equal((await send(pool, vm.routeOf())).error, undefined, `${name}: and a new one can be had`)
  }
})

t.test('a hint of a second or less closes at the next look', async (t) => {
  for (const seconds of [0, 1]) {
    const pool = poolFor(t)
    const vm = await vmFor(t, OK.replace('\r\n\r\n', `\r\nkeep-alive: timeout=${seconds}\r\n\r\n`))
    await send(pool, vm.routeOf())
    wait(pool, 0)
    t.equal(pool.openConnections, 0)
  }
})

t.test('never closes a connection in use for being old', async (t) => {
  const pool = poolFor(t)
  const vm = await vmFor(t, (socket) => void setTimeout(() => socket.write(OK), 50))
  const sending = send(pool, vm.routeOf())
  await until(() => vm.sockets.length === 1, 'a connection')
  wait(pool, 3_600_000)
  t.equal((await sending).error, undefined)
})

t.test('opens no more connections to one upstream than allowed, but as many to the next', async (t) => {
  const pool = poolFor(t, 2)
  const vm = await vmFor(t, () => {})
  const other = await vmFor(t)
  for (const _ of [1, 2]) pool.acquire(vm.routeOf(), SILENT, { ...ANY, isRaw: true })
  t.throws(() => pool.acquire(vm.routeOf(), SILENT, ANY), { code: 'limit_upstream_connections' })
  t.equal((await send(pool, other.routeOf())).error, undefined, 'another upstream')
  t.equal((await send(pool, other.routeOf())).connection.isReused, true)
  t.equal(pool.openConnections, 3)
})

t.test('an idle connection does not count against the limit: it is used', async (t) => {
  const pool = poolFor(t, 1)
  const vm = await vmFor(t)
  for (const _ of [1, 2, 3]) t.equal((await send(pool, vm.routeOf())).error, undefined)
})

t.test('a VM without the port is told at once', async (t) => {
  const { upstream: _, ...closed } = (await vmFor(t)).routeOf()
  t.throws(() => poolFor(t).acquire(closed, SILENT, ANY), { code: 'route_port_closed' })
})

/** What comes behind a response, in the same read or in one of its own. */
const UNSOLICITED = ['x', '\r\n', '\0', OK, 'HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n']

t.test('gives up a connection on which something came that nobody asked for', async (t) => {
  for (const bytes of UNSOLICITED) {
    const pool = poolFor(t)
    const vm = await vmFor(t, OK + bytes)
    t.equal((await send(pool, vm.routeOf())).error, undefined, 'the response itself was whole')
    t.equal(pool.openConnections, 0, `${JSON.stringify(bytes)} in the same read`)

    const late = await vmFor(t)
    const { connection } = await send(pool, late.routeOf())
    late.sockets[0]?.write(bytes, 'latin1')
    await until(() => pool.openConnections === 0, `${JSON.stringify(bytes)} later`)
    t.not((await send(pool, late.routeOf())).connection, connection)
  }
})

const LAST: readonly (readonly [name: string, answer: string])[] = [
  ['Connection: close', OK.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n')],
  ['HTTP/1.0', OK.replace('1.1', '1.0')],
]

t.test('forgets a connection that its upstream closed', async (t) => {
  for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
    const pool = poolFor(t)
    const vm = await vmFor(t)
    await send(pool, vm.routeOf())
    vm.sockets[0]?.[how]()
    await until(() => pool.openConnections === 0, how)
    t.equal((await send(pool, vm.routeOf())).error, undefined, `${how}: the next request gets its answer`)
  }
})

t.test('a response that ends the connection says so to its user', async (t) => {
  for (const [name, answer] of LAST) {
    const { head } = await send(poolFor(t), (await vmFor(t, answer)).routeOf())
    t.equal(head?.keepAlive, false, name)
  }
})

t.test('tells its user when the upstream refuses, resets or sends nonsense', async (t) => {
  const pool = poolFor(t)
  const nobody = { ...(await vmFor(t)).routeOf(), upstream: { host: '127.0.0.1', port: 1 } }
  t.match((await send(pool, nobody)).error, { code: 'connect_refused' })
  const resetting = await vmFor(t, (socket) => socket.resetAndDestroy())
  t.match((await send(pool, resetting.routeOf())).error, { code: 'upstream_reset' })
  const closing = await vmFor(t, (socket) => socket.end())
  t.match((await send(pool, closing.routeOf())).error, { code: 'upstream_reset' })
  const halting = await vmFor(t, (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel'))
  t.match((await send(pool, halting.routeOf())).error, { code: 'upstream_incomplete' })
  const babbling = await vmFor(t, 'SSH-2.0\r\n')
  t.match((await send(pool, babbling.routeOf())).error, { code: 'upstream_invalid' })
  t.equal(pool.openConnections, 0, 'and keeps none of these')
})

t.test('closes everything with itself', async (t) => {
  const pool = poolFor(t)
  const vm = await vmFor(t)
  await Promise.all([send(pool, vm.routeOf()), send(pool, vm.routeOf())])
  pool[Symbol.dispose]()
  await until(() => vm.sockets.every((socket) => socket.destroyed || socket.readableEnded), 'closed sockets')
  t.equal(pool.openConnections, 0)
})
