/** The admin API's door: its token, its problems, its connections and their end. */

import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { FAULTS } from '../../routing/errors.ts'
import { startMemoryStore } from '../../routing/memory-store.ts'
import { adminFor, TOKEN } from './admin-client.ts'
import { until } from './logs.ts'

t.test('says what it is, and where its token is, to everybody', async (t) => {
  const { call } = await adminFor(t)
  const answer = await call('GET', '/', { token: '' })
  t.equal(answer.status, 200)
  t.match(answer.headers['content-type'], /^text\/plain/)
  t.match(answer.text, /admin\.token/)
  t.notMatch(answer.text, TOKEN)
})

t.test('asks for its token everywhere else, whether there is something or not', async (t) => {
  const { call, store } = await adminFor(t)
  for (const token of ['', 'wrong', `${TOKEN}x`, TOKEN.slice(1), TOKEN.toUpperCase()]) {
    for (const path of ['/v1/routes', '/v1/vms', '/v1/routes/a.example', '/nothing', '/v1/routes?limit=x']) {
      const answer = await call('GET', path, { token })
      t.equal(answer.status, 401, `${token} ${path}`)
      t.match(answer.headers['www-authenticate'], token ? /error="invalid_token"/ : /^Bearer realm="[^"]+"$/)
      t.match(answer.json, { code: 'api_unauthorized', next: /admin\.token/ })
    }
  }
  t.equal((await call('PUT', '/v1/routes/a.example', { token: '', body: { upstream: 'a:80' } })).status, 401)
  t.equal((await call('PATCH', '/v1/routes/a.example', { token: '' })).status, 401)
  t.equal((await store.list('')).revision, 0)
})

t.test('takes the token under any case of the scheme, and no other scheme', async (t) => {
  const { call } = await adminFor(t)
  const status = async (authorization: string) =>
    (await call('GET', '/v1/routes', { token: '', headers: { authorization } })).status
  t.equal(await status(`bearer ${TOKEN}`), 200)
  t.equal(await status(`BEARER   ${TOKEN}`), 200)
  t.equal(await status(TOKEN), 401)
  t.equal(await status(`Basic ${btoa(`x:${TOKEN}`)}`), 401)
  t.equal(await status(`Bearer ${TOKEN} more`), 401)
})

t.test('answers every error as a problem that says what to do next', async (t) => {
  const { call } = await adminFor(t)
  const route = '/v1/routes/a.example'
  const body = { upstream: '127.0.0.1:80' }
  const type = (value: string) => ({ 'content-type': value })
  const cases = [
    ['GET', '/v2/routes', {}, 'api_not_found'],
    ['GET', '/v1/routes/', {}, 'api_record_invalid'],
    ['GET', route, {}, 'api_not_found'],
    ['DELETE', route, {}, 'api_not_found'],
    ['GET', '/v1/vms/hello', {}, 'api_not_found'],
    ['POST', '/v1/routes', { body }, 'api_method_not_allowed'],
    ['PATCH', route, { body: 'x', headers: type('text/plain') }, 'api_method_not_allowed'],
    ['PUT', '/v1/vms/hello', { body }, 'api_method_not_allowed'],
    ['OPTIONS', '/v1/vms', {}, 'api_method_not_allowed'],
    [
      'PUT',
      route,
      { body: 'upstream=a', headers: type('application/x-www-form-urlencoded') },
      'api_media_type_unsupported',
    ],
    ['PUT', route, { body: '{}', headers: type('text/plain') }, 'api_media_type_unsupported'],
    ['PUT', route, { body: '{}', headers: type('not a type') }, 'api_media_type_unsupported'],
    ['PUT', route, { body: { pad: 'x'.repeat(65_536) } }, 'api_body_too_large'],
    ['PUT', route, { body: '' }, 'api_json_malformed'],
    ['PUT', route, { body: '{"upstream": ' }, 'api_json_malformed'],
    [
      'PUT',
      route,
      { body: '{"upstream": "a:80", "__proto__": {"visibility": "public"}}' },
      'api_json_malformed',
    ],
    ['PUT', route, { body: '{"constructor": {"prototype": {}}}' }, 'api_json_malformed'],
    ['PUT', route, { body: [] }, 'api_record_invalid'],
    ['PUT', route, {}, 'api_record_invalid'],
    ['GET', '/v1/routes/%zz', {}, 'api_request_malformed'],
    ['GET', '/v1/routes?limit=0', {}, 'api_request_malformed'],
    ['GET', '/v1/routes?limit=1001', {}, 'api_request_malformed'],
    ['GET', '/v1/routes?after=a&after=b', {}, 'api_request_malformed'],
    ['GET', '/v1/routes?offset=2', {}, 'api_request_malformed'],
    ['PUT', route, { body, headers: { 'if-match': 'abc' } }, 'api_precondition_malformed'],
  ] as const
  for (const [method, path, options, code] of cases) {
    const answer = await call(method, path, options)
    const label = `${method} ${path} ${JSON.stringify(options).slice(0, 80)}`
    t.equal(answer.status, FAULTS[code].status, label)
    t.match(answer.headers['content-type'], /^application\/problem\+json/, label)
    const { title, next, status, retryable } = FAULTS[code]
    t.match(answer.json, { type: `/.landfall/errors#${code}`, code, title, next, status, retryable }, label)
    t.match(answer.json.requestId, /^[0-9a-f-]{36}$/, label)
    t.notMatch(answer.text, /\bat .*\.[jt]s|node_modules/, 'no stack trace')
  }
})

t.test('names the methods that an address has', async (t) => {
  const { call } = await adminFor(t)
  t.equal((await call('POST', '/v1/routes')).headers.allow, 'GET, HEAD')
  t.equal((await call('POST', '/v1/routes/a.example')).headers.allow, 'GET, HEAD, PUT, DELETE')
  t.equal((await call('DELETE', '/v1/vms/hello')).headers.allow, 'GET, HEAD')
})

t.test('answers a failure of the store with a problem, and logs its cause', async (t) => {
  const store = await startMemoryStore()
  const broken = new Proxy(store, {
    get: (target, name) =>
      name === 'get' ? () => Promise.reject(new Error('disk on fire')) : Reflect.get(target, name),
  })
  const { call, lines } = await adminFor(
    t,
    Object.assign(Object.create(broken), { [Symbol.asyncDispose]: async () => {} }),
  )
  const answer = await call('GET', '/v1/routes/a.example', { headers: { 'x-request-id': 'req-1' } })
  t.equal(answer.status, 500)
  t.match(answer.json, { code: 'api_internal', requestId: 'req-1' })
  t.notMatch(answer.text, /fire/)
  t.match(lines, [{ level: 'error', requestId: 'req-1', err: { cause: { message: 'disk on fire' } } }])
})

t.test('keeps a request id that could not be one out of its answers', async (t) => {
  const { call } = await adminFor(t)
  const answer = await call('GET', '/x', { headers: { 'x-request-id': `<${'x'.repeat(100)}>` } })
  t.match(answer.json.requestId, /^[0-9a-f-]{36}$/)
})

t.test('serves many requests over one connection', async (t) => {
  const { api } = await adminFor(t)
  const connection = api.connect()
  const head = `GET /v1/routes HTTP/1.1\r\nhost: admin.example.test\r\nauthorization: Bearer ${TOKEN}\r\n`
  let answered = ''
  connection.setEncoding('utf8').on('data', (chunk: string) => {
    answered += chunk
  })
  for (let n = 1; n <= 3; n += 1) {
    connection.write(`${head}\r\n`)
    await until(() => answered.split('{"routes":[]}').length === n + 1)
  }
  connection.write(`${head}connection: close\r\n\r\n`)
  await once(connection, 'end')
  t.equal(answered.match(/HTTP\/1\.1 200 OK/g)?.length, 4)
})

t.test('serves many connections at once', async (t) => {
  const { call } = await adminFor(t)
  const answers = await Promise.all(Array.from({ length: 50 }, () => call('GET', '/v1/routes')))
  t.ok(answers.every(({ status }) => status === 200))
})

t.test('takes a body that comes in pieces', async (t) => {
  const { api } = await adminFor(t)
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  const createConnection = () => api.connect()
  const outgoing = request({ createConnection, method: 'PUT', path: '/v1/routes/a.example', headers })
  for (const piece of ['{"upstream"', ': "127.0.0.1:80"', ', "visibility": "public"}']) {
    outgoing.write(piece)
    await new Promise(setImmediate)
  }
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  t.equal(response.statusCode, 201)
  response.resume()
})

t.test('answers bytes that are not HTTP with a problem and the end of the connection', async (t) => {
  const { api } = await adminFor(t)
  const connection = api.connect()
  connection.write('\x16\x03\x01 this is not HTTP\r\n\r\n')
  const answer = await text(connection)
  t.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
  t.match(answer, /"code":"api_request_malformed"/)
})

t.test('lets go of a connection that its client destroyed, in the middle of a request too', async (t) => {
  const { api } = await adminFor(t)
  const idle = api.connect()
  idle.destroy()
  await once(idle, 'close')
  const busy = api.connect()
  busy.write('PUT /v1/routes/a.example HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{')
  await new Promise(setImmediate)
  busy.destroy(new Error('gone'))
  await once(busy, 'error')
  await api[Symbol.asyncDispose]()
})

t.test('ends every connection when it is disposed, and opens no more', async (t) => {
  const { api } = await adminFor(t)
  const idle = api.connect()
  const busy = api.connect()
  busy.write(`GET /v1/routes HTTP/1.1\r\nhost: a\r\n`)
  await new Promise(setImmediate)
  const ended = Promise.all([once(idle, 'close'), once(busy, 'close')])
  await api[Symbol.asyncDispose]()
  await ended
  t.throws(() => api.connect(), { code: 'api_closed' })
  await api[Symbol.asyncDispose]()
})
