/** Reading a ClientHello: what it says, in how many pieces it may come, and that no bytes make it fail. */

import { connect as connectTcp, createServer } from 'node:net'
import { connect } from 'node:tls'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { parseClientHello } from '../../proxy/client-hello.ts'
import { clientHello, record, TLS12 } from '../helpers/client-hello.ts'

const HELLO = clientHello({ serverName: 'App.Example', protocols: ['acme-tls/1', 'h2'] })
const READ = { serverName: 'app.example', protocols: ['acme-tls/1', 'h2'] }

/** The message in records of at most `size` bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5)
  const parts: Buffer[] = []
  for (let at = 0; at < message.length; at += size) parts.push(record(22, message.subarray(at, at + size)))
  return Buffer.concat(parts)
}

/** What Node's own client sends first. */
async function helloOfNode(t: Test, options: object): Promise<Buffer> {
  const server = createServer()
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const first = new Promise<Buffer>((resolve) =>
    server.once('connection', (socket) => {
      socket.once('data', resolve)
      t.teardown(() => socket.destroy())
    }),
  )
  const client = connect({ socket: connectTcp(port, '127.0.0.1'), ...options })
  client.on('error', () => {})
  t.teardown(() => client.destroy())
  return first
}

t.test('reads server name and protocols', async (t) => {
  t.same(parseClientHello(HELLO), READ)
  t.same(parseClientHello(clientHello()), { serverName: undefined, protocols: [] })
  t.same(parseClientHello(clientHello({ serverName: 'a', version: TLS12 })), {
    serverName: 'a',
    protocols: [],
  })
})

t.test('reads the hello of a real client', async (t) => {
  const options = { servername: 'app.example', ALPNProtocols: ['acme-tls/1'] }
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
    const hello = parseClientHello(await helloOfNode(t, { ...options, maxVersion }))
    t.same(hello, { serverName: 'app.example', protocols: ['acme-tls/1'] }, maxVersion)
  }
})

t.test('asks for more until the last byte is there, and ignores what comes behind it', async (t) => {
  for (const hello of [HELLO, inRecords(HELLO, 60)]) {
    for (let length = 0; length < hello.length; length += 1)
      t.equal(parseClientHello(hello.subarray(0, length)), 'more', `${length} bytes`)
    t.same(parseClientHello(hello), READ)
  }
})

t.test('leaves a hello of many records to OpenSSL', async (t) => {
  t.equal(parseClientHello(inRecords(HELLO, 3)), 'unreadable')
})

t.test('leaves a hello that is larger than any real one to OpenSSL, before it has come', async (t) => {
  const announced = record(22, Buffer.from([1, 0, 0x40, 1, 3, 3]))
  t.equal(parseClientHello(announced), 'unreadable')
  const within = Buffer.from([22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xf0])
  t.equal(parseClientHello(within), 'more')
})

t.test('takes nothing else for a hello', async (t) => {
  const others = [
    Buffer.from('GET / HTTP/1.1\r\n'),
    record(21, Buffer.from([2, 40])),
    record(22, Buffer.alloc(0)),
    record(22, Buffer.from([2, 0, 0, 4, 3, 3, 0, 0])),
    record(22, Buffer.from([1, 0, 0, 4, 3, 3, 0, 0])),
    Buffer.concat([HELLO.subarray(0, 44), Buffer.alloc(HELLO.length - 44, 0xff)]),
  ]
  for (const bytes of others) t.equal(parseClientHello(bytes), 'unreadable', bytes.toString('hex', 0, 12))
})

t.test('reads or refuses any bytes, and never fails', async (t) => {
  const seen = new Set<string>()
  const note = (bytes: Buffer) => {
    const hello = parseClientHello(bytes)
    seen.add(typeof hello === 'string' ? hello : 'read')
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      note(Buffer.from(bytes))
      note(record(22, Buffer.concat([Buffer.from([1, 0, 0, bytes.length & 0xff]), Buffer.from(bytes)])))
    }),
    { numRuns: 300 },
  )
  // Every single byte of a good hello, changed.
  for (let at = 0; at < HELLO.length; at += 1) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const changed = Buffer.from(HELLO)
      changed[at] = value
      note(changed)
    }
  }
  t.same([...seen].sort(), ['more', 'read', 'unreadable'])
})
