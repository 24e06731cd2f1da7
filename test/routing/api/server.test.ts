/** The admin API's door: its token, its problems, its connections and their end. */

import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { FAULTS } from '../../../routing/errors.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { until } from '../../helpers/until.ts'
import { apiFor, TOKEN } from './api-client.ts'

const POOL = '/v1/pools/web'
const BODY = { cpuMillis: 1_000, memoryBytes: 1_073_741_824, diskBytes: 1_073_741_824, host: 'local' }

t.test('asks for a token everywhere but at the open pages, whether there is something or not', async (t) => {
  const { call, store } = await apiFor(t)
  const tokens = [
    '',
    'wrong',
    `${TOKEN}x`,
    TOKEN.slice(1),
    TOKEN.toUpperCase(),
    `lf_${'a'.repeat(12)}_${'b'.repeat(43)}`,
  ]
  for (const token of tokens) {
    for (const path of ['/v1/pools', '/v1/tokens', POOL, '/nothing', '/v1/pools?limit=x']) {
      const answer = await call('GET', path, { token })
      t.equal(answer.status, 401, `${token} ${path}`)
      t.match(answer.headers['www-authenticate'], token ? /error="invalid_token"/ : /^Bearer realm="[^"]+"$/)
      t.match(answer.json, { code: 'api_unauthorized', next: /admin\.token/ })
    }
  }
  t.equal((await call('PUT', POOL, { token: '', body: BODY })).status, 401)
  t.equal((await call('PATCH', POOL, { token: '' })).status, 401)
  t.equal((await store.list('')).revision, 0)
})

t.test('takes the token under any case of the scheme, and no other scheme', async (t) => {
  const { call } = await apiFor(t)
  const status = async (authorization: string) =>
    (await call('GET', '/v1/pools', { token: '', headers: { authorization } })).status
  t.equal(await status(`bearer ${TOKEN}`), 200)
  t.equal(await status(`BEARER   ${TOKEN}`), 200)
  t.equal(await status(TOKEN), 401)
  t.equal(await status(`Basic ${btoa(`x:${TOKEN}`)}`), 401)
  t.equal(await status(`Bearer ${TOKEN} more`), 401)
})

t.test('answers every error as a problem that says what to do next', async (t) => {
  const { call } = await apiFor(t)
  const type = (value: string) => ({ 'content-type': value })
  const cases = [
    ['GET', '/v2/pools', {}, 'api_not_found'],
    ['GET', '/v1/pools/', {}, 'api_not_found'],
    ['GET', POOL, {}, 'api_not_found'],
    ['DELETE', POOL, {}, 'api_not_found'],
    ['POST', '/v1/pools', { body: BODY }, 'api_method_not_allowed'],
    ['PATCH', POOL, { body: 'x', headers: type('text/plain') }, 'api_method_not_allowed'],
    ['OPTIONS', '/v1/pools', {}, 'api_method_not_allowed'],
    ['POST', '/', {}, 'api_method_not_allowed'],
    [
      'PUT',
      POOL,
      { body: 'a=b', headers: type('application/x-www-form-urlencoded') },
      'api_media_type_unsupported',
    ],
    ['PUT', POOL, { body: '{}', headers: type('text/plain') }, 'api_media_type_unsupported'],
    ['PUT', POOL, { body: '{}', headers: type('not a type') }, 'api_media_type_unsupported'],
    ['PUT', POOL, { body: { pad: 'x'.repeat(16_384) } }, 'api_body_too_large'],
    ['PUT', POOL, { body: '' }, 'api_json_malformed'],
    ['PUT', POOL, { body: '{"host": ' }, 'api_json_malformed'],
    ['PUT', POOL, { body: '{"host": "a", "__proto__": {"cpuMillis": 1000}}' }, 'api_json_malformed'],
    ['PUT', POOL, { body: '{"constructor": {"prototype": {}}}' }, 'api_json_malformed'],
    ['PUT', POOL, { body: [] }, 'api_record_invalid'],
    ['PUT', POOL, {}, 'api_record_invalid'],
    ['GET', '/v1/pools/%zz', {}, 'api_request_malformed'],
    ['GET', '/v1/pools?limit=0', {}, 'api_request_malformed'],
    ['GET', '/v1/pools?limit=01', {}, 'api_request_malformed'],
    ['GET', '/v1/pools?limit=1001', {}, 'api_request_malformed'],
    ['GET', '/v1/pools?after=a&after=b', {}, 'api_request_malformed'],
    ['GET', '/v1/pools?offset=2', {}, 'api_request_malformed'],
    ['PUT', POOL, { body: BODY, headers: { 'if-match': 'abc' } }, 'api_precondition_malformed'],
  ] as const
  for (const [method, path, options, code] of cases) {
    const answer = await call(method, path, options)
    const label = `${method} ${path} ${JSON.stringify(options).slice(0, 80)}`
    t.equal(answer.status, FAULTS[code].status, label)
    t.match(answer.headers['content-type'], /^application\/problem\+json/, label)
    const { title, next, status, retryable } = FAULTS[code]
    t.match(answer.json, { type: `/.landfall/errors#${code}`, code, title, next, status, retryable }, label)
    t.match(answer.json.requestId, /^[0-9a-f-]{36}$/, label)
    t.notMatch(answer.text, /\.[jt]s:\d|node_modules/, 'no stack trace')
  }
})

t.test('takes the largest bodies that there can be, however they are written', async (t) => {
  const { call } = await apiFor(t)
  const pools = Array.from({ length: 20 }, (_unused, at) => `p${at}${'x'.repeat(60)}`)
  for (const pool of [...pools, 'web']) await call('PUT', `/v1/pools/${pool}`, { body: BODY })
  const verbs = ['read', 'write', 'share', 'admin']
  const port = (at: number) => 65_535 - at
  const numbers = Array.from({ length: 50 }, (_unused, at) => port(at))
  const ports = Object.fromEntries(numbers.map((at) => [at, { visibility: 'private' }]))
  const comment = '\u{1f600}'.repeat(100)
  const vm = { pool: 'web', image: 'i'.repeat(255), state: 'stopped', port: port(0), ports, comment }
  const to = { kind: 'email', value: `${'a'.repeat(58)}@${`${'b'.repeat(60)}.`.repeat(3)}example.test` }
  for (const [path, body] of [
    ['/v1/tokens', { label: 'x'.repeat(200), scopes: pools.map((pool) => ({ pool, verbs })) }],
    ['/v1/vms', { name: 'a', ...vm }],
    ['/v1/vms/a/grants', { to, ports: numbers, role: 'viewer', expiresAt: '2099-01-01T00:00:00.000Z' }],
  ] as const) {
    const text = JSON.stringify(body, null, 4)
    t.equal((await call('POST', path, { body: text })).status, 201, `${path}: ${text.length}`)
  }
})

t.test('names the field of a body that is wrong, and changes nothing', async (t) => {
  const { call, store } = await apiFor(t)
  const cases = [
    ['/cpuMilis', { ...BODY, cpuMilis: 5 }],
    ['/cpuMillis', { memoryBytes: 1, diskBytes: 1 }],
    ['/cpuMillis', { ...BODY, cpuMillis: '1000' }],
    ['/cpuMillis', { ...BODY, cpuMillis: 99 }],
    ['/memoryBytes', { ...BODY, memoryBytes: 1e300 }],
    ['/memoryBytes', { ...BODY, memoryBytes: -1 }],
    ['/diskBytes', { ...BODY, diskBytes: null }],
    ['/host', { ...BODY, host: 'Not A Label' }],
    ['/host', { ...BODY, host: '../x' }],
    ['/a~1b', { ...BODY, 'a/b': 1 }],
    ['', 'null'],
    ['', '"text"'],
  ] as const
  for (const [field, body] of cases) {
    const answer = await call('PUT', POOL, { body })
    t.equal(answer.status, 422, JSON.stringify(body))
    t.match(
      answer.json,
      { code: 'api_record_invalid', field, detail: /^(It must|There is no such)/ },
      JSON.stringify(body),
    )
  }
  t.equal((await store.list('')).revision, 0)
})

t.test('finds nothing under a name that no record can have, and says so to who would write it', async (t) => {
  const { call, store } = await apiFor(t)
  await store.put('pool/a/b', { name: 'a/b' })
  const names = [
    'A',
    'a%2Fb',
    '..%2Ftoken',
    'a%00',
    '%20',
    '__proto__',
    'b%C3%BCcher',
    'a'.repeat(64),
    'x'.repeat(4_000),
  ]
  for (const name of names) {
    for (const method of ['GET', 'HEAD', 'DELETE']) {
      const answer = await call(method, `/v1/pools/${name}`)
      t.equal(answer.status, 404, `${method} ${name.slice(0, 80)}`)
    }
    const answer = await call('PUT', `/v1/pools/${name}`, { body: BODY })
    t.match(answer, { status: 422, json: { code: 'api_record_invalid', field: '/pool' } }, name.slice(0, 80))
  }
  t.match(await call('GET', `/v1/pools/${'x'.repeat(4_097)}`), { status: 400 }, 'longer than any parameter')
  t.equal((await store.list('')).revision, 1)
})

t.test('names the methods that an address has', async (t) => {
  const { call } = await apiFor(t)
  t.equal((await call('DELETE', '/v1/pools')).headers.allow, 'GET, HEAD')
  t.equal((await call('POST', POOL)).headers.allow, 'GET, HEAD, PUT, DELETE')
  t.equal((await call('PUT', '/v1/tokens')).headers.allow, 'GET, HEAD, POST')
})

t.test('answers a failure of the store with a problem, and logs its cause', async (t) => {
  const store = await startMemoryStore()
  const get = () => Promise.reject(new Error('disk on fire'))
  const broken = new Proxy(store, {
    get: (target, name) => {
      const member: unknown = name === 'get' ? get : Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  const { call, lines } = await apiFor(t, { store: broken })
  const answer = await call('GET', POOL, { headers: { 'x-request-id': 'req-1' } })
  t.equal(answer.status, 500)
  t.match(answer.json, { code: 'api_internal', requestId: 'req-1' })
  t.equal(answer.headers['retry-after'], '1')
  t.notMatch(answer.text, /fire/)
  t.match(lines, [{ level: 'error', requestId: 'req-1', err: { cause: { message: 'disk on fire' } } }])
  await store[Symbol.asyncDispose]()
})

t.test('answers 503 while its store closes', async (t) => {
  const store = await startMemoryStore()
  const { call } = await apiFor(t, { store })
  await store[Symbol.asyncDispose]()
  t.match(await call('GET', POOL), { status: 503, json: { code: 'store_closed', retryable: true } })
})

t.test('keeps a request id that could not be one out of its answers', async (t) => {
  const { call } = await apiFor(t)
  const answer = await call('GET', '/x', { headers: { 'x-request-id': `<${'x'.repeat(100)}>` } })
  t.match(answer.json.requestId, /^[0-9a-f-]{36}$/)
})

t.test('serves many requests over one connection', async (t) => {
  const { api } = await apiFor(t)
  const connection = api.connect()
  const head = `GET /v1/pools HTTP/1.1\r\nhost: admin.example.test\r\nauthorization: Bearer ${TOKEN}\r\n`
  let answered = ''
  connection.setEncoding('utf8').on('data', (chunk: string) => {
    answered += chunk
  })
  for (let n = 1; n <= 3; n += 1) {
    connection.write(`${head}\r\n`)
    await until(() => answered.split('{"pools":[]}').length === n + 1, `answer ${n}`)
  }
  connection.write(`${head}connection: close\r\n\r\n`)
  await once(connection, 'end')
  t.equal(answered.match(/HTTP\/1\.1 200 OK/g)?.length, 4)
})

t.test('serves many connections at once', async (t) => {
  const { call } = await apiFor(t)
  const answers = await Promise.all(Array.from({ length: 50 }, () => call('GET', '/v1/pools')))
  t.ok(answers.every(({ status }) => status === 200))
})

t.test('takes a body that comes in pieces', async (t) => {
  const { api } = await apiFor(t)
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  const outgoing = request({ createConnection: () => api.connect(), method: 'PUT', path: POOL, headers })
  const json = JSON.stringify(BODY)
  for (const piece of [json.slice(0, 5), json.slice(5, 30), json.slice(30)]) {
    outgoing.write(piece)
    await new Promise(setImmediate)
  }
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  t.equal(response.statusCode, 201)
  response.resume()
})

t.test('answers bytes that are not HTTP with a problem and the end of the connection', async (t) => {
  const { api } = await apiFor(t)
  const connection = api.connect()
  connection.write('\x16\x03\x01 this is not HTTP\r\n\r\n')
  const answer = await text(connection)
  t.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
  t.match(answer, /"code":"api_request_malformed"/)
})

t.test('lets go of a connection that its client destroyed, in the middle of a request too', async (t) => {
  const { api } = await apiFor(t)
  const idle = api.connect()
  idle.destroy()
  await once(idle, 'close')
  const busy = api.connect()
  busy.write(`PUT ${POOL} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{`)
  await new Promise(setImmediate)
  busy.destroy(new Error('gone'))
  await once(busy, 'error')
  await api[Symbol.asyncDispose]()
})

t.test('ends every connection when it is disposed, and opens no more', async (t) => {
  const { api } = await apiFor(t)
  const idle = api.connect()
  const busy = api.connect()
  busy.write(`GET /v1/pools HTTP/1.1\r\nhost: a\r\n`)
  await new Promise(setImmediate)
  const ended = Promise.all([once(idle, 'close'), once(busy, 'close')])
  await api[Symbol.asyncDispose]()
  await ended
  t.throws(() => api.connect(), { code: 'api_closed' })
  await api[Symbol.asyncDispose]()
})
