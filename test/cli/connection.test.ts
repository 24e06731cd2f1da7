/** Which API the commands talk to, and what keeps a token from going elsewhere. */

import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { rootCertificates } from 'node:tls'
import t, { type Test } from 'tap'
import { getConnection } from '../../cli/connection.ts'
import { isJwt } from '../../cli/kinds.ts'
import { deleteLogin, findLogin, loginFileOf, writeLogin } from '../../cli/login-file.ts'
import { folderFor } from '../helpers/folder.ts'
import { cliFor } from './cli-process.ts'
import { problem, scriptedApiFor, TOKEN } from './scripted-api.ts'

const URL = 'https://admin.example.test'
const JWT = `eyJhbGciOiJFZERTQSJ9.${'eyJhdWQi'.repeat(150)}.c2ln`

function homeFor(t: Test) {
  const home = folderFor(t)
  const data = join(home, 'data')
  const warnings: string[] = []
  const env = (more: Readonly<Record<string, string>> = {}) => ({ HOME: home, ...more })
  const find = (more?: Readonly<Record<string, string>>) =>
    getConnection(env(more), (line) => warnings.push(line))
  const write = (name: string, text: string) => {
    const file = join(home, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text, { mode: 0o600 })
    return file
  }
  return { home, data, env, find, write, warnings }
}

t.test('the environment comes first', async (t) => {
  const { find, write } = homeFor(t)
  const caFile = write('own-ca.pem', 'PEM')
  write('.config/landfall/config.json', JSON.stringify({ api: 'https://admin.other.test', token: 'other' }))
  const env = { LANDFALL_API: `${URL}/`, LANDFALL_TOKEN: ` ${TOKEN} `, LANDFALL_CA_FILE: caFile }
  t.same(await find(env), { url: URL, from: 'LANDFALL_API', token: TOKEN, ca: 'PEM', caFile })
  await t.rejects(find({ LANDFALL_API: 'admin.example.test', LANDFALL_TOKEN: TOKEN }), { code: 'cli_usage' })
  await t.rejects(find({ ...env, LANDFALL_CA_FILE: join(caFile, 'x') }), { code: 'cli_file_unusable' })
})

t.test('a stored token goes only to the address that it was stored with', async (t) => {
  const { find, write } = homeFor(t)
  const file = write('.config/landfall/config.json', JSON.stringify({ api: URL, token: TOKEN }))
  t.same(await find(), { url: URL, from: file, token: TOKEN })
  t.same((await find({ LANDFALL_API: URL })).token, TOKEN)
  await t.rejects(find({ LANDFALL_API: 'https://admin.evil.test' }), {
    code: 'cli_token_missing',
    exitCode: 3,
  })
  t.same((await find({ LANDFALL_TOKEN: 'another' })).token, 'another', 'the environment may name another one')
  await t.rejects(find({ LANDFALL_TOKEN: 'two words' }), { code: 'cli_token_missing' })
  await t.rejects(find({ LANDFALL_TOKEN: 'line\nbreak' }), { code: 'cli_token_missing' })
})

t.test('a token may be a JWT, which is longer', async (t) => {
  const { find } = homeFor(t)
  const jwt = (length: number) => `${'a'.repeat(40)}.${'b'.repeat(length - 82)}.${'c'.repeat(40)}`
  for (const length of [200, 1_025, 4_096])
    t.equal((await find({ LANDFALL_API: URL, LANDFALL_TOKEN: jwt(length) })).token.length, length)
  await t.rejects(find({ LANDFALL_API: URL, LANDFALL_TOKEN: jwt(4_097) }), { code: 'cli_token_missing' })
  t.same([isJwt(jwt(200)), isJwt(TOKEN), isJwt('a.b'), isJwt('a.b.c.d')], [true, false, false, false])
})

t.test('a running landfall dev is found by its data folder', async (t) => {
  const { home, data, find, write } = homeFor(t)
  const local = { LANDFALL_DATA: data }
  await t.rejects(find(local), { code: 'cli_not_connected', exitCode: 3 })
  const caFile = write('data/ca.pem', 'LOCAL')
  const file = write(
    'data/api.json',
    JSON.stringify({ url: 'https://admin.localhost:8443', caFile: 'data/ca.pem' }),
  )
  await t.rejects(find(local), { code: 'cli_token_missing' })
  write('data/admin.token', 'local-token\n')
  const expected = {
    url: 'https://admin.localhost:8443',
    from: file,
    token: 'local-token',
    ca: ['LOCAL', ...rootCertificates].join('\n'),
    caFile,
  }
  t.same(await find(local), expected, 'an edge may have got a certificate of a public authority')
  write('other.pem', 'OTHER')
  write(
    'data/api.json',
    JSON.stringify({ url: 'https://admin.localhost:8443/', caFile: join(home, 'other.pem') }),
  )
  t.match((await find(local)).ca, /^OTHER\n/)
  const named = { ...local, LANDFALL_CA_FILE: caFile }
  t.equal((await find(named)).ca, 'LOCAL', 'what somebody named is all that is trusted')
  for (const text of ['', '{}', '{"url": "http://admin.localhost"}', '[]']) {
    write('data/api.json', text)
    await t.rejects(find(local), { code: 'cli_file_unusable' }, text)
  }
})

t.test('a folder that is named comes before a login, one that is merely there after it', async (t) => {
  const { data, find, write, home } = homeFor(t)
  write('data/ca.pem', 'LOCAL')
  write('data/admin.token', 'local-token')
  write('data/api.json', JSON.stringify({ url: 'https://admin.localhost:8443' }))
  write('.config/landfall/config.json', JSON.stringify({ api: URL, token: TOKEN }))
  t.equal((await find({ LANDFALL_DATA: data })).token, 'local-token')
  t.equal((await find()).token, TOKEN)
  t.equal((await find({ LANDFALL_DATA: join(home, 'nothing') })).token, TOKEN)
})

t.test('the login file is for its owner alone and replaced in one step', async (t) => {
  const { home, env, warnings } = homeFor(t)
  const file = loginFileOf(env())
  t.equal(file, join(home, '.config/landfall/config.json'))
  t.equal(loginFileOf(env({ XDG_CONFIG_HOME: '/x' })), '/x/landfall/config.json')
  const warn = (line: string) => void warnings.push(line)
  t.equal(await findLogin(file, warn), undefined)
  await writeLogin(file, { api: URL, token: 'one' })
  await writeLogin(file, { api: URL, token: 'two', caFile: '/ca.pem' })
  t.same(await findLogin(file, warn), { api: URL, token: 'two', caFile: '/ca.pem' })
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.equal(statSync(dirname(file)).mode & 0o777, 0o700)
  t.same(readdirSync(dirname(file)), ['config.json'], 'no drafts are left')
  t.same(warnings, [])
  chmodSync(file, 0o644)
  await findLogin(file, warn)
  t.match(warnings, [/others can read the token in .*; run: chmod 600/])
  t.equal(await deleteLogin(file), true)
  t.equal(await deleteLogin(file), false)
})

t.test('a login file that is none is an error, not a guess', async (t) => {
  const { find, write } = homeFor(t)
  for (const text of ['', '{', '{}', '[]', 'null', '{"api": 1, "token": "x"}']) {
    write('.config/landfall/config.json', text)
    await t.rejects(
      find(),
      { code: 'cli_file_unusable', exitCode: 2, fault: { next: /landfall login/ } },
      text,
    )
  }
})

t.test('landfall login tries the token out before it keeps it', async (t) => {
  const home = folderFor(t)
  const { url, caFile, calls } = await scriptedApiFor(t, ({ headers }) =>
    [`Bearer ${TOKEN}`, `Bearer ${JWT}`].includes(headers.authorization ?? '')
      ? { body: { id: 'abc', scopes: [{ pool: 'web', verbs: ['read', 'write'] }] } }
      : problem(401, 'api_unauthorized'),
  )
  const cli = cliFor(t, { HOME: home })
  const line = ['login', '--api', url, '--token-stdin', '--ca-file', caFile]
  const file = join(home, '.config/landfall/config.json')
  const refused = await cli(line, { stdin: 'wrong' })
  t.equal(refused.code, 3)
  t.throws(() => readFileSync(file))
  t.equal((await cli(line, { stdin: '' })).code, 2)
  t.equal((await cli(line, { stdin: 'two\nlines' })).code, 2)
  const untrusted = await cli(line.slice(0, 4), { stdin: TOKEN })
  t.equal(untrusted.code, 6)
  t.match(untrusted.stderr, '--ca-file')
  const { code, stdout, stderr } = await cli(line, { stdin: `${TOKEN}\n` })
  t.equal(code, 0)
  t.equal(stdout, '')
  t.equal(stderr, `logged in to ${url} as abc (web:read,write); kept in ${file}\n`)
  t.same(JSON.parse(readFileSync(file, 'utf8')), { api: url, token: TOKEN, caFile })
  const who = await cli(['whoami'])
  t.equal(who.code, 0)
  t.match(who.stdout, new RegExp(`id +abc\\nscopes +web:read,write\\napi +${url}\\nfrom +${file}\\n`))
  t.notMatch(stderr + who.stdout, TOKEN)
  t.ok(calls.every(({ path }) => path === '/v1/whoami'))
  t.equal((await cli(line, { stdin: `${JWT}\n` })).code, 0)
  t.equal(calls.at(-1)?.headers.authorization, `Bearer ${JWT}`)
  t.equal(JSON.parse(readFileSync(file, 'utf8')).token, JWT)
  t.equal((await cli(['logout'])).code, 0)
  t.equal((await cli(['whoami'])).code, 3)
})

t.test('a token is not typed into a terminal', async (t) => {
  const { code, stderr } = await cliFor(t)(['login', '--api', URL, '--token-stdin'], {
    stdinIsTerminal: true,
  })
  t.equal(code, 2)
  t.match(stderr, 'read from a pipe or a file')
})
