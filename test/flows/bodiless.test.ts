/** Answers without a body, parts of one, and the request that is for the whole server. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { type H2Answer, h2Call } from '../helpers/h2-client.ts'
import { originFor, rawOriginFor } from '../helpers/origin.ts'
import { transcriptOf } from '../helpers/transcript.ts'

const HOST = 'app.localhost'
/** A second request on the connection: had the first answer a body that is not one, this one's would be misread. */
const AFTER = `GET /after HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

interface Case {
  readonly name: string
  readonly method?: string
  /** What the VM sends, to the letter. */
  readonly answer: string
  readonly status: number
  /** Fields that the client must see; null for one that it must not. */
  readonly fields: Readonly<Record<string, RegExp | null>>
}

const CASES: readonly Case[] = [
  {
    name: 'HEAD keeps the length that GET would have, and has no body',
    method: 'HEAD',
    answer: 'HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: "a"\r\n\r\n',
    status: 200,
    fields: { 'content-length': /^12345$/, etag: /^"a"$/ },
  },
  {
    name: 'HEAD of an answer that would be chunked has no body',
    method: 'HEAD',
    answer: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "a"\r\n\r\n',
    status: 200,
    fields: { 'content-length': null, etag: /^"a"$/ },
  },
  {
    name: '204 has no body',
    answer: 'HTTP/1.1 204 No Content\r\nX-Left: yes\r\n\r\n',
    status: 204,
    fields: { 'x-left': /^yes$/, 'content-length': null, 'transfer-encoding': null },
  },
  {
    name: '304 keeps the length of what it stands for, and has no body',
    answer: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 12345\r\nETag: "a"\r\n\r\n',
    status: 304,
    fields: { etag: /^"a"$/, 'content-length': /^12345$/, 'transfer-encoding': null },
  },
  {
    name: '304 without a length gets none',
    answer: 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    status: 304,
    fields: { etag: /^"a"$/, 'content-length': null, 'transfer-encoding': null },
  },
  {
    name: 'an empty body keeps its length of 0',
    answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    status: 200,
    fields: { 'content-length': /^0$/ },
  },
]

for (const { name, method = 'GET', answer, status, fields } of CASES) {
  t.test(`${name}, over HTTP/1.1`, async (t) => {
    const edge = await edgeFor(t)
    await routeTo(t, edge, answer)
    const socket = await edge.dial(HOST)
    const heard = transcriptOf(socket)
    socket.write(`${method} / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n${AFTER}`)
    await heard.has('after')
    const [head = '', rest = ''] = heard.text.split(/\r\n\r\n(.*)/s, 2)
    t.match(head, `HTTP/1.1 ${status} `)
    t.match(rest, /^HTTP\/1\.1 200 /, 'the next answer follows at once')
    checkFields(t, fields, (field) => new RegExp(`\\r\\n${field}: ([^\\r]*)`, 'i').exec(head)?.[1])
  })

  t.test(`${name}, over HTTP/2`, async (t) => {
    const edge = await edgeFor(t)
    await routeTo(t, edge, answer)
    const call = h2Call(await edge.h2(HOST), { ':method': method, ':path': '/' })
    const seen: H2Answer = await call.closed
    t.match(seen, { status, body: '', resetCode: 0 })
    checkFields(t, fields, (field) => seen.headers[field])
  })
}

t.test('a range and the part that answers it pass as they are', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, answerRange)
  await edge.route(HOST, origin.port)
  const headers = { ':path': '/', range: 'bytes=2-4', 'if-range': '"v1"' }
  const seen = await h2Call(await edge.h2(HOST), headers).closed
  t.match(seen, {
    status: 206,
    body: '234',
    headers: { 'content-range': 'bytes 2-4/10', 'content-length': '3' },
  })
  t.match(origin.requests[0]?.headers, { range: 'bytes=2-4', 'if-range': '"v1"' })
})

t.test('OPTIONS * reaches the VM as it is, over both versions', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t, (_request, response) => {
    response.writeHead(204, { allow: 'GET, OPTIONS' }).end()
  })
  await edge.route(HOST, origin.port)
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  socket.write(`OPTIONS * HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await heard.has('\r\n\r\n')
  t.match(heard.text, /^HTTP\/1\.1 204 .*\r\nallow: GET, OPTIONS\r\n/is)
  const seen = await h2Call(await edge.h2(HOST), { ':method': 'OPTIONS', ':path': '*' }).closed
  t.match(seen, { status: 204, headers: { allow: 'GET, OPTIONS' } })
  t.same(
    origin.requests.map(({ method, url }) => `${method} ${url}`),
    ['OPTIONS *', 'OPTIONS *'],
  )
})

function answerRange({ headers }: IncomingMessage, response: ServerResponse): void {
  const [first = 0, last = 0] =
    /bytes=(\d)-(\d)/
      .exec(headers.range ?? '')
      ?.slice(1)
      .map(Number) ?? []
  response.writeHead(206, {
    'content-range': `bytes ${first}-${last}/10`,
    'content-length': last - first + 1,
  })
  response.end('0123456789'.slice(first, last + 1))
}

/** A VM that gives `answer` to the first request of a connection and a plain one to those for /after. */
async function routeTo(t: Test, edge: TestEdge, answer: string): Promise<void> {
  const origin = await rawOriginFor(t, (socket, received) => {
    const isAfter = received.slice(received.lastIndexOf('HTTP/1.1') - 8).startsWith(' /after ')
    if (received.endsWith('\r\n\r\n'))
      socket.write(isAfter ? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter' : answer)
  })
  await edge.route(HOST, origin.port)
}

function checkFields(t: Test, expected: Case['fields'], find: (name: string) => string | undefined): void {
  for (const [name, value] of Object.entries(expected)) {
    if (value === null) t.equal(find(name), undefined, `no ${name}`)
    else t.match(find(name), value, name)
  }
}
