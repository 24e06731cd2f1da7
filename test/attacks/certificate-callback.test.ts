/**
 * The attacker finds a server name for which making a certificate fails. In Node a throw in SNICallback was an
 * uncaught exception and ended the process (CVE-2026-21637). Whatever the look-up does (throw, reject, stay silent,
 * answer nonsense), only that handshake may fail.
 */

import { connect, type SecureContext } from 'node:tls'
import t, { type Test } from 'tap'
import { loadLocalCa } from '../../acme/local-ca.ts'
import { ClientRegistry } from '../../proxy/client-registry.ts'
import { startTlsListener } from '../../proxy/tls-listener.ts'
import { until } from '../helpers/until.ts'

const LIMITS = {
  idleMs: 1_000,
  connectionsPerClient: 100,
  trustedProxies: [],
  streams: 10,
  headerBytes: 8_192,
  headerCount: 50,
}

async function listenerFor(t: Test, contextFor: (name: string | undefined) => Promise<SecureContext>) {
  const ca = await loadLocalCa(t.testdir())
  const results: string[] = []
  const listener = await startTlsListener(
    {
      clients: new ClientRegistry(LIMITS),
      handle: () => {},
      reportBadRequest: () => {},
      edgeName: 'test',
      drainState: { isDraining: false },
      pipelineLimit: 10,
      certificates: { contextFor, defaultPem: () => ca.issue(['localhost']) },
      reportHandshake: ({ result }) => results.push(result),
    },
    { ...LIMITS, host: '127.0.0.1', port: 0, headersMs: 500, keepAliveMs: 1_000 },
  )
  t.teardown(() => listener[Symbol.asyncDispose]())
  return { port: listener.port, results }
}

/** Resolves with 'ok' or with how the handshake ended. */
async function shakeHands(port: number, servername?: string): Promise<string> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    ...(servername !== undefined && { servername }),
  })
  return new Promise<string>((resolve) => {
    socket.once('secureConnect', () => resolve('ok'))
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    socket.once('close', () => resolve('closed'))
  }).finally(() => socket.end())
}

const FAILURES: readonly (readonly [string, () => Promise<SecureContext>])[] = [
  [
    'throws',
    () => {
      throw new Error('no certificate')
    },
  ],
  ['rejects', () => Promise.reject(new Error('no certificate'))],
  ['never answers', () => new Promise(() => {})],
  ['answers what is no context', () => Promise.resolve({} as SecureContext)],
]

for (const [what, contextFor] of FAILURES) {
  t.test(`survives a certificate look-up that ${what}`, async (t) => {
    const { port, results } = await listenerFor(t, contextFor)
    for (let at = 0; at < 3; at += 1) t.not(await shakeHands(port, 'app.localhost'), 'ok')
    t.equal(await shakeHands(port), 'ok', 'a handshake without a server name still works')
    await until(
      () => results.includes('ok') && results.some((result) => result !== 'ok'),
      'both in the counts',
    )
  })
}
