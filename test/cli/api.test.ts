/** The command line and the API: what is sent, what is sent again, and what becomes of refusals. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { HttpsApi } from '../../cli/api.ts'
import { ApiRefusal, CliError, Interrupted } from '../../cli/errors.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { until } from '../helpers/until.ts'
import { problem, type Script, scriptedApiFor, TOKEN } from './scripted-api.ts'

async function apiFor(t: Test, script: Script, signal = new AbortController().signal) {
  const { url, ca, ...rest } = await scriptedApiFor(t, script)
  const api = new HttpsApi(async () => ({ url, ca, token: TOKEN, from: 'the test' }), signal)
  t.teardown(() => api[Symbol.dispose]())
  return { api, url, ca, ...rest }
}

t.test('sends token, JSON and preconditions to the address that was given', async (t) => {
  const { api, calls } = await apiFor(t, () => ({ body: { ok: true } }))
  const request = {
    method: 'PUT',
    path: '/v1/vms/a%2Fb',
    query: { wait: 5, pool: undefined },
    body: { a: 1 },
  } as const
  t.same(await api.call({ ...request, revision: 12 }), { ok: true })
  await api.call({ ...request, isNew: true })
  await api.call({ method: 'GET', path: '/v1/vms' })
  const [conditional, fresh, read] = calls
  t.match(conditional, {
    method: 'PUT',
    path: '/v1/vms/a%2Fb',
    query: { wait: '5' },
    body: { a: 1 },
    host: 'admin.localhost',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', 'if-match': '"12"' },
  })
  t.notOk(conditional?.headers['idempotency-key'], 'a PUT needs none')
  t.equal(fresh?.headers['if-none-match'], '*')
  t.equal(fresh?.headers['if-match'], undefined)
  t.equal(read?.body, undefined)
  t.equal(read?.headers['content-type'], undefined)
  t.equal(read?.headers['content-length'], undefined)
})

t.test('keeps its connection between calls', async (t) => {
  const { api, connections } = await apiFor(t, () => ({ body: {} }))
  for (let count = 0; count < 5; count += 1) await api.call({ method: 'GET', path: '/' })
  t.equal(connections(), 1)
})

t.test('reads all pages of a listing', async (t) => {
  const { api, calls } = await apiFor(t, ({ query: { after = '0' } }) => {
    const at = Number(after)
    return { body: { vms: at === 1 ? [] : [{ name: `vm-${at}` }], ...(at < 3 && { next: String(at + 1) }) } }
  })
  t.same(await api.list('/v1/vms', { pool: 'p' }), {
    vms: [{ name: 'vm-0' }, { name: 'vm-2' }, { name: 'vm-3' }],
  })
  t.same(
    calls.map(({ query }) => query.after),
    [undefined, '1', '2', '3'],
    'an empty page is not the last',
  )
  t.ok(calls.every(({ query }) => query.pool === 'p' && query.limit === '1000'))
})

t.test('a POST carries one Idempotency-Key through all its attempts', async (t) => {
  let attempt = 0
  const { api, calls } = await apiFor(t, (_call, response) => {
    attempt += 1
    if (attempt === 1) response.destroy()
    if (attempt === 2) return { ...problem(503, 'api_closed'), headers: { 'retry-after': '0' } }
    return attempt === 1 ? undefined : { status: 201, body: { id: 'x' } }
  })
  t.same(await api.call({ method: 'POST', path: '/v1/tokens', body: {} }), { id: 'x' })
  const keys = new Set(calls.map(({ headers }) => headers['idempotency-key']))
  t.equal(calls.length, 3)
  t.equal(keys.size, 1)
  t.match([...keys][0], /^[0-9a-f-]{36}$/)
  await api.call({ method: 'POST', path: '/v1/tokens', body: {} })
  t.not(calls.at(-1)?.headers['idempotency-key'], [...keys][0], 'another request has another one')
})

t.test('waits for as long as a busy server says, and gives up after three attempts', async (t) => {
  for (const status of [503, 429]) {
    const { api, calls } = await apiFor(t, () => ({
      ...problem(status, 'busy'),
      headers: { 'retry-after': '0' },
    }))
    await t.rejects(api.call({ method: 'GET', path: '/' }), { code: 'busy' })
    t.equal(calls.length, 3)
  }
  const silent = await apiFor(t, () => problem(503, 'store_unreachable'))
  await t.rejects(silent.api.call({ method: 'PUT', path: '/', body: {} }), { code: 'store_unreachable' })
  t.equal(silent.calls.length, 1, 'without Retry-After it is not sent again')
  const slow = await apiFor(t, () => ({ ...problem(503, 'away'), headers: { 'retry-after': '3600' } }))
  await t.rejects(slow.api.call({ method: 'GET', path: '/' }), { code: 'away' })
  t.equal(slow.calls.length, 1, 'an hour is too long')
})

t.test('sends again what was lost on the way, where that is safe', async (t) => {
  const dropFirst = () => {
    let count = 0
    const script: Script = (_call, response) => {
      count += 1
      if (count > 1) return { body: { count } }
      response.destroy()
      return undefined
    }
    return script
  }
  for (const method of ['GET', 'PUT', 'DELETE', 'POST'] as const) {
    const { api } = await apiFor(t, dropFirst())
    t.same(await api.call({ method, path: '/' }), { count: 2 }, method)
  }
  const { api, calls } = await apiFor(t, dropFirst())
  await t.rejects(api.call({ method: 'PUT', path: '/', revision: 3, body: {} }), { code: 'cli_unreachable' })
  t.equal(calls.length, 1, 'it may have been carried out: its second attempt would meet another revision')
})

t.test('an answer that was lost is not mistaken for a refusal', async (t) => {
  const lost = (second: Script): Script => {
    let count = 0
    return (call, response) => {
      count += 1
      if (count > 1) return second(call, response)
      response.destroy()
      return undefined
    }
  }
  const deletion = await apiFor(
    t,
    lost(() => problem(404, 'api_not_found')),
  )
  t.same(
    await deletion.api.call({ method: 'DELETE', path: '/v1/vms/web' }),
    {},
    'it is gone: the first attempt did it',
  )
  const creation = await apiFor(
    t,
    lost(({ method }) =>
      method === 'PUT' ? problem(412, 'api_revision_conflict') : { body: { name: 'web' } },
    ),
  )
  const made = await creation.api.call({
    method: 'PUT',
    path: '/v1/vms/web',
    query: { wait: 9 },
    body: {},
    isNew: true,
  })
  t.same(made, { name: 'web' }, 'it is there: the first attempt made it')
  const plain = await apiFor(t, () => problem(404, 'api_not_found'))
  await t.rejects(plain.api.call({ method: 'DELETE', path: '/' }), { code: 'api_not_found' })
})

t.test('a refusal keeps everything that the API said', async (t) => {
  const { api } = await apiFor(t, () => problem(422, 'api_record_invalid', { detail: 'No.', field: '/pool' }))
  const error = await api.call({ method: 'GET', path: '/' }).catch((error: unknown) => error)
  t.ok(error instanceof ApiRefusal)
  t.match(error, {
    code: 'api_record_invalid',
    detail: 'No.',
    exitCode: 1,
    problem: { field: '/pool', requestId: 'req-1' },
  })
})

t.test('exit codes follow the status of the answer', async (t) => {
  const cases: [number, number][] = [
    [400, 1],
    [401, 3],
    [403, 3],
    [404, 4],
    [405, 1],
    [409, 5],
    [412, 5],
    [422, 1],
    [429, 6],
    [500, 6],
    [503, 6],
    [504, 7],
  ]
  for (const [status, exitCode] of cases) {
    const { api } = await apiFor(t, () => problem(status, 'x'))
    await t.rejects(api.call({ method: 'GET', path: '/' }), { code: 'x', exitCode }, String(status))
  }
})

t.test('what is no answer of the API is said to be none', async (t) => {
  const answers = [
    { status: 200, body: 'hello' },
    { status: 200, body: '[1]' },
    { status: 404, body: '<html>' },
    { status: 502, body: { error: 'x' } },
    { status: 301, headers: { location: 'https://elsewhere.test/' } },
  ]
  for (const answer of answers) {
    const { api } = await apiFor(t, () => answer)
    await t.rejects(api.call({ method: 'GET', path: '/' }), { code: 'cli_answer_unreadable', exitCode: 6 })
  }
  const { api } = await apiFor(t, () => ({ status: 301, headers: { location: 'https://elsewhere.test/' } }))
  await t.rejects(api.call({ method: 'GET', path: '/' }), { message: /leads to https:\/\/elsewhere\.test\// })
  const empty = await apiFor(t, () => ({ status: 204 }))
  t.same(await empty.api.call({ method: 'DELETE', path: '/' }), {})
})

t.test('an API that is silent does not hold the command for ever', async (t) => {
  const { api, calls } = await apiFor(t, () => undefined)
  await t.rejects(api.call({ method: 'GET', path: '/', timeoutMs: 200 }), { code: 'cli_slow', exitCode: 6 })
  t.equal(calls.length, 1)
  const halfway = await apiFor(t, (_call, response) => {
    response.writeHead(200).write('{')
    return undefined
  })
  await t.rejects(halfway.api.call({ method: 'GET', path: '/', timeoutMs: 200 }), { code: 'cli_slow' })
})

t.test('Ctrl-C ends a call at once, also between two attempts', async (t) => {
  const interrupt = new AbortController()
  const { api, calls } = await apiFor(t, () => undefined, interrupt.signal)
  const calling = api.call({ method: 'GET', path: '/' })
  await Promise.all([
    t.rejects(calling, Interrupted),
    until(() => calls.length === 1, 'the call is there').then(() => interrupt.abort()),
  ])
  const again = new AbortController()
  const busy = await apiFor(
    t,
    () => ({ ...problem(503, 'x'), headers: { 'retry-after': '20' } }),
    again.signal,
  )
  await Promise.all([
    t.rejects(busy.api.call({ method: 'GET', path: '/' }), Interrupted),
    until(() => busy.calls.length === 1, 'the call is there').then(() => again.abort()),
  ])
})

t.test('says why there is no connection', async (t) => {
  const nobody = `https://admin.localhost:${await findFreePort()}`
  const call = async (url: string, ca?: string) => {
    using api = new HttpsApi(
      async () => ({ url, token: TOKEN, from: 'test', ...(ca && { ca }) }),
      new AbortController().signal,
    )
    return await api.call({ method: 'GET', path: '/' })
  }
  const refused = await call(nobody).catch((error: unknown) => error)
  t.match(refused, { code: 'cli_unreachable', exitCode: 6 })
  t.ok(refused instanceof CliError && refused.message.includes(nobody), 'it names the address')
  const { url } = await scriptedApiFor(t, () => ({ body: {} }))
  await t.rejects(call(url), { code: 'cli_untrusted', exitCode: 6, fault: { next: /LANDFALL_CA_FILE/ } })
  const other = await scriptedApiFor(t, () => ({ body: {} }))
  await t.rejects(call(url, other.ca), { code: 'cli_untrusted' }, 'the authority of another one')
  await t.rejects(call(url.replace('admin', 'other'), (await scriptedApiFor(t, () => ({}))).ca), {
    code: 'cli_untrusted',
  })
})

t.test('is not held by a server that does not speak TLS', async (t) => {
  const server = createServer((socket) =>
    socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  using api = new HttpsApi(
    async () => ({ url: `https://127.0.0.1:${port}`, token: TOKEN, from: 'test' }),
    new AbortController().signal,
  )
  await t.rejects(api.call({ method: 'GET', path: '/' }), CliError)
})
