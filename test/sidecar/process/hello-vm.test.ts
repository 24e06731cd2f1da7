/** The hello VM's answers: each path does what its name says, and wrong values are refused. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage, request } from 'node:http'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { startHello } from '../../../sidecar/process/hello-vm.ts'
import { until } from '../../helpers/until.ts'
import { ask, helloFor, rawFor } from '../vms.ts'

t.test('shows programs the request as JSON', async (t) => {
  const port = await helloFor(t)
  const { status, headers, text } = await ask(port, '/?a=%2e%2E', {
    method: 'PUT',
    headers: { 'X-Twice': ['1', '2'], Accept: '*/*' },
  })
  t.equal(status, 200)
  t.match(headers, { 'content-type': 'application/json', vary: 'accept', 'cache-control': 'no-store' })
  t.match(JSON.parse(text), {
    method: 'PUT',
    target: '/?a=%2e%2E',
    httpVersion: '1.1',
    headers: { 'x-twice': '1, 2' },
  })
  const names = JSON.parse(text).rawHeaders.map(([name]: [string]) => name)
  t.same(names.filter((name: string) => name === 'X-Twice').length, 2)
})

t.test('shows browsers a page on which everything that was sent is escaped', async (t) => {
  const port = await helloFor(t)
  const { headers, text } = await ask(port, `/?q='"<script>alert(1)</script>`, {
    headers: { Accept: 'text/html,*/*;q=0.1', 'X-Evil': `<img src=x onerror="alert('1')">&amp;` },
  })
  t.match(headers, { 'content-type': 'text/html; charset=utf-8', 'x-content-type-options': 'nosniff' })
  t.notMatch(text, '<script>alert')
  t.notMatch(text, '<img')
  t.match(text, '&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;amp;')
  t.match(text, 'GET /?q=&#39;&quot;&lt;script&gt;')
  t.match(text, 'HTTP/1.1')
  const nonce = /script-src 'nonce-([^']+)'/.exec(String(headers['content-security-policy']))?.[1]
  t.ok(nonce && text.includes(`<script nonce="${nonce}">`))
})

t.test('answers 404 for other paths, and shows the request there too', async (t) => {
  const port = await helloFor(t)
  for (const path of ['/absent', '/constructor', '//', '/%2e%2e/x']) {
    const { status, text } = await ask(port, path)
    t.equal(status, 404)
    t.match(JSON.parse(text), { error: 'no such path', target: path })
  }
})

t.test('echoes a body as it comes, with its type and length', async (t) => {
  const port = await helloFor(t)
  const body = Buffer.from('grüße')
  const {
    status,
    headers,
    body: echoed,
  } = await ask(port, '/echo', { method: 'POST', headers: { 'content-type': 'x/y' }, body })
  t.equal(status, 200)
  t.match(headers, { 'content-type': 'x/y', 'content-length': String(body.length) })
  t.same(echoed, body)
})

t.test('echoes before the body has ended, and trailers after it', async (t) => {
  const port = await helloFor(t)
  const outgoing = request({
    host: '127.0.0.1',
    port,
    path: '/echo',
    method: 'POST',
    headers: { Trailer: 'x-sum' },
    agent: false,
  })
  outgoing.write('first')
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  t.equal(String((await once(response, 'data'))[0]), 'first')
  outgoing.write('second')
  t.equal(String((await once(response, 'data'))[0]), 'second')
  outgoing.addTrailers([['X-Sum', '42']])
  outgoing.end()
  response.resume()
  await once(response, 'end')
  t.match(response.headers, { trailer: 'x-sum' })
  t.same(response.trailers, { 'x-sum': '42' })
})

t.test('streams as many bytes as asked for', async (t) => {
  const port = await helloFor(t)
  for (const bytes of [0, 1, 65_536, 1_000_001]) {
    const { headers, body } = await ask(port, `/stream?bytes=${bytes}`)
    t.equal(headers['content-length'], String(bytes))
    t.equal(body.length, bytes)
  }
  const head = await ask(port, '/stream?bytes=8589934592', { method: 'HEAD' })
  t.match(head, { status: 200, headers: { 'content-length': '8589934592' }, text: '' })
})

t.test('streams no faster than the client reads', async (t) => {
  const port = await helloFor(t)
  const before = process.memoryUsage().rss
  const outgoing = get({ host: '127.0.0.1', port, path: '/stream?bytes=8589934592', agent: false })
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  await once(response, 'readable')
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.ok(process.memoryUsage().rss - before < 100_000_000)
  response.destroy()
})

t.test('counts and hashes what it swallows', async (t) => {
  const port = await helloFor(t)
  const body = Buffer.alloc(300_000, 'x')
  const sha256 = createHash('sha256').update(body).digest('hex')
  t.same(JSON.parse((await ask(port, '/sink', { method: 'POST', body })).text), { bytes: 300_000, sha256 })
  t.same(JSON.parse((await ask(port, '/sink?hash=no', { method: 'POST', body })).text), { bytes: 300_000 })
})

t.test('sends events until the client leaves', async (t) => {
  const port = await helloFor(t)
  const outgoing = get({ host: '127.0.0.1', port, path: '/events?ms=10', agent: false })
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  t.match(response.headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  let text = ''
  response.on('data', (chunk) => {
    text += chunk
  })
  response.on('error', () => {})
  await until(() => text.includes('id: 3\n'), 'three events came')
  t.match(text, /^event: tick\nid: 1\ndata: 1 \d{4}-/)
  response.destroy()
})

t.test('answers late when asked to', async (t) => {
  const port = await helloFor(t)
  const startedAt = performance.now()
  const { status } = await ask(port, '/slow?ms=80')
  t.equal(status, 200)
  t.ok(performance.now() - startedAt >= 79)
})

t.test('answers with the status asked for', async (t) => {
  const port = await helloFor(t)
  for (const status of [200, 201, 404, 418, 503, 599])
    t.match(await ask(port, `/status/${status}`), { status, text: `status ${status}\n` })
  for (const status of [204, 205, 304]) t.match(await ask(port, `/status/${status}`), { status, text: '' })
})

t.test('sends early hints before the answer', async (t) => {
  const port = await helloFor(t)
  const outgoing = get({ host: '127.0.0.1', port, path: '/early-hints', agent: false })
  const hints: unknown[] = []
  outgoing.on('information', (information) => hints.push(information))
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  response.resume()
  t.match(hints, [{ statusCode: 103, headers: { link: '</style.css>; rel=preload; as=style' } }])
  t.equal(response.statusCode, 200)
})

t.test('sends a trailer', async (t) => {
  const { headers, trailers, body } = await ask(await helloFor(t), '/trailers')
  t.match(headers, { trailer: 'x-sha256', 'transfer-encoding': 'chunked' })
  t.same(trailers, { 'x-sha256': createHash('sha256').update(body).digest('hex') })
})

t.test('cuts the connection after the bytes asked for', async (t) => {
  const port = await helloFor(t)
  for (const after of [0, 5, 5_000_000]) {
    const { socket, received, ended } = await rawFor(t, port)
    socket.write(`GET /abort?after=${after} HTTP/1.1\r\nhost: a\r\n\r\n`)
    await ended
    const text = received().toString('latin1')
    const body = text.slice(text.indexOf('\r\n\r\n') + 4)
    t.match(text, new RegExp(`content-length: ${after + 1}\r\n`))
    t.equal(body.length, after)
  }
})

t.test('refuses wrong values and says what is allowed', async (t) => {
  const port = await helloFor(t)
  const cases = [
    ['/stream?bytes=-1', 'bytes must be a whole number from 0 to 8589934592 (got "-1")'],
    ['/stream?bytes=', 'bytes must be'],
    ['/stream?bytes=1e3', 'bytes must be'],
    ['/stream?bytes=8589934593', 'bytes must be'],
    ['/stream?bytes=1&bytes=2', 'bytes must be given once'],
    ['/sink?hash=maybe', 'hash must be one of yes, no (got "maybe")'],
    ['/events?ms=9', 'ms must be a whole number from 10'],
    ['/slow?ms=x', 'ms must be'],
    ['/abort?after=x', 'after must be'],
    ['/status/199', 'the status must be'],
    ['/status/600', 'the status must be'],
    ['/status/2000', 'the status must be'],
    ['/status/', 'the status must be'],
  ] as const
  for (const [path, message] of cases) {
    const { status, headers, text } = await ask(port, path)
    t.equal(status, 400, path)
    t.equal(headers['content-type'], 'text/plain; charset=utf-8')
    t.ok(text.startsWith(message), text)
  }
})

t.test('survives clients that leave in the middle', async (t) => {
  const port = await helloFor(t)
  for (const path of ['/stream', '/slow', '/events', '/sink', '/echo']) {
    const { socket } = await rawFor(t, port)
    socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc`)
    await new Promise((resolve) => setTimeout(resolve, 20))
    socket.resetAndDestroy()
  }
  t.equal((await ask(port, '/')).status, 200)
})

t.test('answers a request for another upgrade as if it had asked for none', async (t) => {
  const { status } = await ask(await helloFor(t), '/', { headers: { Connection: 'Upgrade', Upgrade: 'h2c' } })
  t.equal(status, 200)
})

t.test('lets requests under way end when it stops', async (t) => {
  const hello = await startHello()
  const slow = ask(hello.port, '/slow?ms=150')
  await ask(hello.port, '/')
  const stopped = hello[Symbol.asyncDispose]()
  t.equal((await slow).status, 200)
  await stopped
  await t.rejects(ask(hello.port, '/'), { code: 'ECONNREFUSED' })
})

t.test('passes an upload through unchanged', async (t) => {
  const port = await helloFor(t)
  const outgoing = request({ host: '127.0.0.1', port, path: '/sink', method: 'POST', agent: false })
  const chunk = Buffer.alloc(1_048_576, 'y')
  const answered = once(outgoing, 'response')
  await pipeline(function* () {
    for (let i = 0; i < 32; i += 1) yield chunk
  }, outgoing)
  const [response] = (await answered) as [IncomingMessage]
  let text = ''
  for await (const part of response) text += part
  t.equal(JSON.parse(text).bytes, 33_554_432)
})
