/**
 * A client sends a request, then bytes that are no request, and leaves while the VM is still working. A proxy that
 * stops reading at the garbage never learns that the client is gone, and keeps the VM busy until a time limit. The
 * VM's connection must close within a second.
 */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const REQUEST = `GET /slow HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

for (const behind of ['\x00\x01 noise\r\n\r\n', REQUEST.repeat(300)]) {
  t.test(`a client that leaves after ${JSON.stringify(behind.slice(0, 12))} … is noticed`, async (t) => {
    const edge = await edgeFor(t)
    let isClosed = false
    const origin = await rawOriginFor(t, (socket) => {
      socket.once('close', () => {
        isClosed = true
      })
      socket.on('end', () => socket.end())
    })
    await edge.route(HOST, origin.port)
    const client = await edge.dialPlain()
    client.resume()
    client.write(REQUEST + behind, 'latin1')
    await until(() => origin.received.join('').includes('/slow'), 'the request reaches the VM')
    client.resetAndDestroy()
    await until(() => isClosed, 'the VM is told', 2_000)
    t.ok(isClosed)
  })
}
