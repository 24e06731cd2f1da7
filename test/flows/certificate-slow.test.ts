/** A certificate that takes longer than a handshake may: the client is shown the platform's instead of a closed connection. */

import t from 'tap'
import { readServed } from '../helpers/acme-edge.ts'
import { orderingEdgesFor } from '../helpers/certified-edges.ts'
import { originFor } from '../helpers/origin.ts'

const NAME = 'www.shop.test'
/** A fifth is left for the handshake itself. */
const HANDSHAKE_MS = 5_000

t.test('a handshake waits for less long than it may take', async (t) => {
  const { edges, route } = await orderingEdgesFor(t, {
    smallCa: { validate: ({ name }) => (name === NAME ? new Promise<never>(() => {}) : undefined) },
    env: { LANDFALL_HEADERS_TIMEOUT_MS: String(HANDSHAKE_MS) },
  })
  const { port } = await originFor(t)
  await route({ hostname: NAME, visibility: 'public', port })
  const startedAt = performance.now()
  const { isTrusted } = await readServed(edges[0].httpsPort, { hostname: NAME, root: edges[0].ca })
  const ms = performance.now() - startedAt
  t.equal(isTrusted, false)
  t.ok(ms > HANDSHAKE_MS / 2, `it waited ${ms} ms`)
})
