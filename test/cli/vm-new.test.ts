/** `landfall vm new` is over when the VM's URL answers, and its output is that URL. */

import t from 'tap'
import { until } from '../helpers/until.ts'
import { scriptedCliFor } from './cli-process.ts'
import { type Call, problem, type Script, type ScriptedAnswer } from './scripted-api.ts'

const EDGE = { 'x-request-id': 'r1' }
const NOT_READY = problem(504, 'api_vm_not_ready', { detail: 'It is being started.' })

interface Steps {
  /** What the API answers to the calls of the VM's own address, in order; the last goes on. */
  readonly puts?: readonly ScriptedAnswer[]
  readonly views?: readonly object[]
  /** What the VM's URL answers, in order; the last goes on. */
  readonly url?: readonly ScriptedAnswer[]
}

/** The API and the VM `web` (or `brave-fox`) behind one port. */
async function vmFor(t: Parameters<typeof scriptedCliFor>[0], steps: Steps) {
  const counts = { puts: 0, views: 0, url: 0 }
  let port = 0
  const view = (name: string, more: object = {}) => ({
    name,
    state: 'running',
    url: `https://${name}.localhost:${port}/`,
    report: { state: 'running', host: 'local' },
    revision: 5,
    ...more,
  })
  const next = <Step>(list: readonly Step[] | undefined, kind: keyof typeof counts): Step | undefined => {
    const step = list?.[Math.min(counts[kind], list.length - 1)]
    counts[kind] += 1
    return step
  }
  const script: Script = ({ method, path, host, body }) => {
    if (host !== 'admin.localhost') return next(steps.url, 'url') ?? { headers: EDGE, body: 'hello' }
    if (path.endsWith('/ports')) return { body: { ports: [{ port: 80 }, { port: 8_000, isDefault: true }] } }
    if (path.includes('/ports/')) return { body: {} }
    const name = path.split('/')[3] ?? 'brave-fox'
    if (method === 'GET') return { body: view(name, next(steps.views, 'views')) }
    if (method === 'PUT') return next(steps.puts, 'puts') ?? { status: 201, body: view(name, body as object) }
    return { status: 201, body: view(name) }
  }
  const scripted = await scriptedCliFor(t, script)
  port = scripted.port
  return { ...scripted, counts }
}

function apiCalls(calls: readonly Call[]) {
  return calls.filter(({ host, method }) => host === 'admin.localhost' && method !== 'GET')
}

t.test('makes the VM with one call and prints the URL alone', async (t) => {
  const { cli, calls, port } = await vmFor(t, {})
  const line = 'vm new web --pool p --image hello --port 8000 --public --comment shop'
  const { code, stdout, stderr } = await cli(line.split(' '))
  t.equal(code, 0, stderr)
  t.equal(stdout, `https://web.localhost:${port}/\n`)
  const [put, ...more] = apiCalls(calls)
  t.same(more, [])
  t.match(put, {
    method: 'PUT',
    path: '/v1/vms/web',
    query: { wait: '60' },
    headers: { 'if-none-match': '*' },
  })
  t.same(put?.body, {
    pool: 'p',
    image: 'hello',
    port: 8_000,
    ports: { 8000: { visibility: 'public' } },
    comment: 'shop',
  })
  const fetched = calls.at(-1)
  t.match(fetched, { method: 'GET', path: '/', host: 'web.localhost' })
  t.equal(fetched?.headers.authorization, undefined, 'the token is for the API alone')
})

t.test('without a port --public opens the one that the URL leads to', async (t) => {
  const { cli, calls } = await vmFor(t, {})
  t.equal((await cli(['vm', 'new', 'web', '--public'])).code, 0)
  t.match(apiCalls(calls).at(-1), {
    method: 'PUT',
    path: '/v1/vms/web/ports/8000',
    body: { visibility: 'public', isDefault: true },
  })
})

t.test('without a name the API chooses one', async (t) => {
  const { cli, calls, port } = await vmFor(t, {})
  const { code, stdout } = await cli(['vm', 'new'])
  t.equal(code, 0)
  t.equal(stdout, `https://brave-fox.localhost:${port}/\n`)
  const [post, wait] = apiCalls(calls)
  t.match(post, { method: 'POST', path: '/v1/vms', body: {} })
  t.ok(post?.headers['idempotency-key'])
  t.match(wait, { method: 'PUT', path: '/v1/vms/brave-fox', query: { wait: '60' }, body: {} })
})

t.test('waits until the URL answers: what an edge or nobody says by itself is no answer', async (t) => {
  const refusal = { 'proxy-status': 'landfall; error=x', ...EDGE }
  const steps = [
    { status: 503, headers: refusal },
    { status: 404, headers: refusal },
    { status: 502, headers: EDGE, body: 'the program is starting' },
    { status: 200, body: 'somebody else' },
  ]
  const answers = [
    { status: 200, headers: EDGE },
    { status: 404, headers: EDGE, body: 'of the VM' },
    { status: 401, headers: refusal },
    { status: 302, headers: { ...EDGE, location: 'https://auth.example.test/' } },
  ]
  const asked = answers.map(async (last) => {
    const { cli, counts } = await vmFor(t, { url: [...steps, last] })
    t.equal((await cli(['vm', 'new', 'web'])).code, 0, String(last.status))
    t.equal(counts.url, steps.length + 1)
  })
  await Promise.all(asked)
})

t.test('says how far it is, a line for each step where nothing can be redrawn', async (t) => {
  const views = [{ report: undefined }, { report: { state: 'stopped', host: 'local' } }]
  const vm = { name: 'web', state: 'running', url: '', report: { state: 'running' } }
  let put: (() => void) | undefined
  const { cli, calls, port } = await scriptedCliFor(t, ({ method, host }, response) => {
    if (host === 'web.localhost') return { headers: EDGE }
    if (method === 'GET') return { body: { ...vm, ...(views.shift() ?? {}) } }
    put = () => {
      response.writeHead(201, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ ...vm, url: `https://web.localhost:${port}/` }))
    }
    return undefined
  })
  const running = cli(['vm', 'new', 'web'])
  await until(() => calls.filter(({ method }) => method === 'GET').length >= 2, 'it looks twice')
  put?.()
  const { stderr } = await running
  t.same(stderr.trim().split('\n'), [
    'web: making the VM',
    'web: starting, no host has reported yet',
    'web: starting on host local',
    `web: waiting for https://web.localhost:${port}/`,
  ])
})

t.test('a terminal has one line, which is gone at the end', async (t) => {
  const { cli } = await vmFor(t, {})
  const { stderr } = await cli(['vm', 'new', 'web'], { columns: 80 })
  t.notMatch(stderr, '\n')
  t.match(stderr, /web: making the VM/)
  t.ok(stderr.endsWith('\r\u001b[K'))
})

t.test('goes on waiting when one request is not enough', async (t) => {
  const ready = { status: 200, body: { name: 'web', url: '', state: 'running' } }
  const { cli, calls, port } = await vmFor(t, { puts: [NOT_READY, NOT_READY, ready] })
  Object.assign(ready.body, { url: `https://web.localhost:${port}/` })
  t.equal((await cli(['vm', 'new', 'web'])).code, 0)
  const [first, second] = apiCalls(calls)
  t.equal(first?.headers['if-none-match'], '*')
  t.match(second, { body: {}, headers: { 'if-match': '"5"' } }, 'a change of nothing only waits')
})

t.test('ends with 7 when it takes too long, and says what the API says', async (t) => {
  const { cli } = await vmFor(t, { puts: [NOT_READY] })
  const { code, stdout, stderr } = await cli(['vm', 'new', 'web', '--timeout', '1s'])
  t.equal(code, 7)
  t.equal(stdout, '')
  t.match(stderr, /The title of api_vm_not_ready\n {2}It is being started\.\n {2}next: What to do/)
  const dark = await vmFor(t, { url: [{ status: 502, headers: EDGE }] })
  const late = await dark.cli(['vm', 'new', 'web', '--timeout', '1s'])
  t.equal(late.code, 7)
  t.match(late.stderr, /https:\/\/web\.localhost:\d+\/ does not answer yet\. It answers 502\./)
  t.match(late.stderr, /landfall vm show web/)
})

t.test('ends at once when the host says that it failed', async (t) => {
  const views = [{ report: { state: 'failed', host: 'local', message: 'no such image' } }]
  const { cli } = await vmFor(t, { puts: [NOT_READY], views })
  const { code, stderr } = await cli(['vm', 'new', 'web'])
  t.equal(code, 6)
  t.match(stderr, /The VM failed to start\n {2}web: no such image\n {2}next: .*landfall vm start web/)
})

t.test('a VM that exists is left as it is', async (t) => {
  const { cli, calls } = await vmFor(t, { puts: [problem(412, 'api_revision_conflict')] })
  const { code, stderr } = await cli(['vm', 'new', 'web'])
  t.equal(code, 5)
  t.match(stderr, 'The name is taken\n  /v1/vms/web is there already.')
  t.equal(apiCalls(calls).length, 1)
})

t.test('with --json it prints the VM', async (t) => {
  const { cli } = await vmFor(t, {})
  t.match(JSON.parse((await cli(['vm', 'new', 'web', '--json'])).stdout), { name: 'web', state: 'running' })
})

t.test('Ctrl-C ends it at once', async (t) => {
  const interrupt = new AbortController()
  const { cli, counts } = await vmFor(t, { url: [{ status: 502, headers: EDGE }] })
  const running = cli(['vm', 'new', 'web'], { signal: interrupt.signal })
  await until(() => counts.url > 0, 'it waits for the URL')
  interrupt.abort()
  const { code, stdout, stderr } = await running
  t.equal(code, 130)
  t.equal(stdout, '')
  t.notMatch(stderr, 'landfall:')
})

t.test('a VM is made with the size that is named', async (t) => {
  const { cli, calls } = await vmFor(t, {})
  const line = 'vm new web --cpus 2 --memory 512M --disk 20G --suspend-after 10m --egress none'
  t.equal((await cli(line.split(' '))).code, 0)
  t.same(apiCalls(calls)[0]?.body, {
    ...{ cpus: 2, memoryBytes: 536_870_912, diskBytes: 21_474_836_480 },
    ...{ egress: 'none', suspendAfterSeconds: 600 },
  })
  for (const wrong of ['--cpus 0', '--cpus 1.5', '--weight 0', '--suspend-after 4s', '--egress some']) {
    t.equal((await cli(['vm', 'new', 'web', ...wrong.split(' ')])).code, 2, wrong)
  }
})

t.test('a copy and a branch are made of a VM, and print their URL', async (t) => {
  const { cli, calls, port } = await vmFor(t, {})
  const copied = await cli('vm copy db web'.split(' '))
  t.match(copied, { code: 0, stdout: `https://web.localhost:${port}/\n` })
  const branched = await cli('snapshot branch db s1 web'.split(' '))
  t.match(branched, { code: 0, stdout: `https://web.localhost:${port}/\n` })
  t.equal((await cli('vm copy db'.split(' '))).code, 0)
  const makings = apiCalls(calls).filter(({ body }) => Object.hasOwn(Object(body), 'source'))
  t.same(
    makings.map(({ method, path, body }) => [method, path, body]),
    [
      ['PUT', '/v1/vms/web', { source: { vm: 'db' } }],
      ['PUT', '/v1/vms/web', { source: { vm: 'db', snapshot: 's1' } }],
      ['POST', '/v1/vms', { source: { vm: 'db' } }],
    ],
  )
})

t.test('to start a VM that is asleep wakes it', async (t) => {
  const asleep = { name: 'web', state: 'running', report: { state: 'asleep' }, revision: 5 }
  const { cli, calls } = await scriptedCliFor(t, ({ path }) => ({
    body: path.endsWith('/wake') ? { ...asleep, report: { state: 'running' } } : asleep,
  }))
  const { code, stderr } = await cli('vm start web'.split(' '))
  t.equal(code, 0)
  t.match(stderr, /vm web: running\n$/)
  t.same(
    calls.filter(({ method }) => method === 'POST').map(({ path, query }) => [path, Number(query.wait) > 0]),
    [['/v1/vms/web/wake', true]],
  )
})

t.test('a call that is not done in time is made again, but a restart is not', async (t) => {
  let posts = 0
  const view = { name: 'web', state: 'running', report: { state: 'asleep' }, revision: 5 }
  const { cli } = await scriptedCliFor(t, ({ method }) => {
    if (method !== 'POST') return { body: view }
    posts += 1
    return posts % 2 === 1 ? NOT_READY : { body: view }
  })
  t.equal((await cli('vm suspend web'.split(' '))).code, 0)
  t.equal(posts, 2)
  t.equal((await cli('vm restart web'.split(' '))).code, 7)
  t.equal(posts, 3)
})
