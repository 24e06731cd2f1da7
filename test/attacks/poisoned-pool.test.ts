/**
 * A VM sends the last bytes of a chunked answer in one read while the client's socket is full. A proxy that paused
 * its upstream connection for the client and then puts it back into the pool reads nothing from it any more: the
 * next request on it, anybody's, is carried out by the VM and answered 504. The connection must be read again.
 */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'

const HOST = 'app.localhost'
/** With head and chunk framing these bring the client's socket just above its high-water mark, measured. */
const SIZES = [65_350, 65_430, 65_440]

for (const size of SIZES) {
  t.test(`a request after a chunked answer of ${size} bytes is answered`, async (t) => {
    const edge = await edgeFor(t, { LANDFALL_FIRST_BYTE_TIMEOUT_MS: '2000' })
    const origin = await rawOriginFor(t, (socket, received) => {
      if (received.endsWith('GET /small HTTP/1.1\r\n') || !received.endsWith('\r\n\r\n')) return
      const isSmall = received.lastIndexOf('GET /small') > received.lastIndexOf('GET /big')
      const body = `${size.toString(16)}\r\n${'x'.repeat(size)}\r\n0\r\n\r\n`
      const head = 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60\r\n'
      socket.write(
        isSmall ? `${head}Content-Length: 2\r\n\r\nok` : `${head}Transfer-Encoding: chunked\r\n\r\n${body}`,
      )
    })
    await edge.route(HOST, origin.port)
    const first = await exchange(
      await edge.dialPlain(),
      `GET /big HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
      (text) => text.endsWith('\r\n0\r\n\r\n'),
    )
    t.equal(first.status, 200)
    const second = await exchange(
      await edge.dialPlain(),
      `GET /small HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
      isWhole,
    )
    t.match(second, { status: 200, body: 'ok' })
    t.equal(origin.sockets.length, 1, 'on the same connection')
  })
}
