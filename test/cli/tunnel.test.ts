/** What `landfall tunnel` shows the edge, and which hosts never see the token of the API. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { decodeJwt, importJWK, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { findEdgeToken } from '../../cli/edge-token.ts'
import { folderFor } from '../helpers/folder.ts'
import { type CliOptions, cliFor, scriptedCliFor } from './cli-process.ts'
import { type ConnectScript, problem, TOKEN } from './scripted-api.ts'
import { jwkOf, type KeyKind, KINDS, lockKey, missingKeygen, writeKey } from './ssh-keys.ts'

const skip = missingKeygen()

const FIELD = 'x-landfall-authorization'
const JWT = 'eyJhbGciOiJFZERTQSJ9.eyJhdWQiOiJhZG1pbi5sb2NhbGhvc3QifQ.c2ln'

/** An API whose VM `web` is at `hostname`, behind the edge that is scripted. */
async function sceneFor(t: Test, connect: ConnectScript, hostname = 'web.localhost') {
  const { cli, calls, port, url, caFile } = await scriptedCliFor(
    t,
    () => ({ body: { name: 'web', pool: 'shop', hostname, url: `https://${hostname}:${port}/` } }),
    connect,
  )
  const tunnel = async (options: CliOptions = {}) => {
    calls.length = 0
    const result = await cli(['tunnel', 'web'], options)
    const sent = calls.filter(({ method }) => method === 'CONNECT')
    return { ...result, paths: sent.map(({ path }) => path), shown: sent.map((call) => call.headers[FIELD]) }
  }
  return { tunnel, calls, url, caFile }
}

t.test('the token of the API goes along with CONNECT', async (t) => {
  const { tunnel, calls } = await sceneFor(t, () => undefined)
  const result = await tunnel()
  t.match(result, { code: 0, stdout: 'hello', stderr: '' })
  t.same(result.paths, ['web.localhost:22'])
  t.same(result.shown, [`Bearer ${TOKEN}`])
  t.equal(calls.at(-1)?.headers.authorization, undefined)
})

t.test('a JWT is for the API alone', async (t) => {
  const { tunnel, calls } = await sceneFor(t, () => undefined)
  const result = await tunnel({ env: { LANDFALL_TOKEN: JWT } })
  t.match(result, { code: 0, stdout: 'hello' })
  t.equal(calls[0]?.headers.authorization, `Bearer ${JWT}`)
  t.same(result.shown, [undefined])
})

t.test('no host of another domain sees it', async (t) => {
  const { tunnel } = await sceneFor(t, () => problem(401, 'auth_required'), 'web.other.localhost')
  const result = await tunnel()
  t.match(result, { code: 3, stdout: '', stderr: /landfall token new --scope shop:read,share/ })
  t.same(result.paths, ['web.other.localhost:22'])
  t.same(result.shown, [undefined])
})

t.test('one that the edge does not know does not keep anybody from a public port', async (t) => {
  let isPublic = true
  const { tunnel } = await sceneFor(t, ({ headers }) => {
    if (headers[FIELD] !== undefined) return problem(401, 'auth_invalid')
    return isPublic ? undefined : problem(401, 'auth_required')
  })
  const opened = await tunnel()
  t.match(opened, { code: 0, stdout: 'hello' })
  t.same(opened.shown, [`Bearer ${TOKEN}`, undefined])
  isPublic = false
  const refused = await tunnel()
  t.match(refused, { code: 3, stdout: '', stderr: /auth_required/ })
  t.same(refused.shown, [`Bearer ${TOKEN}`, undefined])
})

t.test('refusals say what to do next, and no token', async (t) => {
  const cases: [number, string, number, RegExp][] = [
    [401, 'auth_required', 3, /"share" or "admin".*landfall token new --scope shop:read,share/],
    [403, 'auth_forbidden', 3, /"share" or "admin".*landfall token new --scope shop:read,share/],
    [503, 'auth_stale', 6, /What to do about auth_stale\./],
    [403, 'route_port_web', 3, /What to do about route_port_web\./],
  ]
  for (const [status, code, exit, stderr] of cases) {
    const { tunnel } = await sceneFor(t, () => problem(status, code))
    const result = await tunnel()
    t.match(result, { code: exit, stdout: '', stderr }, code)
    t.notMatch(result.stderr, TOKEN)
    t.notMatch(result.stderr, '--public')
    t.equal(result.paths.length, 1, code)
  }
})

t.test('a port 22 that nobody has spoken of yet becomes known, and private', async (t) => {
  let asked = 0
  const { tunnel, calls } = await sceneFor(t, () => {
    asked += 1
    return asked < 3 ? problem(404, 'route_port_unknown') : undefined
  })
  const result = await tunnel()
  t.match(result, { code: 0, stdout: 'hello' })
  t.match(
    calls.filter(({ method }) => method === 'PUT'),
    [{ path: '/v1/vms/web/ports/22', body: { visibility: 'private' }, headers: { 'if-none-match': '*' } }],
  )
})

t.test('where that does not help it says what to do', async (t) => {
  const { tunnel } = await sceneFor(t, () => problem(404, 'route_port_unknown'))
  t.match(await tunnel(), { code: 4, stdout: '', stderr: /landfall port set web 22 --private/ })
})

t.test(
  'whose own SSH key signed the JWT is let in by another that it signs for the VM',
  { skip },
  async (t) => {
    const { tunnel } = await sceneFor(t, () => undefined)
    const home = folderFor(t)
    mkdirSync(join(home, '.ssh'))
    const kind = KINDS[0] as KeyKind
    const file = writeKey(join(home, '.ssh/id_ed25519'), kind)
    const cli = cliFor(t, { HOME: home })
    const sign = async (...words: string[]) =>
      (await cli(['token', 'sign', 'admin.some.test', '--expires', '2d', ...words])).stdout.trim()
    const jwt = await sign()
    const { code, shown } = await tunnel({ env: { HOME: home, LANDFALL_TOKEN: jwt } })
    t.equal(code, 0)
    const [, token = ''] = shown[0]?.toString().split('Bearer ') ?? []
    const { payload } = await jwtVerify(token, await importJWK(jwkOf(file, kind), kind.alg), {
      algorithms: [kind.alg],
      audience: 'web.localhost',
      typ: 'landfall-self+jwt',
    })
    t.equal(payload.exp, decodeJwt(jwt).exp)
    const other = writeKey(join(home, 'other'), kind)
    const strange = await tunnel({ env: { HOME: home, LANDFALL_TOKEN: await sign('--key', other) } })
    t.same(strange.shown, [undefined], 'another key has signed it')
    lockKey(file)
    const locked = await tunnel({ env: { HOME: home, LANDFALL_TOKEN: jwt } })
    t.match(locked, { code: 0, shown: [undefined] }, 'its key is not at hand')
  },
)

t.test('the same platform is one label below the domain of the API, at the same port', async (t) => {
  const signing = { env: {}, signal: new AbortController().signal, now: () => new Date() }
  const ask = (url: string, address: string, token = TOKEN) =>
    findEdgeToken({ url, token, from: '' }, address, signing)
  const api = 'https://admin.example.test'
  t.equal(await ask(api, 'https://web.example.test/'), TOKEN)
  t.equal(await ask(api, 'https://web.example.test:443/'), TOKEN)
  t.equal(await ask('https://admin.localhost:8443', 'https://3000--web.localhost:8443/'), TOKEN)
  t.equal(await ask(api, 'https://web.example.test/', JWT), undefined)
  const others = [
    'https://web.example.test:8443/',
    'http://web.example.test/',
    'https://example.test/',
    'https://web.example.test.evil.test/',
    'https://web.evil.test/',
    'https://a.web.example.test/',
    'https://webexample.test/',
    'https://example.test.',
    'https://web.example.test./',
    'https://.example.test/',
    'https://test/',
    'https://127.0.0.1/',
    'https://admin.example.test@evil.test/',
    'ssh://web.example.test/',
    '',
  ]
  for (const address of others) t.equal(await ask(api, address), undefined, address)
  for (const own of ['https://api.example.test', 'https://10.0.0.1', 'https://admin', 'https://admin.', ''])
    t.equal(await ask(own, 'https://web.example.test/'), undefined, own)
  t.equal(await ask('https://admin.0.0.1', 'https://127.0.0.1/'), undefined)
})
