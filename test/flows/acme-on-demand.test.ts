/** A custom domain gets its certificate from a real ACME server with its first visitor, by http-01 and by tls-alpn-01. */

import t from 'tap'
import { acmeEdgeFor, readServed, visitFirst } from '../helpers/acme-edge.ts'
import { originFor } from '../helpers/origin.ts'

for (const challenge of ['http-01', 'tls-alpn-01'] as const) {
  t.test(`the first handshake orders, and is served by ${challenge}`, async (t) => {
    const { pebble, edge, root } = await acmeEdgeFor(t, { env: { LANDFALL_ACME_CHALLENGES: challenge } })
    const origin = await originFor(t, (_request, response) => response.end('hello'))
    await edge.route('www.shop.test', origin.port)
    const first = await visitFirst([edge], { hostname: 'www.shop.test', root })
    t.match(first, { isTrusted: true, names: 'DNS:www.shop.test' }, 'the first visitor waited for it')
    const second = await readServed(edge.httpsPort, { hostname: 'www.shop.test', root })
    t.equal(second.fingerprint, first.fingerprint)
    t.equal(pebble.countLines('Added order'), 1)
  })
}

t.test('a name without a route orders nothing', async (t) => {
  const { pebble, edge, root } = await acmeEdgeFor(t, {})
  const served = await readServed(edge.httpsPort, { hostname: 'stranger.test', root })
  t.equal(served.isTrusted, false)
  t.notMatch(pebble.output(), /stranger/)
})
