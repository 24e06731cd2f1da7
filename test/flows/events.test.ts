/** Events through a real edge: each reaches the client at once, over every protocol, and nothing stays behind of those who leave. */

import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const ADMIN = 'admin.localhost'

function putPool({ store }: TestEdge, name: string): Promise<number> {
  const createdAt = '2026-01-01T00:00:00Z'
  return store.put(`pool/${name}`, { name, cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, createdAt })
}

function openOverH2(
  t: Test,
  session: ClientHttp2Session,
  { adminToken }: TestEdge,
  fields: Readonly<Record<string, string>> = {},
): ClientHttp2Stream {
  const stream = session.request({
    ':path': '/v1/events',
    ':authority': ADMIN,
    authorization: `Bearer ${adminToken}`,
    ...fields,
  })
  stream.on('error', () => {})
  t.teardown(() => stream.destroy())
  return stream
}

t.test('over HTTP/1.1 each event comes at once', async (t) => {
  const edge = await edgeFor(t)
  const socket = await edge.dial(ADMIN)
  const heard = transcriptOf(socket)
  socket.write(
    `GET /v1/events HTTP/1.1\r\nHost: ${ADMIN}\r\nAuthorization: Bearer ${edge.adminToken}\r\n\r\n`,
  )
  await heard.has('retry: 1000\n')
  t.match(heard.text, /^HTTP\/1\.1 200 OK\r\n/)
  t.match(heard.text, /\r\ncontent-type: text\/event-stream/i)
  for (const name of ['a', 'b', 'c']) {
    const revision = await putPool(edge, name)
    await heard.has(
      `id: ${revision}\nevent: pool\ndata: {"revision":${revision},"kind":"pool","name":"${name}"`,
    )
  }
})

t.test('over HTTP/2 as well, and a client that comes back misses nothing', async (t) => {
  const edge = await edgeFor(t)
  const session = await edge.h2(ADMIN)
  const first = openOverH2(t, session, edge)
  const heard = transcriptOf(first)
  const seen = await putPool(edge, 'a')
  await heard.has(`id: ${seen}\n`)
  first.close()
  await putPool(edge, 'b')
  const second = transcriptOf(openOverH2(t, session, edge, { 'last-event-id': String(seen) }))
  await second.has('"name":"b"')
  t.notMatch(second.text, /"name":"a"/)
})

t.test('the places of those who leave are free again', async (t) => {
  const edge = await edgeFor(t)
  const session = await edge.h2(ADMIN)
  const open = async () => {
    const streams = Array.from({ length: 90 }, () => openOverH2(t, session, edge))
    const heard = streams.map((stream) => transcriptOf(stream))
    await Promise.all(heard.map((one) => one.has('retry: 1000')))
    for (const stream of streams) stream.close()
    await until(() => streams.every(({ closed }) => closed), 'all are closed')
  }
  await open()
  await until(async () => (await adminConnections(edge)) === 0, 'no connection to the API is left')
  await open()
})

/** Every open stream has one. */
async function adminConnections({ opsPort }: TestEdge): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text()
  return Number(/^edge_sockets_open\{side="upstream"\} (\d+)/m.exec(metrics)?.[1])
}

t.test('an edge that ends is not kept waiting', async (t) => {
  const edge = await edgeFor(t, { LANDFALL_DRAIN_TIMEOUT_MS: '200' })
  const heard = transcriptOf(openOverH2(t, await edge.h2(ADMIN), edge))
  await heard.has('retry: 1000')
  const startedAt = performance.now()
  await edge[Symbol.asyncDispose]()
  t.ok(performance.now() - startedAt < 5_000)
  await until(() => heard.isClosed, 'the stream is over')
})
