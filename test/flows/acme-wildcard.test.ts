/** The platform's wildcard from a real ACME server, proven by dns-01 in both ways: our own responder, and a BIND that takes updates. */

import t, { type Test } from 'tap'
import { toDnsLabel } from '../../acme/dns/challenge-label.ts'
import { acmeEdgeFor, PLATFORM, readServed } from '../helpers/acme-edge.ts'
import { bindFor } from '../helpers/bind.ts'
import type { TestEdge } from '../helpers/edge.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { until } from '../helpers/until.ts'

const DEADLINE_MS = 40_000

async function untilTrusted(edge: TestEdge, root: string): Promise<void> {
  const isTrusted = async () => (await readServed(edge.httpsPort, { hostname: PLATFORM, root })).isTrusted
  await until(isTrusted, 'the certificate of the platform is there', DEADLINE_MS)
}

async function checkWildcard(t: Test, edge: TestEdge, root: string): Promise<void> {
  for (const hostname of [PLATFORM, `web.${PLATFORM}`, `auth.${PLATFORM}`, `3000--web.${PLATFORM}`]) {
    t.match(await readServed(edge.httpsPort, { hostname, root }), { isTrusted: true }, hostname)
  }
  const below = await readServed(edge.httpsPort, { hostname: `a.web.${PLATFORM}`, root })
  t.equal(below.isTrusted, false, 'a wildcard stands for one label')
}

t.test('by our own responder, behind a delegation and a CNAME', async (t) => {
  const dnsPort = await findFreePort()
  const bind = await bindFor(t, {
    zones: {
      // CAA records are looked for up to the last label.
      test: '',
      [PLATFORM]: [
        `_acme-challenge CNAME ${toDnsLabel(PLATFORM)}.acme.${PLATFORM}.`,
        'acme NS ns',
        '@ A 127.0.0.1',
      ].join('\n'),
    },
    forwards: { [`acme.${PLATFORM}`]: dnsPort },
  })
  const server = `${bind.server.host}:${bind.server.port}`
  const { edge, root } = await acmeEdgeFor(t, {
    pebble: { dnsServer: server },
    env: { LANDFALL_DNS_LISTEN: `127.0.0.1:${dnsPort}`, LANDFALL_RESOLVERS: server },
  })
  t.equal(edge.dnsPort, dnsPort)
  await untilTrusted(edge, root)
  await checkWildcard(t, edge, root)
})

t.test('by updates of a real name server', async (t) => {
  const bind = await bindFor(t, { zones: { test: '', [PLATFORM]: '@ A 127.0.0.1' } })
  const server = `${bind.server.host}:${bind.server.port}`
  const { edge, root } = await acmeEdgeFor(t, {
    pebble: { dnsServer: server },
    env: {
      LANDFALL_DNS_UPDATE_SERVER: server,
      LANDFALL_DNS_UPDATE_ZONE: PLATFORM,
      LANDFALL_DNS_UPDATE_KEY_FILE: bind.keyFile,
      LANDFALL_RESOLVERS: server,
    },
  })
  await untilTrusted(edge, root)
  await checkWildcard(t, edge, root)
  const left = await bind.resolver
    .resolveTxt(`_acme-challenge.${PLATFORM}`)
    .catch((error: { code: string }) => error.code)
  t.match(left, /ENODATA|ENOTFOUND/, 'the challenge was taken away again')
})
