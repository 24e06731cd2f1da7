/** Requests of guests, whole and in pieces, and what is none. */

import t from 'tap'
import { hasBody, type Reading, RequestReader } from '../../../sidecar/metadata/request-reader.ts'

const REQUEST = 'GET /v1/name HTTP/1.1\r\nHost: x\r\nLandfall-Metadata: 1\r\n\r\n'

function readAll(chunks: readonly string[], isShared: boolean) {
  const reader = new RequestReader({ isShared })
  return chunks.flatMap((chunk) => {
    const readings: Reading[] = []
    for (let reading = reader.read(chunk); reading !== 'more'; reading = reader.read(''))
      readings.push(reading)
    return readings.map((reading) => (typeof reading === 'string' ? reading : reading.target))
  })
}

t.test('reads a request however it comes', (t) => {
  const reader = new RequestReader({ isShared: false })
  t.same(reader.read(REQUEST), {
    method: 'GET',
    target: '/v1/name',
    headers: new Map([
      ['host', 'x'],
      ['landfall-metadata', '1'],
    ]),
  })
  for (const isShared of [true, false]) {
    t.same(readAll([...REQUEST], isShared), ['/v1/name'], 'one byte at a time')
    t.same(readAll([REQUEST.replaceAll('\r\n', '\n')], isShared), ['/v1/name'], 'bare line feeds')
    t.same(readAll([REQUEST + REQUEST.replace('name', 'pool')], isShared), ['/v1/name', '/v1/pool'])
  }
  t.end()
})

t.test('refuses what is no request', (t) => {
  const bad = [
    'hello\r\n\r\n',
    '\r\n\r\n',
    'GET v1 HTTP/1.1\r\n\r\n',
    'GET /a b HTTP/1.1\r\n\r\n',
    'GET / HTTP/2\r\n\r\n',
    'GET / HTTP/1.1\r\nno colon\r\n\r\n',
    'GET / HTTP/1.1\r\nName : value\r\n\r\n',
    'GET / HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n',
    'GET / HTTP/1.1\r\nLandfall-Metadata: 0\r\nlandfall-metadata: 1\r\n\r\n',
    `GET / HTTP/1.1\r\n${'A: 1\r\n'.repeat(40)}\r\n`,
    `GET / HTTP/1.1\r\nA: ${'x'.repeat(9_000)}\r\n\r\n`,
  ]
  for (const text of bad) t.same(readAll([text], false), ['over'], text.slice(0, 60))
  t.same(readAll(['x'.repeat(9_000)], false), ['over'], 'a head without an end')
  t.end()
})

t.test('finds the next request behind what a connection left unfinished', (t) => {
  const unfinished = [
    'GET /v1/na',
    'GET /v1/boot HTTP/1.1\r\n',
    'GET /v1/boot HTTP/1.1\r\nHost: 169.254',
    'GET /v1/boot HTTP/1.1\r\nHost: x\r\nLandfall-Metadata: 1\r\n',
    '\u0000\u0001garbage',
  ]
  for (const text of unfinished) {
    t.same(readAll([text, REQUEST], true), ['/v1/name'], JSON.stringify(text))
    t.not(
      readAll([text, REQUEST], false)[0],
      '/v1/name',
      'where connections are told apart, that is no request',
    )
  }
  t.same(readAll(['x'.repeat(9_000), REQUEST], true), ['over', '/v1/name'])
  t.end()
})

t.test('takes no header of an unfinished request for one of the next', (t) => {
  const reader = new RequestReader({ isShared: true })
  reader.read('GET /v1/boot HTTP/1.1\r\nLandfall-Metadata: 1\r\n')
  t.match(reader.read('GET /v1/boot HTTP/1.1\r\nHost: x\r\n\r\n'), { headers: new Map([['host', 'x']]) })
  t.end()
})

t.test('tells which requests are followed by a body', (t) => {
  const withHeader = (name: string, value: string) =>
    hasBody({ method: 'POST', target: '/', headers: new Map([[name, value]]) })
  t.equal(withHeader('content-length', '0'), false)
  t.equal(withHeader('host', 'x'), false)
  t.equal(withHeader('content-length', '5'), true)
  t.equal(withHeader('transfer-encoding', 'chunked'), true)
  t.end()
})

t.test('a hostile head costs little: a byte at a time, and nothing but ends of heads', (t) => {
  const before = process.threadCpuUsage()
  readAll([...'x'.repeat(8_192)], true)
  readAll(['\n'.repeat(65_536)], true)
  t.ok(process.threadCpuUsage(before).user < 1_000_000)
  t.end()
})
