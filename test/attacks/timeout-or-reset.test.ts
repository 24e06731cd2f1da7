/**
 * A VM that is too slow and a VM that hangs up are different faults with different next steps. A naive proxy reports both
 * as ECONNRESET. A limit that ran out must be a 504, a connection that broke a 502, each with its own code.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t from 'tap'
import { fullPortFor } from '../helpers/connect-faults.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { accessLineFor, HOST, type RoutedEdge, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor, upgradeRequest } from '../helpers/scripted-vm.ts'

const SHORT = {
  LANDFALL_FIRST_BYTE_TIMEOUT_MS: '400',
  LANDFALL_CONNECT_TIMEOUT_MS: '400',
  LANDFALL_IDLE_TIMEOUT_MS: '400',
}
const GET = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

const FAULTS: Readonly<
  Record<string, { onRequest: (socket: Socket) => void; status: number; code: string; token: string }>
> = {
  'says nothing': {
    onRequest: () => {},
    status: 504,
    code: 'upstream_timeout',
    token: 'http_response_timeout',
  },
  'stops in the middle of its head': {
    onRequest: (socket) => void socket.write('HTTP/1.1 200 OK\r\ncontent-'),
    status: 504,
    code: 'upstream_timeout',
    token: 'http_response_timeout',
  },
  'closes without an answer': {
    onRequest: (socket) => void socket.end(),
    status: 502,
    code: 'upstream_reset',
    token: 'connection_terminated',
  },
  'resets without an answer': {
    onRequest: (socket) => void socket.resetAndDestroy(),
    status: 502,
    code: 'upstream_reset',
    token: 'connection_terminated',
  },
  'closes in the middle of its head': {
    onRequest: (socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-'),
    status: 502,
    code: 'upstream_incomplete',
    token: 'http_response_incomplete',
  },
}

type Attack = (edge: RoutedEdge) => Promise<{
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}>

const WAYS: Readonly<Record<string, Attack>> = {
  'a GET': (edge) => edge.send(GET),
  'a POST': (edge) => edge.send(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\n\r\nhi`, 'tls'),
  'a WebSocket': (edge) => edge.send(upgradeRequest(HOST)),
  'a GET over HTTP/2': async (edge) => h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST }),
}

for (const [name, { onRequest, status, code, token }] of Object.entries(FAULTS)) {
  t.test(`a VM that ${name} is reported as ${status} ${code}`, async (t) => {
    const vm = await scriptedVmFor(t, onRequest)
    const edge = await routedEdgeFor(t, vm.port, SHORT)
    for (const [at, [way, attack]] of Object.entries(WAYS).entries()) {
      const answer = await attack(edge)
      t.equal(answer.status, status, way)
      t.match(JSON.parse(answer.body), { status, code }, way)
      t.match(answer.headers['proxy-status'], `error=${token}`, way)
      t.match(await accessLineFor(edge, at + 1), { status, error_code: code }, way)
    }
  })
}

t.test(
  'a VM that falls silent in the middle of its answer is told from one that hangs up there',
  async (t) => {
    let isSilent = true
    const vm = await scriptedVmFor(t, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart')
      if (!isSilent) socket.end()
    })
    const edge = await routedEdgeFor(t, vm.port, SHORT)
    await edge.send(`${GET}`)
    t.match(await accessLineFor(edge, 1), { status: 200, error_code: 'upstream_idle' })
    isSilent = false
    await edge.send(`${GET}`)
    t.match(await accessLineFor(edge, 2), { status: 200, error_code: 'upstream_incomplete' })
  },
)

t.test('a port where nothing listens is reported as 502 connect_refused', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  const edge = await routedEdgeFor(t, port, SHORT)
  const answer = await edge.send(GET)
  t.equal(answer.status, 502)
  t.match(JSON.parse(answer.body), { code: 'connect_refused' })
  t.match(answer.headers['proxy-status'], 'error=connection_refused')
})

t.test('a connection that is not made in time is reported as 504 connect_timeout', async (t) => {
  const edge = await routedEdgeFor(t, await fullPortFor(t), SHORT)
  const answer = await edge.send(GET)
  t.equal(answer.status, 504)
  t.match(JSON.parse(answer.body), { code: 'connect_timeout' })
  t.match(answer.headers['proxy-status'], 'error=connection_timeout')
})
