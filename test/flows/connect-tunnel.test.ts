/** A CONNECT to a port of a VM as a byte stream: both ends of it, its limits, and what is counted and logged. */

import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const VM = 'amber.localhost'
const CONNECT = `CONNECT ${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n\r\n`
const BYTES = 3_000_000

/** A VM whose port 22 is served by `onSocket`. */
async function sceneFor(
  t: Test,
  onSocket: (socket: Socket) => void,
  env: Record<string, string> = {},
): Promise<TestEdge> {
  const edge = await edgeFor(t, env)
  const open = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    open.add(socket)
    onSocket(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  await (await fakeHostFor(t, edge, { vm: 'amber', ports: { 22: port } })).report('running')
  return edge
}

/** The two ways in. Each resolves once the edge has agreed. */
const WAYS: Readonly<Record<string, (t: Test, edge: TestEdge) => Promise<Duplex>>> = {
  'HTTP/1.1': async (_t, edge) => {
    const socket = await edge.dial(VM)
    socket.allowHalfOpen = true
    socket.write(CONNECT)
    await once(socket, 'readable')
    const head = String(socket.read())
    if (!head.startsWith('HTTP/1.1 200 ')) throw new Error(head)
    const rest = head.slice(head.indexOf('\r\n\r\n') + 4)
    if (rest !== '') socket.unshift(rest)
    return socket
  },
  'HTTP/2': async (t, edge) => openH2(t, await edge.h2(VM)),
}

/** All that comes until the end; unlike node:stream/consumers it leaves the other side open. */
async function text(stream: Duplex): Promise<string> {
  let said = ''
  stream.on('data', (chunk: Buffer) => {
    said += chunk
  })
  await once(stream, 'end')
  return said
}

/** An edge that cuts a connection is seen as its end, or as its close. */
function isGone(stream: Duplex): boolean {
  return stream.destroyed || stream.readableEnded
}

async function openH2(t: Test, session: ClientHttp2Session): Promise<Duplex> {
  const stream = session.request({ ':method': 'CONNECT', ':authority': `${VM}:22` }, { endStream: false })
  stream.on('error', () => {})
  t.teardown(() => stream.destroy())
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
  if (headers[':status'] !== 200) throw new Error(JSON.stringify(headers))
  return stream
}

for (const [name, open] of Object.entries(WAYS)) {
  t.test(`${name}: the client ends its side first, and still gets all`, async (t) => {
    const edge = await sceneFor(t, (socket) => {
      text(socket).then(
        (said) => socket.end('x'.repeat(said.length)),
        () => socket.destroy(),
      )
    })
    const stream = await open(t, edge)
    stream.end('y'.repeat(BYTES))
    t.equal((await text(stream)).length, BYTES)
  })

  t.test(`${name}: the VM ends its side first, and still hears all`, async (t) => {
    const heard = Promise.withResolvers<string>()
    const edge = await sceneFor(t, (socket) => {
      socket.end('hello')
      heard.resolve(text(socket))
    })
    const stream = await open(t, edge)
    t.equal(await text(stream), 'hello')
    stream.end('y'.repeat(BYTES))
    t.equal((await heard.promise).length, BYTES)
  })

  t.test(`${name}: a side that is cut takes the other with it`, async (t) => {
    const sockets: Socket[] = []
    const edge = await sceneFor(t, (socket) => {
      sockets.push(socket)
      // TCP cannot tell one who left from one who has said all; a reset stream can, and needs no help of the VM.
      if (name === 'HTTP/1.1') socket.on('end', () => socket.end())
    })
    const [one, two] = [await open(t, edge), await open(t, edge)]
    await until(() => sockets.length === 2, 'both are open')
    for (const stream of [one, two, ...sockets]) stream.resume()
    sockets[0]?.resetAndDestroy()
    await until(() => isGone(one) || isGone(two), 'one client is told')
    const [gone, rest] = isGone(one) ? [one, two] : [two, one]
    t.notOk(isGone(rest))
    gone.destroy()
    if (rest instanceof TLSSocket) rest.destroy()
    else (rest as ClientHttp2Stream).close(constants.NGHTTP2_CANCEL)
    await until(() => sockets.every(isGone), 'the VM is told')
    await until(() => edge.accessLog.length === 2, 'two lines')
  })

  t.test(`${name}: silence ends it`, async (t) => {
    const edge = await sceneFor(t, () => {}, { LANDFALL_TUNNEL_IDLE_TIMEOUT_MS: '200' })
    const stream = await open(t, edge)
    stream.resume()
    await until(() => isGone(stream), 'it is cut')
    stream.destroy()
    await until(() => edge.accessLog.length === 1, 'its line')
    t.match(edge.accessLog[0], { close_reason: 'tunnel_idle', status: 200 })
  })

  t.test(`${name}: its bytes are counted, and its line says where it led`, async (t) => {
    const edge = await sceneFor(t, (socket) => socket.pipe(socket))
    const stream = await open(t, edge)
    t.match(await metricsOf(edge), /edge_tunnels_open\{kind="connect"\} 1\n/)
    stream.end('z'.repeat(BYTES))
    t.equal((await text(stream)).length, BYTES)
    await until(() => edge.accessLog.length === 1, 'its line')
    t.match(edge.accessLog[0], {
      status: 200,
      vm_id: 'amber',
      bytes_in: BYTES,
      bytes_out: BYTES,
      request: { method: 'CONNECT', host: VM, uri: `${VM}:22` },
    })
    const metrics = await metricsOf(edge)
    t.match(metrics, new RegExp(`edge_tunnel_bytes_total\\{kind="connect",dir="in"\\} ${BYTES}\n`))
    t.match(metrics, new RegExp(`edge_tunnel_bytes_total\\{kind="connect",dir="out"\\} ${BYTES}\n`))
    t.match(metrics, /edge_tunnel_bytes_total\{kind="websocket",dir="in"\} 0\n/)
    t.match(metrics, /edge_tunnels_open\{kind="connect"\} 0\n/)
  })

  t.test(`${name}: a VM that speaks first is heard`, async (t) => {
    const edge = await sceneFor(t, (socket) => socket.write('SSH-2.0-test\r\n'))
    const stream = await open(t, edge)
    const [chunk] = (await once(stream, 'data')) as [Buffer]
    t.equal(chunk.toString(), 'SSH-2.0-test\r\n')
  })
}

t.test('a port that nobody listens on is told as for any request, and the stream ends', async (t) => {
  const edge = await edgeFor(t)
  await (await fakeHostFor(t, edge, { vm: 'amber', ports: { 22: 1 } })).report('running')
  const answer = await exchange(await edge.dial(VM), CONNECT, isWhole)
  t.match(answer, { status: 502, body: /"code":"connect_refused"/ })
  const stream = (await edge.h2(VM)).request(
    { ':method': 'CONNECT', ':authority': `${VM}:22` },
    { endStream: false },
  )
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
  t.equal(headers[':status'], 502)
  stream.resume()
  await once(stream, 'close')
})

async function metricsOf(edge: TestEdge): Promise<string> {
  return (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
}
