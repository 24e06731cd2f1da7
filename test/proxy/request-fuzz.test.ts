/**
 * Any bytes from clients: an attacker sends requests that are spoilt, doubled, hidden in each other and cut short.
 * A naive proxy falls over, hangs, or passes on something that the VM reads otherwise. Here nothing is thrown, every
 * connection ends, and each request that is accepted reaches the VM framed once, as one request that the log knows.
 */

import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { array, asyncProperty } from 'fast-check'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { fuzzFor } from '../helpers/fuzz.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'
import { type ClientBytes, clientBytes } from './request-grammar.ts'
import { type SeenRequest, type StrictVm, strictVmFor } from './strict-vm.ts'

const HOST = 'app.localhost'
const fuzz = fuzzFor(t, { seconds: 6 })

interface LogLine {
  readonly request_id: string
  readonly status: number
  readonly error_code?: string
  readonly bytes_in: number
  readonly upstream?: { readonly retries: number }
}

t.test('whatever a client sends, the VM gets whole requests, each once, and the edge goes on', async (t) => {
  const edge = await edgeFor(t)
  const vm = await strictVmFor(t, [HOST])
  await edge.route(HOST, vm.port)
  // Several clients at a time: connections to the VM are shared, and most of the time is spent on waiting.
  const isFramedOnce = asyncProperty(array(clientBytes, { minLength: 1, maxLength: 10 }), async (clients) => {
    const from = marksOf(vm, edge)
    await Promise.all(clients.map((bytes) => sendAll(edge, bytes)))
    await checkVm(vm, edge, from)
  })
  await fuzz.holds(t, isFramedOnce, 1)
  await checkAnswers(t, edge)
})

async function checkAnswers(t: Test, edge: TestEdge): Promise<void> {
  const probe = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
  t.match(
    await exchange(await edge.dialPlain(), probe, isWhole),
    { status: 200, body: 'ok' },
    'still answers',
  )
}

const UPGRADE =
  'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
const HEAD = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n`
/** What the fuzz found; where an answer is due to the first request, it comes. */
const FOUND: readonly (readonly [name: string, text: string, answer: RegExp])[] = [
  [
    'an upgrade behind a request that is not answered yet',
    `${HEAD}\r\n${HEAD}${UPGRADE}\r\n`,
    /^HTTP\/1\.1 200 OK\r\n/,
  ],
  [
    'a CONNECT behind a request that is not answered yet',
    `${HEAD}\r\nCONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
    /^(HTTP\/1\.1 200 OK\r\n|$)/,
  ],
  [
    'an upgrade with a body that has not come',
    `${HEAD}${UPGRADE}Content-Length: 5\r\n\r\n`,
    /^HTTP\/1\.1 400 /,
  ],
  [
    'an upgrade with chunks that have not come',
    `${HEAD}${UPGRADE}Transfer-Encoding: chunked\r\n\r\n`,
    /^HTTP\/1\.1 400 /,
  ],
]

for (const [name, text, answer] of FOUND) {
  t.test(`${name} does no harm`, async (t) => {
    const edge = await edgeFor(t)
    const vm = await strictVmFor(t, [HOST])
    await edge.route(HOST, vm.port)
    const from = marksOf(vm, edge)
    t.match(await sendAll(edge, { text, cuts: [] }), answer)
    await checkVm(vm, edge, from)
    await checkAnswers(t, edge)
  })
}

/** Writes in pieces, ends, and gives what came until the edge has closed. @throws Error when it does not */
async function sendAll(edge: TestEdge, { text, cuts }: ClientBytes): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: edge.httpPort, allowHalfOpen: true })
  socket.on('error', () => {})
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
  })
  const bytes = Buffer.from(text, 'latin1')
  for (const [at, end] of [...cuts, bytes.length].entries()) {
    socket.write(bytes.subarray(cuts[at - 1] ?? 0, end))
    if (end < bytes.length) await turn()
  }
  const isClosed = once(socket, 'close', { signal: AbortSignal.timeout(5_000) })
  socket.end()
  await isClosed.catch((error: Error) => {
    throw new Error(`the edge did not close; so far ${answer}`, { cause: error })
  })
  if (!/^(HTTP\/1\.1 |$)/.test(answer)) throw new Error(`answered ${answer}`)
  return answer
}

function marksOf(vm: StrictVm, { accessLog, logged }: TestEdge) {
  return {
    seen: vm.requests.length,
    faults: vm.faults.length,
    lines: accessLog.length,
    logged: logged.length,
  }
}

/** @throws Error with what the VM or the log saw that it must not */
async function checkVm(vm: StrictVm, edge: TestEdge, from: ReturnType<typeof marksOf>): Promise<void> {
  const requests = vm.requests.slice(from.seen)
  const lines = () => edge.accessLog.slice(from.lines) as unknown as LogLine[]
  // A request of a client that left may reach the VM after the log line is written, and after this check.
  const isKnown = ({ id }: SeenRequest) => edge.accessLog.some((line) => line.request_id === id)
  await until(
    () => requests.every(isKnown),
    `the log knows what the VM saw: ${JSON.stringify(requests)}`,
    2_000,
  )
  const show = JSON.stringify([requests, lines()])
  const faults = vm.faults.slice(from.faults)
  if (faults.length > 0) throw new Error(`the VM got ${faults.join()} ${show}`)
  if (edge.logged.slice(from.logged).some(({ level }) => level === 'error'))
    throw new Error(`the edge failed ${show}`)
  for (const line of lines()) {
    const twins = requests.filter(({ id }) => id === line.request_id)
    if (line.status === 200 && twins.length !== 1 + (line.upstream?.retries ?? 0))
      throw new Error(`answered 200 to what the VM saw ${twins.length} times ${show}`)
    if (line.status === 200 && line.bytes_in !== twins[0]?.bytes) throw new Error(`another body ${show}`)
    if (line.upstream === undefined && twins.length > 0) throw new Error(`refused, and yet sent ${show}`)
  }
}
