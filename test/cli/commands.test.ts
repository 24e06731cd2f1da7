/** Each command: what it asks the API, what it prints, and how it ends. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { COMMANDS } from '../../cli/commands.ts'
import { folderFor } from '../helpers/folder.ts'
import { scriptedCliFor } from './cli-process.ts'
import { NAME_CASES } from './name-cases.ts'
import { PLATFORM_CASES } from './platform-cases.ts'
import { problem } from './scripted-api.ts'
import { SHARE_CASES } from './share-cases.ts'
import { ITEMS, script, VM } from './views.ts'
import { VM_CASES } from './vm-cases.ts'

const CASES = [...VM_CASES, ...SHARE_CASES, ...NAME_CASES, ...PLATFORM_CASES]
/** Tried elsewhere: they wait, follow, log in or tell of the command line itself. */
const TRIED_ELSEWHERE = [
  'vm new',
  'vm copy',
  'snapshot branch',
  'events',
  'ssh',
  'tunnel',
  'image build',
  'image list',
  'image remove',
  'login',
  'logout',
  'key add',
  'token sign',
  'completion',
  'help',
  'version',
  'dev',
  'edge',
  'host',
]

t.test('each command asks what it says and prints what was answered', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  for (const { line, sent, stdout = '', stderr = /.*/ } of CASES) {
    calls.length = 0
    const result = await cli(line.split(' '))
    t.equal(result.code, 0, `${line}: ${result.stderr}`)
    t.same(
      calls.map(({ method, path, body }) => (body === undefined ? [method, path] : [method, path, body])),
      sent,
      line,
    )
    const wanted = stdout === '' && sent[0]?.[0] !== 'DELETE' && result.stdout !== '' ? /./ : stdout
    t.match(result.stdout, wanted, line)
    if (typeof wanted === 'string') t.equal(result.stdout, wanted, line)
    t.match(result.stderr, stderr, line)
  }
})

t.test('with --json every command prints one JSON document, and nothing else', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  for (const { line, sent } of CASES) {
    calls.length = 0
    const { code, stdout, stderr } = await cli([...line.split(' '), '--json'])
    t.equal(code, 0, `${line}: ${stderr}`)
    const json = JSON.parse(stdout)
    const path = sent.at(-1)?.[1] ?? ''
    if (sent.every(([method]) => method === 'GET'))
      t.same(json, JSON.parse(JSON.stringify(ITEMS[path])), line)
    t.ok(typeof json === 'object' && json !== null && !Array.isArray(json), line)
  }
})

t.test('queries carry what was asked for', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  await cli(['vm', 'list', '--pool', 'a b'])
  await cli(['route', 'list', '--vm', 'v', '--pool', 'p'])
  await cli(['audit', 'list', '--since', '2026-01-01'])
  await cli(['audit', 'list'])
  await cli(['usage', 'web', '--from', '2026-01-01'])
  await cli(['session', 'list', '--user', 'ann'])
  await cli(['link', 'delete', 'web', 'l1', '--end-access'])
  await cli(['link', 'delete', 'web', 'l1'])
  t.same(
    calls.map(({ query: { limit: _limit, ...query } }) => query).filter((_, at) => at !== 3),
    [
      { pool: 'a b' },
      { vm: 'v', pool: 'p' },
      { since: '2026-01-01T00:00:00.000Z' },
      { from: '2026-01-01T00:00:00.000Z' },
      { user: 'ann' },
      { access: 'end' },
      {},
    ],
  )
  const sinceMs = Date.now() - Date.parse(calls[3]?.query.since ?? '')
  t.ok(Math.abs(sinceMs - 86_400_000) < 60_000, 'a day unless told otherwise')
})

t.test('a link ends after a week unless told otherwise', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  const before = Date.now()
  t.equal((await cli(['link', 'make', 'web'])).code, 0)
  const { expiresAt } = (calls[0]?.body ?? {}) as { expiresAt?: string }
  const lifeMs = Date.parse(expiresAt ?? '') - before
  t.ok(lifeMs >= 604_800_000 && lifeMs < 604_860_000)
})

t.test('changes are made at the revision that was read', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  await cli('pool new web --cpus 1 --memory 1G --disk 1G'.split(' '))
  await cli('pool set web --cpus 1'.split(' '))
  await cli('vm start web'.split(' '))
  const puts = calls.filter(({ method }) => method === 'PUT')
  t.same(
    puts.map(({ headers }) => headers['if-none-match'] ?? headers['if-match']),
    ['*', '"7"', '"9"'],
  )
})

t.test('a VM that somebody else changes meanwhile is read again', async (t) => {
  let puts = 0
  const { cli, calls } = await scriptedCliFor(t, ({ method }) => {
    if (method === 'GET') return { body: { ...VM, revision: 10 + puts } }
    puts += 1
    return puts < 3 ? problem(412, 'api_revision_conflict') : { body: VM }
  })
  t.equal((await cli(['vm', 'set', 'web', '--image', 'x'])).code, 0)
  t.same(
    calls.filter(({ method }) => method === 'PUT').map(({ headers }) => headers['if-match']),
    ['"10"', '"11"', '"12"'],
  )
  puts = -10
  t.equal((await cli(['vm', 'set', 'web', '--image', 'x'])).code, 5, 'not for ever')
})

t.test('a key comes from a file or from standard input', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  const file = join(folderFor(t), 'id.pub')
  writeFileSync(file, 'ssh-ed25519 AAAA ann@laptop\n')
  t.equal((await cli(['key', 'add', 'ann', file, '--label', 'laptop'])).stdout, 'k1\n')
  t.equal((await cli(['key', 'add', 'ann', '-'], { stdin: 'ssh-ed25519 BBBB\n' })).stdout, 'k1\n')
  t.same(
    calls.map(({ body }) => body),
    [
      { user: 'ann', publicKey: 'ssh-ed25519 AAAA ann@laptop', label: 'laptop' },
      { user: 'ann', publicKey: 'ssh-ed25519 BBBB' },
    ],
  )
  t.equal((await cli(['key', 'add', 'ann', `${file}.missing`])).code, 2)
})

t.test('options that contradict each other are refused before anything is sent', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  const lines = [
    'port set web 3000',
    'port set web 3000 --public --private',
    'port set web 3000 --private --authorization vm',
    'vm-token make web',
    'vm-token make web --expires 1d --path /a/../b',
    'vm-token make web --expires 1d --path a',
    'vm-token make web --expires 1d --method GE\nT',
    'vm-token make web --expires 1d --key-thumbprint short',
    'vm-token make web --expires 1d --ctx \u0001',
    'link make web --expires soon',
    'grant add web link:l1',
    'route set a.example.test',
    'route set a.example.test --vm web --upstream 127.0.0.1:1',
    'route set a.example.test --upstream 127.0.0.1:1 --port 80',
    'route set a.example.test --vm web --public',
    'route set a.example.test --vm web --pool web',
    'vm set web',
    'pool set web',
    'table accept',
  ]
  for (const line of lines) {
    const { code, stdout } = await cli(line.split(' '))
    t.equal(code, 2, line)
    t.equal(stdout, '')
  }
  t.equal(calls.length, 0)
})

t.test('empty listings say what to do, and leave standard output alone', async (t) => {
  const { cli } = await scriptedCliFor(t, () => ({ body: { vms: [], pools: [] } }))
  const { stdout, stderr } = await cli(['vm', 'list'])
  t.equal(stdout, '')
  t.match(stderr, /There are no VMs\. "landfall vm new NAME" makes one\./)
  t.equal((await cli(['vm', 'list', '--json'])).stdout, '{"vms":[],"pools":[]}\n')
})

t.test('token bootstrap --save keeps the new token, and shows it even when that fails', async (t) => {
  const { cli, url, caFile } = await scriptedCliFor(t, script)
  const home = folderFor(t)
  const env = { HOME: home }
  t.equal((await cli(['token', 'bootstrap', '--save'], { env })).stdout, 'lf_the_token\n')
  const kept = await cli(['whoami', '--json'], {
    env: { ...env, LANDFALL_API: '', LANDFALL_TOKEN: '', LANDFALL_CA_FILE: '' },
  })
  t.equal(kept.code, 0, kept.stderr)
  t.ok(url !== '' && caFile !== '')
  const blocked = await cli(['token', 'bootstrap', '--save'], { env: { XDG_CONFIG_HOME: '/dev/null' } })
  t.equal(blocked.stdout, 'lf_the_token\n')
  t.equal(blocked.code, 2)
})

t.test('domain check --wait goes on until the domain is proven, or there is no time left', async (t) => {
  let checks = 0
  const { cli, calls } = await scriptedCliFor(t, () => {
    checks += 1
    const pending = { hostname: 'a.test', state: 'pending', lastError: 'NXDOMAIN' }
    return { body: checks < 2 ? pending : { ...pending, state: 'proven' } }
  })
  const { code, stdout, stderr } = await cli('domain check a.test --wait'.split(' '))
  t.equal(code, 0)
  t.match(stdout, /state +proven/)
  t.match(stderr, 'a.test: not proven yet: NXDOMAIN')
  t.same(
    calls.map(({ method, path }) => `${method} ${path}`),
    ['POST /v1/domains/a.test/check', 'POST /v1/domains/a.test/check', 'GET /v1/certificates/a.test'],
  )
  checks = -9
  const late = await cli('domain check a.test --wait --timeout 1s'.split(' '))
  t.equal(late.code, 7)
  t.match(late.stderr, /a\.test is not proven yet\. NXDOMAIN\n.*landfall domain show a\.test/)
})

t.test('what the command line says of itself has JSON as well', async (t) => {
  const { cli, calls } = await scriptedCliFor(t, script)
  t.match(JSON.parse((await cli(['version', '--json'])).stdout), { version: /^\d+\.\d+\.\d+/ })
  t.match(JSON.parse((await cli(['help', 'vm', '--json'])).stdout), { help: /landfall vm list/ })
  t.match(JSON.parse((await cli(['completion', 'bash', '--json'])).stdout), { script: /complete -F/ })
  t.match((await cli(['version'])).stdout, /^landfall \d+\.\d+\.\d+ \(node v/)
  t.match((await cli(['vm', 'new', '--help'])).stdout, /^usage: landfall vm new \[NAME\]/)
  t.equal(calls.length, 0)
})

t.test('every command is tried', (t) => {
  const lines = [...CASES.map(({ line }) => line), ...TRIED_ELSEWHERE]
  const names = COMMANDS.map(({ words }) => words.join(' '))
  t.same(
    names.filter((name) => !lines.some((line) => line === name || line.startsWith(`${name} `))),
    [],
  )
  t.end()
})
