/**
 * The attacker never gets as far as HTTP: garbage in place of a handshake, records cut in pieces, a reset at each
 * step, server names of strange bytes. One exception in a TLS callback ends a naive Node server for all its tenants
 * (CVE-2026-21637). Here each such connection ends by itself, and the next handshake works.
 */

import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { APP, type AttackedEdge, attackedEdgeFor, isOver } from '../helpers/attacked-edge.ts'
import { clientHello, record, sendHello, TLS12 } from '../helpers/client-hello.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { tlsFor } from '../helpers/tls-dial.ts'

const SHORT = { LANDFALL_HEADERS_TIMEOUT_MS: '1000' }

async function dialRaw(t: Test, edge: AttackedEdge): Promise<Socket> {
  const socket = connect(edge.httpsPort, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
  return socket
}

async function servesOverTls(t: Test, edge: AttackedEdge): Promise<void> {
  const socket = await edge.dial(APP)
  const answer = await exchange(socket, `GET /after HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)
  socket.destroy()
  t.equal(answer.status, 200, 'the next handshake and request work')
}

const HELLO = clientHello({ serverName: APP })

const GARBAGE: readonly (readonly [string, Buffer])[] = [
  ['zeros', Buffer.alloc(4_096)],
  ['ones', Buffer.alloc(4_096, 0xff)],
  ['noise', Buffer.from(Array.from({ length: 4_096 }, (_, at) => (at * 2_654_435_761) >>> 24))],
  ['plain HTTP', Buffer.from(`GET / HTTP/1.1\r\nHost: ${APP}\r\n\r\n`)],
  ['the preface of HTTP/2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
  ['an SSH banner', Buffer.from('SSH-2.0-OpenSSH_9.9\r\n')],
  ['an SSL 2 hello', Buffer.from([0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, ...Array(40).fill(1)])],
  ['an empty record', record(22, Buffer.alloc(0))],
  ['many empty records', Buffer.concat(Array(100).fill(record(22, Buffer.alloc(0))))],
  ['an alert first', record(21, Buffer.from([2, 40]))],
  ['application data first', record(23, Buffer.alloc(100, 1))],
  ['ChangeCipherSpec first', record(20, Buffer.from([1]))],
  ['a record of an unknown type', record(99, Buffer.alloc(100, 1))],
  ['a record longer than allowed', record(22, Buffer.alloc(20_000, 1))],
  ['a handshake message that is too long', record(22, Buffer.from([1, 0xff, 0xff, 0xff, 3, 3]))],
  [
    'a hello whose lengths lie',
    Buffer.concat([HELLO.subarray(0, 44), Buffer.alloc(HELLO.length - 44, 0xff)]),
  ],
  ['a ServerHello', record(22, Buffer.from([2, 0, 0, 4, 3, 3, 0, 0]))],
  ['two hellos', Buffer.concat([HELLO, HELLO])],
  ['a hello and noise', Buffer.concat([HELLO, Buffer.alloc(500, 0xaa)])],
]

t.test('ends a connection that speaks no TLS, and serves the next', async (t) => {
  const edge = await attackedEdgeFor(t, SHORT)
  for (const [what, bytes] of GARBAGE) {
    await t.test(what, async (t) => {
      const socket = await dialRaw(t, edge)
      socket.write(bytes)
      t.ok(await isOver(socket), 'the connection is closed')
      await servesOverTls(t, edge)
    })
  }
})

t.test(
  'survives a reset after every number of bytes of a hello, and in the middle of a handshake',
  async (t) => {
    const edge = await attackedEdgeFor(t)
    for (let length = 0; length <= HELLO.length; length += 7) {
      const socket = await dialRaw(t, edge)
      if (length > 0) socket.write(HELLO.subarray(0, length))
      await new Promise(setImmediate)
      socket.resetAndDestroy()
    }
    const socket = await dialRaw(t, edge)
    t.equal((await sendHello(socket, HELLO)).isAccepted, true)
    socket.resetAndDestroy()
    await servesOverTls(t, edge)
  },
)

t.test('survives clients that end politely in the middle of a handshake', async (t) => {
  const edge = await attackedEdgeFor(t, SHORT)
  for (const length of [0, 1, 5, 6, 60, HELLO.length - 1]) {
    const socket = await dialRaw(t, edge)
    socket.end(HELLO.subarray(0, length))
    t.ok(await isOver(socket), `closed after ${length} bytes`)
  }
  await servesOverTls(t, edge)
})

t.test('shakes hands with a client whose hello comes byte by byte, and in two records', async (t) => {
  const edge = await attackedEdgeFor(t)
  const slow = await dialRaw(t, edge)
  slow.setNoDelay(true)
  for (const byte of HELLO.subarray(0, -1)) slow.write(Buffer.from([byte]))
  t.equal((await sendHello(slow, HELLO.subarray(-1))).isAccepted, true)
  const message = HELLO.subarray(5)
  const halves = [message.subarray(0, 50), message.subarray(50)].map((half) => record(22, half))
  t.equal((await sendHello(await dialRaw(t, edge), Buffer.concat(halves))).isAccepted, true)
})

t.test('gives up on a client that connects and then falls silent in the handshake', async (t) => {
  const edge = await attackedEdgeFor(t, SHORT)
  for (const length of [0, 3, 100]) {
    const socket = await dialRaw(t, edge)
    if (length > 0) socket.write(HELLO.subarray(0, length))
    t.ok(await isOver(socket), `closed after silence behind ${length} bytes`)
  }
})

const SERVER_NAMES: readonly (readonly [string, string])[] = [
  ['an empty name', ''],
  ['NUL', '\0'],
  ['a name cut by NUL', `${APP}\0.evil.localhost`],
  ['control characters', 'a\x01\x02\r\n\tb'],
  ['CR LF and a field', `${APP}\r\nX-A: b`],
  ['bytes beyond ASCII', '\xff\xfe\xfd'],
  ['half of a UTF-8 character', 'app\xc3'],
  ['255 bytes', 'a'.repeat(255)],
  ['256 bytes', 'a'.repeat(256)],
  ['16,000 bytes', 'a'.repeat(16_000)],
  ['only dots', '....'],
  ['a wildcard', '*.localhost'],
  ['an IPv4 address', '127.0.0.1'],
  ['an IPv6 address', '::1'],
  ['a path', '../../etc/passwd'],
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['braces', '{{7*7}}'],
  ['spaces', ' app.localhost '],
  ['an underscore', '_app.localhost'],
  ['a label of 64 bytes', `${'a'.repeat(64)}.localhost`],
  ['upper case', 'APP.LOCALHOST'],
]

t.test('survives every server name, and shakes hands or refuses', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, serverName] of SERVER_NAMES) {
    await t.test(what, async (t) => {
      for (const hello of [
        { serverName },
        { serverName, version: TLS12 },
        { serverName, extraNames: [APP] },
      ]) {
        const answer = await sendHello(await dialRaw(t, edge), clientHello(hello))
        t.ok(answer.isAccepted || answer.alert !== undefined || answer.isClosed)
      }
      await servesOverTls(t, edge)
    })
  }
})

t.test('counts failed handshakes under few names, whatever the client sent', async (t) => {
  const edge = await attackedEdgeFor(t, SHORT)
  for (const [, bytes] of GARBAGE) {
    const socket = await dialRaw(t, edge)
    socket.end(bytes)
    await isOver(socket)
  }
  const metrics = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  const lines = metrics.split('\n').filter((line) => line.startsWith('edge_tls_handshakes_total{'))
  t.ok(lines.length > 0 && lines.length <= GARBAGE.length, `${lines.length} series`)
  for (const line of lines)
    t.match(line, /^edge_tls_handshakes_total\{result="[\w-]*",version="[\w.]*"\} \d+$/)
  await servesOverTls(t, edge)
})

t.test('survives a client that asks to renegotiate again and again', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await tlsFor(t, edge, { servername: APP, maxVersion: 'TLSv1.2' })
  let done = 0
  for (let at = 0; at < 20 && !socket.destroyed; at += 1) {
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve())
      socket.renegotiate({}, (error) => {
        done += error === null ? 1 : 0
        resolve()
      })
    })
  }
  t.ok(done <= 3, `${done} renegotiations were taken`)
  await servesOverTls(t, edge)
})
