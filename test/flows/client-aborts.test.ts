/** A client that leaves: whatever was under way, the VM's connection is closed within a second, so that it can stop working. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
/** The issue says one second; the rest is for a machine that is busy. */
const DEADLINE_MS = 2_000

type Answer = (request: IncomingMessage, response: ServerResponse) => void

interface Stage {
  readonly name: string
  readonly method: string
  /** What the VM does; it never comes to an end by itself. */
  readonly answer: Answer
  /** What the client sends of its body before it leaves. */
  readonly body?: string
}

const STAGES: readonly Stage[] = [
  { name: 'while the VM thinks', method: 'GET', answer: (request) => void request.resume() },
  {
    name: 'in the middle of an upload',
    method: 'POST',
    body: 'half',
    answer: (request) => void request.resume(),
  },
  { name: 'in an upload that the VM does not read', method: 'POST', body: 'half', answer: () => {} },
  { name: 'in the middle of a download', method: 'GET', answer: sendForEver },
  { name: 'between two events', method: 'GET', answer: sendOneEvent },
  { name: 'in the middle of both directions', method: 'POST', body: 'half', answer: sendForEver },
]

/** How an HTTP/1.1 client may leave: orderly, as when its process ends, or by a reset. */
const WAYS = ['closes', 'resets'] as const

for (const { name, method, answer, body } of STAGES) {
  for (const way of WAYS) {
    t.test(`a client that ${way} HTTP/1.1 ${name} takes the VM's connection with it`, async (t) => {
      const edge = await edgeFor(t)
      const left = await routeTo(t, edge, answer)
      // TLS sockets know no reset of their own.
      const socket = way === 'resets' ? await edge.dialPlain() : await edge.dial(HOST)
      const framing = body === undefined ? '' : 'Content-Length: 1000\r\n'
      socket.write(`${method} / HTTP/1.1\r\nHost: ${HOST}\r\n${framing}\r\n${body ?? ''}`)
      await left.begins
      if (way === 'closes') socket.destroy()
      else socket.resetAndDestroy()
      await until(left.holds, 'the VM sees it', DEADLINE_MS)
      await checkLog(t, edge)
    })
  }

  for (const way of ['cancels its stream', 'ends its session', 'drops its connection'] as const) {
    t.test(`an HTTP/2 client that ${way} ${name} takes the VM's connection with it`, async (t) => {
      const edge = await edgeFor(t)
      const left = await routeTo(t, edge, answer)
      const session = await edge.h2(HOST)
      session.on('error', () => {})
      const stream = session.request({ ':method': method, ':path': '/' }, { endStream: body === undefined })
      stream.on('error', () => {})
      stream.resume()
      if (body !== undefined) stream.write(body)
      await left.begins
      leave(way, session, stream)
      await until(left.holds, 'the VM sees it', DEADLINE_MS)
      await checkLog(t, edge)
    })
  }
}

t.test('a stream that is cancelled leaves the others of its session alone', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, sendOneEvent)
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const [leaving, staying] = [session.request({ ':path': '/1' }), session.request({ ':path': '/2' })]
  let isStayingClosed = false
  for (const stream of [leaving, staying]) stream.on('error', () => {}).resume()
  staying.on('close', () => {
    isStayingClosed = true
  })
  await until(() => origin.requests.length === 2, 'both requests')
  leaving.close(8)
  const socketOf = (path: string) => origin.requests.find(({ url }) => url === path)?.socket
  await until(() => socketOf('/1')?.destroyed === true, 'the VM sees the first leave', DEADLINE_MS)
  t.equal(socketOf('/2')?.destroyed, false)
  t.notOk(isStayingClosed)
})

function leave(way: string, session: ClientHttp2Session, stream: ClientHttp2Stream): void {
  if (way === 'cancels its stream') stream.close(8)
  else if (way === 'ends its session') session.destroy()
  else (session.socket as unknown as { destroy(): void }).destroy?.()
}

/** `begins` when the request is there and its answer has begun, `holds` once the VM's connection is gone. */
async function routeTo(t: Test, edge: TestEdge, answer: Answer) {
  const { promise: begins, resolve } = Promise.withResolvers<void>()
  const state = { isGone: false }
  const origin = await originFor(t, (request, response) => {
    request.socket.once('close', () => {
      state.isGone = true
    })
    request.on('error', () => {})
    answer(request, response)
    setTimeout(resolve, 50)
  })
  await edge.route(HOST, origin.port)
  return { begins, holds: () => state.isGone }
}

async function checkLog(t: Test, edge: TestEdge): Promise<void> {
  await until(() => edge.accessLog.length === 1, 'its line in the access log')
  t.match(edge.accessLog, [{ close_reason: 'client_gone' }])
}

function sendForEver(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  response.writeHead(200, { 'content-type': 'application/octet-stream' })
  const more = () => {
    while (response.write(Buffer.alloc(65_536))) if (response.destroyed) return
  }
  response.on('drain', more)
  more()
}

function sendOneEvent(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write('data: one\n\n')
}
