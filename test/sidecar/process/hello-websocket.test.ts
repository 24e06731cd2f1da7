/** The hand-written WebSocket echo against the `ws` client, and against bytes that no client should send. */

import { once } from 'node:events'
import t, { type Test } from 'tap'
import WebSocket from 'ws'
import { startHello } from '../../../sidecar/process/hello-vm.ts'
import { MAX_MESSAGE_BYTES } from '../../../sidecar/process/hello-websocket.ts'
import { until } from '../../helpers/until.ts'
import { ask, helloFor, rawFor } from '../vms.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

async function clientFor(
  t: Test,
  port: number,
  options: { protocols?: string[]; path?: string } = {},
): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${port}${options.path ?? '/'}`, options.protocols ?? [])
  t.teardown(() => client.terminate())
  await once(client, 'open')
  return client
}

async function echoOf(
  client: WebSocket,
  message: string | Buffer,
): Promise<{ data: Buffer; isBinary: boolean }> {
  client.send(message)
  const [data, isBinary] = await once(client, 'message')
  return { data, isBinary }
}

/** A client's frame, masked; every part can be made wrong. */
function frame(first: number, payload: Buffer | string, { length }: { length?: Buffer } = {}): Buffer {
  const bytes = Buffer.from(payload)
  const mask = Buffer.from([1, 2, 3, 4])
  const short = Buffer.from([0x80 | bytes.length])
  return Buffer.concat([
    Buffer.from([first]),
    length ?? short,
    mask,
    bytes.map((byte, index) => byte ^ (mask[index % 4] ?? 0)),
  ])
}

function handshake(fields: Record<string, string> = {}, method = 'GET'): string {
  const all = {
    Host: 'a',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': KEY,
    ...fields,
  }
  const lines = Object.entries(all).filter(([, value]) => value !== '')
  return `${method} /any/path HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}

async function upgradedFor(t: Test) {
  const raw = await rawFor(t, await helloFor(t))
  raw.socket.write(handshake())
  await until(() => raw.received().includes('\r\n\r\n'), 'the handshake is answered')
  const frames = () => raw.received().subarray(raw.received().indexOf('\r\n\r\n') + 4)
  return { ...raw, frames }
}

t.test('echoes text and binary messages of every length form', async (t) => {
  const client = await clientFor(t, await helloFor(t))
  t.same(await echoOf(client, 'grüße'), { data: Buffer.from('grüße'), isBinary: false })
  for (const bytes of [0, 1, 125, 126, 65_535, 65_536, MAX_MESSAGE_BYTES]) {
    const { data, isBinary } = await echoOf(client, Buffer.alloc(bytes, bytes % 251))
    t.ok(isBinary && data.equals(Buffer.alloc(bytes, bytes % 251)), `${bytes} bytes`)
  }
})

t.test('answers the handshake as RFC 6455 section 1.3 shows', async (t) => {
  const { received } = await upgradedFor(t)
  t.match(received().toString(), /^HTTP\/1.1 101 Switching Protocols\r\n/)
  t.match(received().toString(), 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n')
})

t.test('takes a WebSocket on any path and chooses the first subprotocol', async (t) => {
  const client = await clientFor(t, await helloFor(t), { path: '/a/b?c', protocols: ['chat', 'other'] })
  t.equal(client.protocol, 'chat')
})

t.test('refuses bad handshakes', async (t) => {
  const port = await helloFor(t)
  const cases: [string, string, RegExp][] = [
    [
      'another version',
      handshake({ 'Sec-WebSocket-Version': '8' }),
      /^HTTP\/1.1 426 [\s\S]*Sec-WebSocket-Version: 13/,
    ],
    ['no key', handshake({ 'Sec-WebSocket-Key': '' }), /^HTTP\/1.1 400 /],
    ['a short key', handshake({ 'Sec-WebSocket-Key': 'abcd' }), /^HTTP\/1.1 400 /],
    ['another method', handshake({}, 'POST'), /^HTTP\/1.1 405 [\s\S]*Allow: GET/],
  ]
  for (const [name, bytes, expected] of cases) {
    const { socket, received, ended } = await rawFor(t, port)
    socket.write(bytes)
    await ended
    t.match(received().toString(), expected, name)
  }
})

t.test('answers pings, also between the parts of a message', async (t) => {
  const { socket, frames } = await upgradedFor(t)
  socket.write(
    Buffer.concat([frame(0x01, 'Hel'), frame(0x89, 'now'), frame(0x8a, 'unasked'), frame(0x80, 'lo')]),
  )
  const expected = Buffer.concat([
    Buffer.from([0x8a, 3]),
    Buffer.from('now'),
    Buffer.from([0x81, 5]),
    Buffer.from('Hello'),
  ])
  await until(() => frames().length >= expected.length, 'both came')
  t.same(frames(), expected)
})

t.test('reads frames that arrive byte by byte, and with the handshake', async (t) => {
  const { socket, received } = await rawFor(t, await helloFor(t))
  socket.setNoDelay(true)
  socket.write(Buffer.concat([Buffer.from(handshake()), frame(0x81, 'one')]))
  await until(() => received().toString('latin1').endsWith('\x81\x03one'), 'the first echo came')
  for (const byte of frame(0x81, 'two'))
    await new Promise<void>((resolve) => socket.write(Buffer.of(byte), () => resolve()))
  await until(() => received().toString('latin1').endsWith('\x81\x03two'), 'the second echo came')
  t.pass()
})

t.test('closes with the code that it was closed with', async (t) => {
  const port = await helloFor(t)
  for (const code of [1000, 1001, 3000, 4999]) {
    const client = await clientFor(t, port)
    client.close(code, 'bye')
    t.equal((await once(client, 'close'))[0], code)
  }
  const client = await clientFor(t, port)
  client.close()
  t.equal((await once(client, 'close'))[0], 1005, 'none given, none sent')
})

t.test('closes connections that break the protocol, with the right code', async (t) => {
  const long = (bytes: number[]) => ({ length: Buffer.from(bytes) })
  const cases: [string, Buffer, number][] = [
    ['an unmasked frame', Buffer.from([0x81, 0x01, 0x61, 0, 0, 0, 0]), 1002],
    ['reserved bits', frame(0xc1, 'a'), 1002],
    ['an unknown opcode', frame(0x83, 'a'), 1002],
    ['an unknown control opcode', frame(0x8b, 'a'), 1002],
    ['a ping in parts', frame(0x09, 'a'), 1002],
    ['a ping that is too long', frame(0x89, Buffer.alloc(126), long([0xfe, 0, 126])), 1002],
    ['a continuation of nothing', frame(0x80, 'a'), 1002],
    ['a message within a message', Buffer.concat([frame(0x01, 'a'), frame(0x81, 'b')]), 1002],
    ['a long form for a short length', frame(0x81, 'a', long([0xfe, 0, 1])), 1002],
    ['the longest form for a middle length', frame(0x81, 'a', long([0xff, 0, 0, 0, 0, 0, 0, 1, 0])), 1002],
    ['a negative length', frame(0x81, 'a', long([0xff, 0x80, 0, 0, 0, 0, 0, 0, 0])), 1002],
    ['a frame that is too big', frame(0x81, 'a', long([0xff, 0, 0, 0, 0, 0, 0x10, 0, 1])), 1009],
    ['text that is not UTF-8', frame(0x81, Buffer.from([0xc3, 0x28])), 1007],
    ['a close code that is cut', frame(0x88, 'a'), 1002],
    ['a close code that may not be sent', frame(0x88, Buffer.from([0x03, 0xed])), 1002],
    ['a close reason that is not UTF-8', frame(0x88, Buffer.from([0x03, 0xe8, 0xff])), 1007],
  ]
  for (const [name, bytes, code] of cases) {
    const { socket, frames, ended } = await upgradedFor(t)
    socket.write(bytes)
    await ended
    t.equal(frames()[0], 0x88, name)
    t.equal(frames().readUInt16BE(2), code, name)
  }
})

t.test('closes when the parts of a message grow too big', async (t) => {
  const client = await clientFor(t, await helloFor(t))
  client.on('error', () => {})
  for (let part = 0; part < 5; part += 1) client.send(Buffer.alloc(MAX_MESSAGE_BYTES / 4), { fin: false })
  t.equal((await once(client, 'close'))[0], 1009)
})

t.test('accepts text that is cut within a character', async (t) => {
  const { socket, frames } = await upgradedFor(t)
  const [first, second] = [Buffer.from('ü').subarray(0, 1), Buffer.from('ü').subarray(1)]
  socket.write(Buffer.concat([frame(0x01, first), frame(0x80, second)]))
  await until(() => frames().length >= 4, 'the echo came')
  t.same(frames(), Buffer.concat([Buffer.from([0x81, 2]), Buffer.from('ü')]))
})

t.test('stops reading while the client does not read', async (t) => {
  const { socket } = await upgradedFor(t)
  socket.pause()
  const payload = Buffer.alloc(60_000)
  const message = frame(0x82, payload, { length: Buffer.from([0xfe, 0xea, 0x60]) })
  let sent = 0
  // 400 MB would all be taken by a server without back-pressure.
  while (sent < 400_000_000) {
    sent += message.length
    const isRoom = socket.write(message)
    if (!isRoom && !(await drained(socket))) break
  }
  t.ok(sent < 100_000_000, `took ${sent} bytes`)
})

/** False when there is no room again within half a second. */
async function drained(socket: NodeJS.EventEmitter): Promise<boolean> {
  const signal = AbortSignal.timeout(500)
  return once(socket, 'drain', { signal }).then(
    () => true,
    () => false,
  )
}

t.test('tells open sockets that it is going away', async (t) => {
  const hello = await startHello()
  const client = await clientFor(t, hello.port)
  const closed = once(client, 'close')
  await hello[Symbol.asyncDispose]()
  t.equal((await closed)[0], 1001)
})

t.test('lives on when sockets are reset', async (t) => {
  const port = await helloFor(t)
  const { socket } = await rawFor(t, port)
  socket.write(handshake())
  await once(socket, 'data')
  socket.resetAndDestroy()
  t.equal((await ask(port, '/')).status, 200)
})
