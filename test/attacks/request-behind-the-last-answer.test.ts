/**
 * Several HTTP/1.0 requests in one write that ask to keep the connection, and a VM that answers the first without a
 * length, so that the answer can only end with the connection. A proxy that hands the second request on all the same
 * lets the VM carry it out with nobody to hear of it; the client will send it again. It must not be processed.
 */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange } from '../helpers/raw-client.ts'

const HOST = 'app.localhost'

t.test('no request behind an answer that ends the connection reaches the VM', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (request, response) => {
    request.resume()
    response.useChunkedEncodingByDefault = false
    response.end(`path:${request.url}`)
  })
  await edge.route(HOST, origin.port)
  const post = (path: string) => `POST ${path} HTTP/1.0\r\nHost: ${HOST}\r\nConnection: keep-alive\r\n\r\n`
  origin.server.on('request', (_request, response) => response.flushHeaders())
  const { body } = await exchange(await edge.dialPlain(), post('/a') + post('/b') + post('/c'))
  t.equal(body, 'path:/a')
  t.same(
    origin.requests.map(({ url }) => url),
    ['/a'],
  )
})
