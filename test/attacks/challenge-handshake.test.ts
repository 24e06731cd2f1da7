/**
 * The attacker plays the CA: offers `acme-tls/1` to see a certificate that is not meant for him or to speak HTTP behind
 * it, and sends the hello so that looking at it costs memory, time or a connection that nobody counts. A challenge gets
 * its one handshake while it is pending (RFC 8737); everybody else is served as if nobody had looked.
 */

import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { loadLocalCa } from '../../acme/local-ca.ts'
import { ClientRegistry } from '../../proxy/client-registry.ts'
import { startTlsListener } from '../../proxy/tls-listener.ts'
import { isOver } from '../helpers/attacked-edge.ts'
import { clientHello, record, sendHello } from '../helpers/client-hello.ts'
import { QUIET_CERTIFICATES } from '../helpers/quiet-certificates.ts'
import { until } from '../helpers/until.ts'

const NAME = 'shop.example'
const UNRECOGNIZED_NAME = 112
const NO_APPLICATION_PROTOCOL = 120
const LIMITS = {
  idleMs: 1_000,
  connectionsPerClient: 20,
  trustedProxies: [],
  streams: 10,
  headerBytes: 8_192,
  headerCount: 50,
}
const HEADERS_MS = 1_500

interface Scene {
  readonly port: number
  readonly results: string[]
  readonly clients: ClientRegistry
  /** By server name; what is here is pending. */
  readonly pending: Map<string, SecureContext>
  readonly requests: string[]
}

async function sceneFor(t: Test, hasAlpnContexts = () => true): Promise<Scene> {
  const ca = await loadLocalCa(t.testdir())
  const contextOf = async (name: string) => {
    const { certPem, keyPem } = await ca.issue([name])
    return createSecureContext({ cert: certPem, key: keyPem })
  }
  const [challenge, ordinary] = [await contextOf('challenge.invalid'), await contextOf(NAME)]
  const pending = new Map([[NAME, challenge]])
  const clients = new ClientRegistry(LIMITS)
  const results: string[] = []
  const requests: string[] = []
  const listener = await startTlsListener(
    {
      clients,
      handle: (exchange) => {
        requests.push(exchange.target)
        exchange.start(204, 'No Content', [], { mayHaveTrailers: false, hasBody: false })
        exchange.end()
      },
      reportBadRequest: () => {},
      edgeName: 'test',
      drainState: { isDraining: false },
      pipelineLimit: 10,
      certificates: {
        ...QUIET_CERTIFICATES,
        contextFor: () => ordinary,
        defaultPem: () => ca.issue(['localhost']),
        findAlpnContext: (name) => pending.get(name),
        hasAlpnContexts,
      },
      reportHandshake: ({ result }) => results.push(result),
    },
    { ...LIMITS, host: '127.0.0.1', port: 0, headersMs: HEADERS_MS, keepAliveMs: 1_000 },
  )
  t.teardown(async () => {
    clients.destroyAll()
    await listener[Symbol.asyncDispose]()
  })
  return { port: listener.port, results, clients, pending, requests }
}

function dial(t: Test, { port }: Scene): Socket {
  const socket = connectTcp(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  return socket
}

/** The subject that was shown, or Node's error code. */
async function shake(t: Test, { port }: Scene, protocols: string[], options: object = {}) {
  const socket: TLSSocket = connect({
    ...{ host: '127.0.0.1', port, servername: NAME, rejectUnauthorized: false },
    ...{ ALPNProtocols: protocols, ...options },
  })
  t.teardown(() => socket.destroy())
  const failed = new Promise<string>((resolve) =>
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error')),
  )
  const done = once(socket, 'secureConnect').then(() => '')
  const error = await Promise.race([done, failed])
  const names = error === '' ? String(socket.getPeerCertificate().subjectaltname) : ''
  return { socket, error, names, protocol: socket.alpnProtocol }
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(`shows the certificate of a pending challenge, and ends (${maxVersion})`, async (t) => {
    const scene = await sceneFor(t)
    const { socket, names, protocol } = await shake(t, scene, ['acme-tls/1'], { maxVersion })
    t.match({ names, protocol }, { names: 'DNS:challenge.invalid', protocol: 'acme-tls/1' })
    socket.write('GET /evil HTTP/1.1\r\nHost: shop.example\r\n\r\n')
    t.ok(await isOver(socket))
    t.same(scene.requests, [], 'it speaks nothing behind the handshake')
    await until(() => scene.clients.openConnections === 0, 'the connection is over')
    t.same(scene.results, ['challenge'])
  })
}

t.test('takes the server name of a challenge in any case', async (t) => {
  const scene = await sceneFor(t)
  const { names } = await shake(t, scene, ['acme-tls/1'], { servername: 'SHOP.Example' })
  t.equal(names, 'DNS:challenge.invalid')
})

t.test('refuses a challenge that is not pending with an alert, and shows nothing', async (t) => {
  const scene = await sceneFor(t)
  for (const serverName of ['other.example', undefined, '', '__proto__', `${NAME}\0`]) {
    const answer = await sendHello(dial(t, scene), clientHello({ serverName, protocols: ['acme-tls/1'] }))
    t.match(answer, { isAccepted: false, alert: UNRECOGNIZED_NAME }, String(serverName))
  }
  scene.pending.clear()
  const answer = await sendHello(dial(t, scene), clientHello({ serverName: NAME, protocols: ['acme-tls/1'] }))
  t.match(answer, { isAccepted: false, alert: UNRECOGNIZED_NAME }, 'over now')
  await until(() => scene.clients.openConnections === 0, 'all are closed')
  t.ok(scene.results.every((result) => result === 'unrecognized_name'))
})

t.test('serves everybody else as ever while a challenge is pending', async (t) => {
  const scene = await sceneFor(t)
  for (const protocols of [[], ['h2'], ['http/1.1'], ['h2', 'acme-tls/1']]) {
    const { names, protocol } = await shake(t, scene, protocols)
    t.equal(names, `DNS:${NAME}`, protocols.join())
    t.equal(protocol || 'none', protocols[0] ?? 'none')
  }
  const { socket } = await shake(t, scene, ['http/1.1'])
  socket.write('GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n')
  const [answer] = await once(socket, 'data')
  t.match(String(answer), /^HTTP\/1\.1 204/)
})

t.test('looks at nothing while no challenge is pending anywhere', async (t) => {
  let isPending = false
  const scene = await sceneFor(t, () => isPending)
  const ask = clientHello({ serverName: NAME, protocols: ['acme-tls/1'] })
  t.match(await sendHello(dial(t, scene), ask), { isAccepted: false, alert: NO_APPLICATION_PROTOCOL })
  isPending = true
  t.equal((await shake(t, scene, ['acme-tls/1'])).names, 'DNS:challenge.invalid')
})

t.test('finds a challenge in a hello that comes byte by byte, and in several records', async (t) => {
  const scene = await sceneFor(t)
  const hello = clientHello({ serverName: NAME, protocols: ['acme-tls/1'] })
  const slow = dial(t, scene)
  slow.setNoDelay(true)
  await once(slow, 'connect')
  for (const byte of hello.subarray(0, -1)) {
    slow.write(Buffer.from([byte]))
    await new Promise(setImmediate)
  }
  t.equal((await sendHello(slow, hello.subarray(-1))).isAccepted, true)
  const message = hello.subarray(5)
  const thirds = [message.subarray(0, 2), message.subarray(2, 70), message.subarray(70)]
  const cut = Buffer.concat(thirds.map((part) => record(22, part)))
  t.equal((await sendHello(dial(t, scene), cut)).isAccepted, true)
})

t.test('lets OpenSSL refuse what is no hello, with the alert that it has for that', async (t) => {
  const scene = await sceneFor(t)
  const hello = clientHello({ serverName: NAME })
  const garbage = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(4_096),
    record(22, Buffer.from([1, 0xff, 0xff, 0xff, 3, 3])),
    Buffer.concat([hello.subarray(0, 44), Buffer.alloc(hello.length - 44, 0xff)]),
  ]
  for (const bytes of garbage) {
    const answer = await sendHello(dial(t, scene), bytes)
    t.ok(answer.alert !== undefined || answer.isClosed, bytes.toString('hex', 0, 8))
    t.equal(answer.isAccepted, false)
  }
  await until(() => scene.clients.openConnections === 0, 'all are closed')
  t.ok(scene.results.length >= garbage.length, 'each is counted')
})

t.test('takes a hello of more than a record, with bytes behind it', async (t) => {
  const scene = await sceneFor(t)
  const long = clientHello({ serverName: NAME, protocols: Array(60).fill('x'.repeat(250)) })
  const answer = await sendHello(dial(t, scene), Buffer.concat([long, Buffer.alloc(100, 0xaa)]))
  t.match(answer, { alert: NO_APPLICATION_PROTOCOL }, 'read by OpenSSL to the end')
})

t.test('gives up on a client that is slow or silent with its hello, and counts it', async (t) => {
  const scene = await sceneFor(t)
  const hello = clientHello({ serverName: NAME })
  for (const length of [0, 3, 100]) {
    const socket = dial(t, scene)
    if (length > 0) socket.write(hello.subarray(0, length))
    t.ok(await isOver(socket), `silent behind ${length} bytes`)
  }
  const drip = dial(t, scene)
  drip.setNoDelay(true)
  let at = 0
  const timer = setInterval(() => drip.write(hello.subarray(at, ++at)), 50)
  t.teardown(() => clearInterval(timer))
  const startedAt = performance.now()
  t.ok(await isOver(drip), 'one byte at a time')
  t.ok(performance.now() - startedAt < 4 * HEADERS_MS)
  await until(() => scene.clients.openConnections === 0, 'all are closed')
  t.same(scene.results, Array(4).fill('ERR_TLS_HANDSHAKE_TIMEOUT'))
})

t.test('keeps nothing of clients that vanish at any byte of the hello', async (t) => {
  const scene = await sceneFor(t)
  const hello = clientHello({ serverName: NAME, protocols: ['acme-tls/1'] })
  for (let length = 0; length <= hello.length; length += 9) {
    for (const leave of ['end', 'reset'] as const) {
      const socket = dial(t, scene)
      await once(socket, 'connect')
      if (length > 0) socket.write(hello.subarray(0, length))
      if (leave === 'end') socket.end()
      else socket.resetAndDestroy()
      await until(() => scene.clients.openConnections < LIMITS.connectionsPerClient / 2, 'room for more')
    }
  }
  await until(() => scene.clients.openConnections === 0, 'all are closed')
  t.equal((await shake(t, scene, ['acme-tls/1'])).names, 'DNS:challenge.invalid')
})

t.test('counts connections whose hello has not come, and refuses what is above the limit', async (t) => {
  const scene = await sceneFor(t)
  for (let at = 0; at < LIMITS.connectionsPerClient; at += 1) dial(t, scene)
  await until(() => scene.clients.openConnections === LIMITS.connectionsPerClient, 'all are counted')
  t.ok(await isOver(dial(t, scene)))
  t.equal(scene.clients.openConnections, LIMITS.connectionsPerClient)
})
