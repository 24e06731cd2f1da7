/** The WebSocket handshake: what a client must ask, what a VM must answer, and the key made for HTTP/2 clients. */

import { createHash } from 'node:crypto'
import t from 'tap'
import type { ResponseHead } from '../../proxy/response-parser.ts'
import { checkHandshake, readHandshake } from '../../proxy/websocket-handshake.ts'
import { type FakeRequest, fakeExchange } from './fake-exchange.ts'

/** The example of RFC 6455 section 1.3. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const VERSION = ['Sec-WebSocket-Version', '13']

function read(request: FakeRequest) {
  return readHandshake(fakeExchange({ isUpgrade: true, ...request }))
}

t.test('knows the answer to a key', async (t) => {
  const handshake = read({ headers: [...VERSION, 'Sec-WebSocket-Key', KEY] })
  t.same(handshake, { extraLines: '', acceptKey: ACCEPT })
})

t.test('makes a key for an extended CONNECT, a new one each time', async (t) => {
  const make = () => read({ version: '2', method: 'CONNECT', headers: ['sec-websocket-version', '13'] })
  const one = make()
  const key = /^sec-websocket-key: ([A-Za-z0-9+/]{22}==)\r\n$/.exec(one.extraLines)?.[1] ?? ''
  t.equal(Buffer.from(key, 'base64').length, 16)
  const answer = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  t.equal(one.acceptKey, answer)
  t.not(make().extraLines, one.extraLines)
})

const KEYED = [...VERSION, 'Sec-WebSocket-Key', KEY]
const WRONG_REQUESTS: readonly (readonly [name: string, request: FakeRequest])[] = [
  ['no version', { headers: ['Sec-WebSocket-Key', KEY] }],
  ['an old version', { headers: ['Sec-WebSocket-Version', '8', 'Sec-WebSocket-Key', KEY] }],
  ['a list of versions', { headers: ['Sec-WebSocket-Version', '13, 8', 'Sec-WebSocket-Key', KEY] }],
  ['two versions', { headers: [...KEYED, 'sec-websocket-version', '13'] }],
  ['no key', { headers: VERSION }],
  ['an empty key', { headers: [...VERSION, 'Sec-WebSocket-Key', ''] }],
  ['a key of another length', { headers: [...VERSION, 'Sec-WebSocket-Key', 'c2hvcnQ='] }],
  ['a key that is no base64', { headers: [...VERSION, 'Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25j_Q=='] }],
  ['two keys', { headers: [...KEYED, 'Sec-WebSocket-Key', 'AAAAAAAAAAAAAAAAAAAAAA=='] }],
  ['POST', { method: 'POST', headers: KEYED }],
  ['HTTP/1.0', { version: '1.0', headers: KEYED }],
  ['a key over HTTP/2', { version: '2', method: 'CONNECT', headers: KEYED }],
  ['no version over HTTP/2', { version: '2', method: 'CONNECT', headers: [] }],
]

t.test('refuses requests that are no WebSocket handshake', async (t) => {
  for (const [name, request] of WRONG_REQUESTS)
    t.throws(() => read(request), { code: 'request_upgrade' }, name)
})

function answer(...headers: string[]): ResponseHead {
  const names = headers.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase())
  return { status: 101, reason: '', headers, names, framing: 'none', length: 0, keepAlive: true }
}

const UPGRADE = ['Upgrade', 'websocket']
const CONNECTION = ['Connection', 'Upgrade']
const SIGNED = ['Sec-WebSocket-Accept', ACCEPT]

t.test('takes the answer that RFC 6455 wants, in any case and order', async (t) => {
  const answers = [
    [...UPGRADE, ...CONNECTION, ...SIGNED],
    ['sec-websocket-accept', ACCEPT, 'connection', 'keep-alive, upgrade', 'upgrade', 'WebSocket'],
    ['Connection', 'x', ...CONNECTION, ...UPGRADE, ...SIGNED],
  ]
  for (const fields of answers) t.doesNotThrow(() => checkHandshake(answer(...fields), ACCEPT), fields.join())
})

const WRONG_ANSWERS: readonly (readonly [name: string, fields: string[], acceptKey?: string])[] = [
  ['no Upgrade', [...CONNECTION, ...SIGNED]],
  ['another Upgrade', ['Upgrade', 'h2c', ...CONNECTION, ...SIGNED]],
  ['no Connection', [...UPGRADE, ...SIGNED]],
  ['a Connection that does not name Upgrade', [...UPGRADE, 'Connection', 'upgraded', ...SIGNED]],
  ['no Sec-WebSocket-Accept', [...UPGRADE, ...CONNECTION]],
  [
    'the answer to another key',
    [...UPGRADE, ...CONNECTION, 'Sec-WebSocket-Accept', 'AAAAAAAAAAAAAAAAAAAAAAAAAAA='],
  ],
  ['the answer in another case', [...UPGRADE, ...CONNECTION, 'Sec-WebSocket-Accept', ACCEPT.toLowerCase()]],
]

t.test('refuses any other answer', async (t) => {
  for (const [name, fields] of WRONG_ANSWERS)
    t.throws(() => checkHandshake(answer(...fields), ACCEPT), { code: 'upstream_upgrade' }, name)
  const good = answer(...UPGRADE, ...CONNECTION, ...SIGNED)
  t.throws(() => checkHandshake(good, undefined), { code: 'upstream_upgrade' }, 'nothing was asked')
})
