/**
 * The attacker opens a sound HTTP/2 request and lets its body break the promise of the head: fewer or more bytes than
 * content-length, data behind the end, trailers that are none. Written as HTTP/1.1 the difference is a request of the
 * attacker's in the VM's connection. The stream is refused, and the VM's connection is cut, never used again.
 */

import t, { type Test } from 'tap'
import { type AttackedEdge, attackedEdgeFor, serves } from '../helpers/attacked-edge.ts'
import { encodeFields, type Field, FLAG, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { fieldOf, scriptedVmFor } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const STRICT = 'strict.localhost'
const HIDDEN = `GET /hidden HTTP/1.1\r\nHost: ${STRICT}\r\n\r\n`

type Part = readonly [type: number, flags: number, payload: Buffer]

const data = (text: string, flags = 0): Part => [FRAME.data, flags, Buffer.from(text)]
const trailers = (fields: readonly Field[], flags: number): Part => [
  FRAME.headers,
  flags,
  encodeFields(fields),
]
const LAST = FLAG.endStream
const HEAD_LAST = FLAG.endStream | FLAG.endHeaders

/** What content-length says (undefined: none), and the frames behind the head. */
const BODIES: readonly (readonly [string, string | undefined, readonly Part[]])[] = [
  ['fewer bytes than content-length', '5', [data('abc', LAST)]],
  ['fewer bytes in two frames', '5', [data('a'), data('bc', LAST)]],
  ['no byte of a content-length', '5', [data('', LAST)]],
  ['more bytes than content-length', '5', [data('abcdefgh', LAST)]],
  ['more bytes in a second frame', '5', [data('abcde'), data(HIDDEN, LAST)]],
  ['a hidden request behind content-length', '5', [data(`abcde${HIDDEN}`, LAST)]],
  ['bytes in spite of content-length 0', '0', [data(HIDDEN, LAST)]],
  ['trailers before all bytes came', '5', [data('abc'), trailers([['x-a', 'b']], HEAD_LAST)]],
  [
    'trailers that do not end the stream',
    undefined,
    [data('abc'), trailers([['x-a', 'b']], FLAG.endHeaders)],
  ],
  ['a pseudo-header field in trailers', undefined, [data('abc'), trailers([[':path', '/x']], HEAD_LAST)]],
  ['connection in trailers', undefined, [data('abc'), trailers([['connection', 'close']], HEAD_LAST)]],
  [
    'transfer-encoding in trailers',
    undefined,
    [data('abc'), trailers([['transfer-encoding', 'chunked']], HEAD_LAST)],
  ],
  ['a trailer in upper case', undefined, [data('abc'), trailers([['X-A', 'b']], HEAD_LAST)]],
  ['a reset in the middle', undefined, [data('abc'), [FRAME.reset, 0, Buffer.from([0, 0, 0, 8])]]],
  ['padding longer than the frame', undefined, [[FRAME.data, FLAG.padded, Buffer.from([200, 1, 2])]]],
]

async function openPost(edge: AttackedEdge, extra: readonly Field[]): Promise<H2Wire> {
  const wire = await new H2Wire(await edge.dial(STRICT, { alpn: ['h2'] })).start()
  const fields = requestFields(STRICT, '/evil', [[':method', 'POST'], ...extra])
  wire.send(FRAME.headers, FLAG.endHeaders, 1, encodeFields(fields))
  return wire
}

async function strictVmFor(t: Test, edge: AttackedEdge) {
  const vm = await scriptedVmFor(t)
  await edge.route(STRICT, vm.port)
  return vm
}

t.test('refuses a body that is not what the head said', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, length, parts] of BODIES) {
    await t.test(what, async (t) => {
      const vm = await strictVmFor(t, edge)
      const wire = await openPost(edge, length === undefined ? [] : [['content-length', length]])
      // The VM has the head before the body breaks, which is the harder case.
      await until(() => vm.received.join('').includes('/evil'), 'the head at the VM')
      for (const [type, flags, payload] of parts) wire.send(type, flags, 1, payload)
      await until(
        () => vm.sockets.every((socket) => socket.readableEnded || socket.destroyed),
        'the end of the connection to the VM',
      )
      // What came before the fault may have been whole by its own length; then it is what the VM may have.
      for (const { head, body } of vm.requests) {
        t.equal(
          fieldOf(head, 'content-length'),
          length,
          'no request is complete that the client left incomplete',
        )
        t.equal(body, length === '5' ? 'abcde' : '')
      }
      t.notMatch(vm.received.join(''), /^GET \/hidden/m, 'the hidden request is no request for the VM')
      await serves(t, edge)
      wire.socket.destroy()
    })
  }
})

t.test('drops trailers that frame or route, and keeps the others', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await strictVmFor(t, edge)
  const wire = await openPost(edge, [])
  wire.send(FRAME.data, 0, 1, Buffer.from('abc'))
  const fields: Field[] = [
    ['content-length', '99'],
    ['host', 'other.localhost'],
    ['x-forwarded-for', '1.2.3.4'],
    ['x-landfall-user', 'root'],
    ['x-checksum', 'good'],
  ]
  wire.send(FRAME.headers, HEAD_LAST, 1, encodeFields(fields))
  await until(() => vm.requests.length === 1 || wire.resetCode(1) !== undefined, 'a request or a refusal')
  for (const { body } of vm.requests) t.equal(body, '3\r\nabc\r\n0\r\nx-checksum: good\r\n\r\n')
})

t.test('closes the connection of a client that sends data on a stream that it had ended', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await strictVmFor(t, edge)
  const wire = await openPost(edge, [])
  wire.send(FRAME.data, LAST, 1, Buffer.from('abc'))
  wire.send(FRAME.data, 0, 1, Buffer.from(HIDDEN))
  await until(
    () => wire.goAwayCode() !== undefined || wire.resetCode(1) !== undefined || wire.isOver,
    'a refusal',
  )
  t.notMatch(vm.received.join(''), /hidden/)
  await serves(t, edge)
})
