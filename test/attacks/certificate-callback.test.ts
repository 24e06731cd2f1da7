/**
 * The attacker finds a server name for which making a certificate fails. In Node a throw in SNICallback was an
 * uncaught exception and ended the process (CVE-2026-21637). Whatever the look-up does (throw, reject, stay silent,
 * answer nonsense), only that handshake may fail.
 */

import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { type ConnectionOptions, connect, createSecureContext, type SecureContext } from 'node:tls'
import t, { type Test } from 'tap'
import { loadLocalCa } from '../../acme/local-ca.ts'
import { ClientRegistry } from '../../proxy/client-registry.ts'
import { startTlsListener } from '../../proxy/tls-listener.ts'
import { QUIET_CERTIFICATES } from '../helpers/quiet-certificates.ts'
import { until } from '../helpers/until.ts'

const LIMITS = {
  idleMs: 1_000,
  connectionsPerClient: 100,
  trustedProxies: [],
  streams: 10,
  headerBytes: 8_192,
  headerCount: 50,
}

type Certificates = Parameters<typeof startTlsListener>[0]['certificates']
type ContextFor = Certificates['contextFor']

async function listenerFor(t: Test, contextFor: ContextFor, more: Partial<Certificates> = {}) {
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
      certificates: {
        ...QUIET_CERTIFICATES,
        contextFor,
        defaultPem: () => ca.issue(['localhost']),
        ...more,
      },
      reportHandshake: ({ result }) => results.push(result),
    },
    { ...LIMITS, host: '127.0.0.1', port: 0, headersMs: 1_500, keepAliveMs: 1_000 },
  )
  t.teardown(() => listener[Symbol.asyncDispose]())
  return { port: listener.port, results }
}

/** Resolves with 'ok' or with how the handshake ended. */
async function shakeHands(
  port: number,
  servername?: string,
  options: ConnectionOptions = {},
): Promise<string> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    ...(servername !== undefined && { servername }),
    ...options,
  })
  return new Promise<string>((resolve) => {
    socket.once('secureConnect', () => resolve('ok'))
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    socket.once('close', () => resolve('closed'))
  }).finally(() => socket.end())
}

const FAILURES: readonly (readonly [string, ContextFor])[] = [
  [
    'throws',
    () => {
      throw new Error('no certificate')
    },
  ],
  ['rejects', () => Promise.reject(new Error('no certificate'))],
  ['never answers', () => new Promise(() => {})],
  ['answers what is no context', () => Promise.resolve({} as SecureContext)],
  ['answers at once what is no context', () => ({}) as SecureContext],
  ['answers nothing', () => undefined as unknown as SecureContext],
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

t.test('tells the look-up the name, the address and what the client can do', async (t) => {
  const ca = await loadLocalCa(t.testdir())
  const { certPem, keyPem } = await ca.issue(['app.localhost'])
  const context = createSecureContext({ cert: certPem, key: keyPem })
  const asked: unknown[] = []
  const { port } = await listenerFor(t, (name, address, client) => {
    asked.push([name, address, client.takesEcdsa()])
    return context
  })
  t.equal(await shakeHands(port, 'App.Localhost'), 'ok')
  t.equal(await shakeHands(port, 'app.localhost', { maxVersion: 'TLSv1.2' }), 'ok')
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
    t.not(await shakeHands(port, 'app.localhost', { maxVersion, sigalgs: 'rsa_pss_rsae_sha256' }), 'ok')
  t.same(asked, [
    ['App.Localhost', '127.0.0.1', true],
    ['app.localhost', '127.0.0.1', true],
    ['app.localhost', '127.0.0.1', false],
    ['app.localhost', '127.0.0.1', false],
  ])
})

t.test('shows a renewed default certificate, and goes on sharing tickets', async (t) => {
  const ca = await loadLocalCa(t.testdir())
  const { certPem, keyPem } = await ca.issue(['old.test'])
  let pem = { certPem, keyPem }
  let rings: () => void = () => {}
  const { port } = await listenerFor(t, () => Promise.reject(new Error('no name')), {
    defaultPem: async () => pem,
    onPlatform: (ring) => {
      rings = ring
      return () => {}
    },
  })
  t.equal(await defaultName(port), 'DNS:old.test')
  pem = await ca.issue(['new.test'])
  rings()
  await until(async () => (await defaultName(port)) === 'DNS:new.test', 'the new one is shown')
  pem = { certPem: 'broken', keyPem: 'broken' }
  rings()
  await new Promise(setImmediate)
  t.equal(await defaultName(port), 'DNS:new.test')
})

async function defaultName(port: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const name = String(socket.getPeerCertificate().subjectaltname)
  socket.destroy()
  return name
}

t.test('staples what it has for clients that ask, and shakes hands without it when that fails', async (t) => {
  const ca = await loadLocalCa(t.testdir())
  const { certPem, keyPem } = await ca.issue(['app.localhost'])
  const context = createSecureContext({ cert: certPem, key: keyPem })
  let hasStaples = false
  let find = (_certificate: Buffer): Buffer | undefined => Buffer.from('a staple')
  const more = { hasStaples: () => hasStaples, findStaple: (certificate: Buffer) => find(certificate) }
  const { port } = await listenerFor(t, () => context, more)
  t.equal(await stapleOf(port), 'none', 'before there are any')
  hasStaples = true
  t.equal(await stapleOf(port), 'a staple')
  const asked: Buffer[] = []
  find = (certificate) => {
    asked.push(certificate)
    return undefined
  }
  t.equal(await stapleOf(port), 'none')
  t.ok(asked[0]?.equals(new X509Certificate(certPem).raw), 'asked for the certificate that is shown')
  find = () => {
    throw new Error('no staple')
  }
  t.equal(await stapleOf(port), 'none')
})

async function stapleOf(port: number): Promise<string> {
  const socket = connect({
    ...{ host: '127.0.0.1', port, servername: 'app.localhost' },
    ...{ rejectUnauthorized: false, requestOCSP: true },
  })
  const answer = new Promise<string>((resolve) =>
    socket.once('OCSPResponse', (bytes: Buffer | null) => resolve(bytes?.toString() || 'none')),
  )
  await once(socket, 'secureConnect')
  socket.destroy()
  return answer
}
