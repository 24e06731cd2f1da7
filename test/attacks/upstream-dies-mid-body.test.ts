/**
 * A VM announces a body, sends a part and dies. A naive proxy leaves its client waiting for ever, because nothing tells
 * the client's side. The client must learn within a second that the answer is incomplete, in every framing and version.
 */

import { constants } from 'node:http2'
import type { Socket } from 'node:net'
import t from 'tap'
import { h2Call } from '../helpers/h2-client.ts'
import { accessLineFor, HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const { NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } = constants
const FRAMINGS = {
  length: 'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart',
  chunked: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n',
  'chunked, inside a chunk': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\npart',
  'chunked, inside the trailers':
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nx-check',
}
const DEATHS = {
  ends: (socket: Socket) => socket.end(),
  resets: (socket: Socket) => socket.resetAndDestroy(),
}
/** With no length at all, an end is the end of the body; only a reset tells that it is incomplete. */
const CASES = [
  ...Object.entries(FRAMINGS).flatMap(([framing, text]) =>
    Object.entries(DEATHS).map(([how, die]) => ({ name: `${framing}, VM ${how}`, text, die })),
  ),
  {
    name: 'no length, VM resets',
    text: 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart',
    die: DEATHS.resets,
  },
]
/** The issue says a second; the rest is the machine's. */
const DEADLINE_MS = 2_000

for (const over of ['plain', 'tls'] as const) {
  for (const { name, text, die } of CASES) {
    t.test(`the connection of an HTTP/1.1 client is closed over ${over}: ${name}`, async (t) => {
      const vm = await scriptedVmFor(t, text)
      const edge = await routedEdgeFor(t, vm.port)
      const socket = await edge.open(over)
      const got = transcriptOf(socket)
      socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
      await got.has('part')
      vm.sockets.forEach(die)
      await got.ends(DEADLINE_MS)
      t.notMatch(got.text, /\r\n0\r\n/, 'no last chunk that would make it look complete')
      t.match(await accessLineFor(edge, 1), {
        status: 200,
        error_code: 'upstream_incomplete',
        close_reason: 'upstream_incomplete',
      })
    })
  }
}

for (const { name, text, die } of CASES) {
  t.test(`the stream of an HTTP/2 client is reset: ${name}`, async (t) => {
    const vm = await scriptedVmFor(t, text)
    const edge = await routedEdgeFor(t, vm.port)
    const session = await edge.openH2()
    const call = h2Call(session, { ':path': '/', ':authority': HOST })
    await until(() => call.answer.body === 'part', 'the first part of the body')
    vm.sockets.forEach(die)
    await until(() => call.stream.closed, 'the client hears of it', DEADLINE_MS)
    const { resetCode } = await call.closed
    // With PROTOCOL_ERROR it would be the client that counted the bytes, and the edge that claimed a good end.
    t.notOk([NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR].includes(resetCode), `the edge reset it: ${resetCode}`)
    t.match(await accessLineFor(edge, 1), { error_code: 'upstream_incomplete' })
    const next = h2Call(session, { ':path': '/.landfall/errors', ':authority': HOST })
    t.equal((await next.closed).status, 200, 'the session goes on')
  })
}

t.test('a body that ends where it said is no failure when the VM closes right behind it', async (t) => {
  const vm = await scriptedVmFor(t, (socket) => {
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole')
  })
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  t.match(answer, { status: 200, body: 'whole' })
  t.notOk('error_code' in (await accessLineFor(edge, 1)))
})
