/**
 * A WebSocket client that sends bytes and closes its sending side before the VM has answered the handshake. A proxy
 * that has read that end already and forgets it keeps the tunnel open for ever, or loses the early bytes. The VM
 * must get the bytes and then the end.
 */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const HANDSHAKE =
  `GET /ws HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
/** RFC 6455 section 1.3: the answer to that key. */
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'

for (const early of ['', 'early bytes']) {
  t.test(
    `the end of a client that sent ${early === '' ? 'nothing' : 'early bytes'} reaches the VM`,
    async (t) => {
      const edge = await edgeFor(t)
      let isEnded = false
      const origin = await rawOriginFor(t, (socket) => {
        socket.on('end', () => {
          isEnded = true
          socket.end()
        })
      })
      await edge.route(HOST, origin.port)
      const client = await edge.dialPlain()
      client.resume()
      client.write(HANDSHAKE)
      await until(() => origin.received.join('').includes('\r\n\r\n'), 'the handshake reaches the VM')
      client.end(early)
      await until(() => client.writableFinished, 'the client has ended')
      // The edge must have read the end before the VM answers; nothing of it can be seen from outside.
      const endedAt = performance.now()
      await until(() => performance.now() - endedAt > 50, 'time for the edge to read it')
      origin.sockets[0]?.write(SWITCH)
      await until(() => isEnded, 'the end reaches the VM', 3_000)
      t.ok(origin.received.join('').endsWith(early))
      await until(() => client.destroyed || client.readableEnded, 'the tunnel closes', 3_000)
    },
  )
}
