/**
 * The attacker (or a very old client) asks for a protocol version, a cipher suite or a group that is broken, hoping
 * that the edge agrees to the weakest common one. TLS 1.2 and 1.3 with forward secrecy and AEAD are all there is;
 * everything else must be refused in the handshake, and post-quantum key exchange taken by who offers it.
 */

import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { APP, type AttackedEdge, attackedEdgeFor } from '../helpers/attacked-edge.ts'
import {
  clientHello,
  type Hello,
  type HelloAnswer,
  SSL3,
  sendHello,
  TLS10,
  TLS11,
  TLS12,
} from '../helpers/client-hello.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { failedHandshake, tlsFor } from '../helpers/tls-dial.ts'

const ALERT = { handshakeFailure: 40, protocolVersion: 70, noApplicationProtocol: 120 } as const

async function hello(t: Test, edge: AttackedEdge, options: Hello): Promise<HelloAnswer> {
  const socket = connect(edge.httpsPort, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  return sendHello(socket, clientHello({ serverName: APP, ...options }))
}

t.test('refuses versions below TLS 1.2, even with modern suites', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const version of [SSL3, TLS10, TLS11]) {
    const suites = [0xc009, 0xc00a, 0xc013, 0xc014, 0x002f, 0x0035, 0xc02b, 0xc02f]
    const answer = await hello(t, edge, { version, suites })
    t.match(answer, { isAccepted: false }, `version ${version.toString(16)}`)
    if (version !== SSL3) t.equal(answer.alert, ALERT.protocolVersion)
  }
})

const WEAK_SUITES: readonly (readonly [string, number])[] = [
  ['NULL_WITH_NULL_NULL', 0x0000],
  ['RSA_WITH_NULL_SHA256', 0x003b],
  ['RSA_EXPORT_WITH_RC4_40_MD5', 0x0003],
  ['RSA_WITH_RC4_128_SHA', 0x0005],
  ['RSA_WITH_3DES_EDE_CBC_SHA', 0x000a],
  ['RSA_WITH_AES_128_CBC_SHA', 0x002f],
  ['RSA_WITH_AES_256_CBC_SHA', 0x0035],
  ['RSA_WITH_AES_128_GCM_SHA256', 0x009c],
  ['DHE_RSA_WITH_AES_128_CBC_SHA', 0x0033],
  ['DHE_RSA_WITH_AES_128_GCM_SHA256', 0x009e],
  ['DH_anon_WITH_AES_128_CBC_SHA', 0x0034],
  ['ECDH_anon_WITH_AES_128_CBC_SHA', 0xc018],
  ['ECDHE_ECDSA_WITH_NULL_SHA', 0xc006],
  ['ECDHE_ECDSA_WITH_RC4_128_SHA', 0xc007],
  ['ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA', 0xc008],
  ['ECDHE_ECDSA_WITH_AES_128_CBC_SHA', 0xc009],
  ['ECDHE_RSA_WITH_AES_128_CBC_SHA', 0xc013],
  ['ECDHE_ECDSA_WITH_AES_128_CBC_SHA256', 0xc023],
  ['ECDHE_RSA_WITH_AES_256_CBC_SHA384', 0xc028],
  ['PSK_WITH_AES_128_CBC_SHA', 0x008c],
  ['ECDHE_ECDSA_WITH_AES_128_CCM_8', 0xc0ae],
]

t.test('refuses each weak suite of TLS 1.2', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [name, suite] of WEAK_SUITES) {
    const answer = await hello(t, edge, { version: TLS12, suites: [suite] })
    t.match(answer, { isAccepted: false, alert: ALERT.handshakeFailure }, name)
  }
  t.match(await hello(t, edge, { version: TLS12, suites: [0xc02b, 0xc02f] }), { isAccepted: true })
})

t.test('takes the modern suites of TLS 1.2 and all three of TLS 1.3', async (t) => {
  const edge = await attackedEdgeFor(t)
  const suites = [
    ['TLSv1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    ['TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
    ['TLSv1.2', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
    ['TLSv1.3', 'TLS_AES_128_GCM_SHA256'],
    ['TLSv1.3', 'TLS_AES_256_GCM_SHA384'],
    ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256'],
  ] as const
  for (const [version, ciphers] of suites) {
    const socket = await tlsFor(t, edge, {
      servername: APP,
      maxVersion: version,
      minVersion: version,
      ciphers,
    })
    t.match({ version: socket.getProtocol(), name: socket.getCipher().name }, { version, name: ciphers })
  }
})

t.test('agrees on X25519MLKEM768 when it is offered, alone or among others', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const ecdhCurve of ['X25519MLKEM768', 'X25519MLKEM768:X25519', 'X25519MLKEM768:P-256']) {
    const socket = await tlsFor(t, edge, { servername: APP, ecdhCurve })
    t.equal(groupOf(socket), 'X25519MLKEM768', ecdhCurve)
    const answer = await exchange(socket, `GET / HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)
    t.equal(answer.status, 200)
  }
})

t.test('agrees on classical groups with clients that know no other, and on no weak one', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const group of ['X25519', 'P-256', 'P-384']) {
    t.ok(await tlsFor(t, edge, { servername: APP, ecdhCurve: group }), group)
  }
  for (const group of ['P-521', 'X448', 'brainpoolP256r1']) {
    t.not(
      await failedHandshake(t, edge, { servername: APP, ecdhCurve: group, maxVersion: 'TLSv1.3' }),
      '',
      group,
    )
  }
})

t.test('chooses h2 before http/1.1, and http/1.1 for clients that say nothing', async (t) => {
  const edge = await attackedEdgeFor(t)
  const cases = [
    [['h2'], 'h2'],
    [['http/1.1'], 'http/1.1'],
    [['h2', 'http/1.1'], 'h2'],
    [['http/1.1', 'h2'], 'h2'],
    [['spdy/3', 'h3', 'http/1.1'], 'http/1.1'],
  ] as const
  for (const [protocols, chosen] of cases) {
    const socket = await tlsFor(t, edge, { servername: APP, ALPNProtocols: [...protocols] })
    t.equal(socket.alpnProtocol, chosen, protocols.join(', '))
  }
  const silent = await tlsFor(t, edge, { servername: APP, ALPNProtocols: [] })
  const answer = await exchange(silent, `GET / HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)
  t.equal(answer.status, 200)
})

// RFC 7301 section 3.2: going on without a common protocol would let two sides speak two of them.
t.test('refuses a client none of whose protocols it knows', async (t) => {
  const edge = await attackedEdgeFor(t)
  const lists = [['h3'], ['acme-tls/1x'], ['H2'], ['HTTP/1.1'], ['http/1.0'], ['\0'], ['x'.repeat(255)]]
  for (const protocols of lists) {
    const answer = await hello(t, edge, { protocols })
    t.match(answer, { isAccepted: false, alert: ALERT.noApplicationProtocol }, JSON.stringify(protocols))
  }
})

t.test('speaks the agreed protocol only', async (t) => {
  const edge = await attackedEdgeFor(t)
  const h2 = await tlsFor(t, edge, { servername: APP, ALPNProtocols: ['h2'] })
  const asH1 = await exchange(h2, `GET /evil HTTP/1.1\r\nHost: ${APP}\r\n\r\n`)
  t.notMatch(asH1.text, /^HTTP\/1/)
  const h1 = await tlsFor(t, edge, { servername: APP, ALPNProtocols: ['http/1.1'] })
  const asH2 = await exchange(h1, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0')
  t.match(String(asH2.status), /^(0|400|505)$/)
  t.same(edge.requestLines(), [])
})

function groupOf(socket: Awaited<ReturnType<typeof tlsFor>>): string {
  const info = socket.getEphemeralKeyInfo()
  return info !== null && 'name' in info ? String(info.name) : JSON.stringify(info)
}
