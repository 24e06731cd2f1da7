/** 10,000 routes come over the admin API while 200 clients stream: no stream notices, and each new name is served at once. */

import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectH2 } from 'node:http2'
import { Agent } from 'node:https'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { adminCallOf } from '../helpers/admin-call.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { lostTimeFor } from '../helpers/lost-time.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const ROUTES = 10_000
const STREAMS = 200
/** Writers at the same time, each on a connection of its own. */
const WRITERS = 8
const TICK_MS = 100

const nameOf = (index: number) => `app-${index}.localhost`

t.test('no stream is disturbed by 10,000 new routes, and each of them is served', async (t) => {
  const origin = await originFor(t, (request, response) => response.end(`host ${request.headers.host}`))
  const landfall = await landfallFor(t, { env: { LANDFALL_ACCESS_LOG: 'off', LANDFALL_API_RATE: '100000' } })
  const streams = await Promise.all(
    Array.from({ length: STREAMS }, (_unused, index) =>
      index % 2 === 0 ? tickOverH1(t, landfall) : tickOverH2(t, landfall),
    ),
  )
  await until(() => streams.every(({ ticks }) => ticks > 0), 'every stream has begun')
  const lostMs = lostTimeFor(t)
  const startedAt = performance.now()
  await addRoutes(t, landfall, origin.port)
  const seconds = (performance.now() - startedAt) / 1_000
  t.comment(`${ROUTES} routes in ${seconds.toFixed(1)} s, ${Math.round(ROUTES / seconds)} a second`)
  const grant = { to: { kind: 'user', value: 'ann' }, role: 'viewer' }
  const rewritten = await landfall.admin('PUT', '/v1/vms/hello/grants/ann', grant)
  t.equal(rewritten.status, 201, 'the row that they stream through is written anew as well')
  const before = streams.map(({ ticks }) => ticks)
  await checkLookUps(t, landfall)
  await until(
    () => streams.every(({ ticks }, index) => ticks > (before[index] ?? 0) + 5),
    'every stream goes on',
  )
  t.same(
    streams.filter(({ fault }) => fault !== '').map(({ fault }) => fault),
    [],
    'no stream ended or missed a tick',
  )
  // The VM ticks through; a client that was held up for long would lag behind it.
  const longest = Math.max(...streams.map(({ longestGapMs }) => longestGapMs))
  t.comment(`the longest pause between two ticks was ${Math.round(longest)} ms`)
  t.ok(longest < 2_000 + lostMs(), 'and none was held up')
  const metrics = await (await fetch(`http://127.0.0.1:${landfall.opsPort}/metrics`)).text()
  t.ok(Number(/^landfall_table_rows (\d+)/m.exec(metrics)?.[1]) > ROUTES)
})

async function addRoutes(t: Test, landfall: Landfall, port: number): Promise<void> {
  const wanted = { upstream: `127.0.0.1:${port}`, visibility: 'public' }
  let next = 0
  const refused: number[] = []
  const write = async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    const admin = adminCallOf({ ...landfall, agent })
    while (next < ROUTES) {
      const index = next++
      const { status } = await admin('PUT', `/v1/routes/${nameOf(index)}`, wanted)
      if (status !== 201) refused.push(status)
    }
  }
  await Promise.all(Array.from({ length: WRITERS }, write))
  t.same(refused, [], 'every route was taken')
}

/** The last one right after its confirmation, then one of each hundred. */
async function checkLookUps(t: Test, landfall: Landfall): Promise<void> {
  const startedAt = performance.now()
  const session = await sessionFor(t, landfall, nameOf(ROUTES - 1))
  t.match(await h2Call(session, { ':path': '/' }).closed, { status: 200 }, 'the last one, at once')
  const answers: string[] = []
  for (let index = 0; index < ROUTES; index += 100) {
    const own = await sessionFor(t, landfall, nameOf(index))
    answers.push((await h2Call(own, { ':path': '/' }).closed).body)
    own.destroy()
  }
  const expected = answers.map((_answer, at) => `host ${nameOf(at * 100)}:${landfall.httpsPort}`)
  t.same(answers, expected, 'a hundred others')
  t.comment(`101 new names with their certificates in ${Math.round(performance.now() - startedAt)} ms`)
}

interface Ticks {
  /** How many came. */
  ticks: number
  /** What went wrong first, or nothing. */
  fault: string
  longestGapMs: number
}

/** Counts the events of `/events`; each id must be the last one's plus one. */
function ticksOf(): Ticks & { read(text: string): void; end(how: string): void } {
  let rest = ''
  let lastAt = 0
  const state = {
    ticks: 0,
    fault: '',
    longestGapMs: 0,
    read(text: string) {
      rest += text
      for (const [, id] of rest.matchAll(/^id: (\d+)\n/gm)) {
        if (Number(id) !== state.ticks + 1) state.fault ||= `tick ${id} came after ${state.ticks}`
        state.ticks = Number(id)
        if (lastAt > 0) state.longestGapMs = Math.max(state.longestGapMs, performance.now() - lastAt)
        lastAt = performance.now()
      }
      rest = rest.slice(rest.lastIndexOf('\n\n') + 2)
    },
    end(how: string) {
      state.fault ||= `${how} after ${state.ticks} ticks`
    },
  }
  return state
}

async function tickOverH1(t: Test, landfall: Landfall): Promise<Ticks> {
  const state = ticksOf()
  const socket = connectTls(tlsOptions(landfall, 'hello.localhost', 'http/1.1'))
  t.teardown(() => socket.destroy())
  socket.on('error', (error) => state.end(error.message))
  socket.on('close', () => state.end('closed'))
  await once(socket, 'secureConnect')
  socket.write(`GET /events?ms=${TICK_MS} HTTP/1.1\r\nHost: hello.localhost:${landfall.httpsPort}\r\n\r\n`)
  socket.setEncoding('latin1').on('data', (text: string) => state.read(text))
  return state
}

async function tickOverH2(t: Test, landfall: Landfall): Promise<Ticks> {
  const state = ticksOf()
  const session = await sessionFor(t, landfall, 'hello.localhost')
  const stream: ClientHttp2Stream = session.request({ ':path': `/events?ms=${TICK_MS}` })
  stream.on('error', (error) => state.end(error.message))
  stream.on('close', () => state.end('closed'))
  stream.setEncoding('latin1').on('data', (text: string) => state.read(text))
  return state
}

async function sessionFor(t: Test, landfall: Landfall, hostname: string): Promise<ClientHttp2Session> {
  const createConnection = () => connectTls(tlsOptions(landfall, hostname, 'h2'))
  const session = connectH2(`https://${hostname}:${landfall.httpsPort}`, { createConnection })
  t.teardown(() => session.destroy())
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

function tlsOptions({ httpsPort, ca }: Landfall, hostname: string, protocol: string) {
  return { host: '127.0.0.1', port: httpsPort, servername: hostname, ca, ALPNProtocols: [protocol] }
}
