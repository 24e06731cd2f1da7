/**
 * The attacker sends heads without end: one huge field, thousands of small ones, a URL of megabytes, to make the edge
 * hold memory or to overflow a smaller limit in the VM. Each limit has an answer of its own (431, 414), the VM sees
 * nothing, and the client can read the answer even while it is still sending.
 */

import t from 'tap'
import { APP, attackedEdgeFor, codeOf, isOver, serves } from '../helpers/attacked-edge.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'

const SMALL = {
  LANDFALL_MAX_HEADER_BYTES: '8192',
  LANDFALL_MAX_HEADER_COUNT: '20',
  LANDFALL_MAX_URL_BYTES: '512',
}
const HEAD = `GET /evil HTTP/1.1\r\nHost: ${APP}\r\n`

function fields(count: number, bytes = 1): string {
  return Array.from({ length: count }, (_, at) => `X-${at}: ${'a'.repeat(bytes)}\r\n`).join('')
}

t.test('answers 431 to a header that is too large, and closes', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  const requests = [
    `${HEAD}X-A: ${'a'.repeat(9_000)}\r\n\r\n`,
    `${HEAD}Cookie: ${'a=b; '.repeat(2_000)}\r\n\r\n`,
    `${HEAD}${fields(10, 1_000)}\r\n`,
    `${HEAD}${'a'.repeat(9_000)}: b\r\n\r\n`,
    `${HEAD}X-A: ${'a'.repeat(1_000_000)}\r\n\r\n`,
  ]
  for (const request of requests) {
    const socket = await edge.dialPlain()
    const answer = await exchange(socket, request, isWhole)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 431, code: 'limit_header_bytes' })
    t.ok(await isOver(socket), 'the connection is closed')
  }
  t.same(edge.requestLines(), [])
  await serves(t, edge)
})

t.test('answers 431 to a header that never ends, without waiting for its end', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  const answer = await exchange(await edge.dialPlain(), HEAD + fields(15, 1_000), isWhole)
  t.equal(answer.status, 431)
})

t.test('lets a client read 431 although it is still sending', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  for (let at = 0; at < 5; at += 1) {
    const request = `${HEAD}X-A: ${'a'.repeat(8_000_000)}\r\n\r\n`
    t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 431)
  }
})

t.test('counts header fields exactly', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  const most = await exchange(await edge.dialPlain(), `${HEAD}${fields(19)}\r\n`, isWhole)
  t.equal(most.status, 200, '20 fields, Host being one')
  for (const count of [20, 21, 60, 300]) {
    const answer = await exchange(await edge.dialPlain(), `${HEAD}${fields(count)}\r\n`, isWhole)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 431, code: 'limit_header_count' })
  }
  t.equal(edge.requestLines().length, 1)
})

t.test('measures the URL exactly, with its query', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  const paths = ['/', '/?q='].map((start) => start + 'a'.repeat(512 - start.length))
  for (const path of paths) {
    const good = `GET ${path} HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
    t.equal((await exchange(await edge.dialPlain(), good, isWhole)).status, 200)
    const long = `GET ${path}a HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
    const answer = await exchange(await edge.dialPlain(), long, isWhole)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 414, code: 'limit_url' })
  }
  t.equal(edge.requestLines().length, 2)
})

t.test('has the same limits over HTTP/2, and goes on with the session', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  const session = await edge.h2(APP)
  const named = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`x-${at}`, 'a']))
  const cases = [
    [414, { ':path': `/${'a'.repeat(512)}` }],
    [200, { ':path': `/${'a'.repeat(511)}` }],
    [431, { ':path': '/evil', ...named(21) }],
    [200, { ':path': '/good', ...named(20) }],
  ] as const
  for (const [status, headers] of cases) {
    const answer = await h2Exchange(session, headers)
    t.equal(answer.status, status, headers[':path'].slice(0, 20))
  }
  t.equal(edge.requestLines().length, 2)
})

// nghttp2 ends such a stream before a request exists, so that there is nobody to answer 431 to.
t.test('refuses HTTP/2 headers that are too large or far too many', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  const floods = [
    { 'x-a': 'a'.repeat(9_000) },
    Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`x-${at}`, 'a'])),
    Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`x-${at}`, 'a'.repeat(1_000)])),
  ]
  for (const flood of floods) {
    const session = await edge.h2(APP)
    const answer = await h2Exchange(session, { ':path': '/evil', ...flood })
    t.ok(
      answer.status === 431 || answer.resetCode !== 0,
      `status ${answer.status}, reset ${answer.resetCode}`,
    )
    session.destroy()
  }
  t.same(edge.requestLines(), [])
  await serves(t, edge)
})

t.test('refuses trailers and chunk extensions without end', async (t) => {
  const edge = await attackedEdgeFor(t, SMALL)
  const head = `POST /evil HTTP/1.1\r\nHost: ${APP}\r\nTransfer-Encoding: chunked\r\n\r\n5`
  const bodies = [
    `\r\nhello\r\n0\r\nX-A: ${'a'.repeat(100_000)}\r\n\r\n`,
    `\r\nhello\r\n0\r\n${fields(2_000, 100)}\r\n`,
    `;${'a'.repeat(100_000)}\r\nhello\r\n0\r\n\r\n`,
  ]
  for (const body of bodies) {
    const socket = await edge.dialPlain()
    socket.write(head + body)
    t.ok(await isOver(socket), 'the connection is closed')
    await serves(t, edge)
  }
})

t.test('takes what browsers send with the limits as they are by default', async (t) => {
  const edge = await attackedEdgeFor(t)
  const request = `GET /${'a'.repeat(16_000)} HTTP/1.1\r\nHost: ${APP}\r\n${fields(80, 100)}Cookie: ${'c'.repeat(4_000)}\r\n\r\n`
  t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200)
})
