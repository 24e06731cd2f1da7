/** A request goes through the whole edge: TLS, route, relay, and back. */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'

t.test('answers over TLS and HTTP/1.1 from the upstream of the route', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  await edge.route('app.localhost', origin.port)
  const socket = await edge.dial('app.localhost')
  const answer = await exchange(socket, 'GET /x?y=1 HTTP/1.1\r\nHost: app.localhost\r\n\r\n', isWhole)
  t.match(answer, { status: 200, body: 'hello' })
  t.equal(origin.requests[0]?.url, '/x?y=1')
})

t.test('answers 404 with the next step for a name without a route', async (t) => {
  const edge = await edgeFor(t)
  const answer = await exchange(
    await edge.dialPlain(),
    'GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n',
    isWhole,
  )
  t.match(answer, { status: 404, headers: { 'content-type': 'application/problem+json' } })
  t.match(JSON.parse(answer.body), { code: 'route_unknown', next: /PUT \/v1\/routes/ })
})
