/** The system's git clones from a private VM and pushes to it with nothing but a URL that holds a token. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { adminCallOf } from '../helpers/admin-call.ts'
import { edgeFor } from '../helpers/edge.ts'
import { edgeCall } from '../helpers/edge-call.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { folderFor } from '../helpers/folder.ts'
import { gitEnvironment, gitServerFor, missingGit } from '../helpers/git-server.ts'
import { until } from '../helpers/until.ts'

const skip = missingGit()
const HOST = 'app.localhost'
const REFS = '/repo.git/info/refs?service=git-upload-pack'

async function sceneFor(t: Test) {
  const [edge, vm] = [await edgeFor(t), await gitServerFor(t)]
  const host = await fakeHostFor(t, edge, { vm: 'app', ports: { 8000: vm.port }, visibility: 'private' })
  await host.report('running')
  const admin = adminCallOf(edge)
  const folder = folderFor(t)
  const home = gitEnvironment(folder)
  const options = [
    ...[
      '-c',
      `http.sslCAInfo=${edge.caFile}`,
      '-c',
      `http.curloptResolve=${HOST}:${edge.httpsPort}:127.0.0.1`,
    ],
    ...['-c', 'credential.helper='],
  ]
  const git = async (words: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const child = spawn('git', [...options, ...words], {
      cwd: folder,
      env: { ...home, ...env },
      stdio: 'pipe',
    })
    t.teardown(() => void child.kill('SIGKILL'))
    child.stdin.end()
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: child.exitCode, stdout, stderr }
  }
  const urlWith = (login: string) => `https://${login}${HOST}:${edge.httpsPort}/repo.git`
  const refs = (headers: Readonly<Record<string, string>> = {}) =>
    edgeCall(edge, { hostname: HOST, path: REFS, headers })
  const makeToken = async (fields: Readonly<Record<string, unknown>> = {}) => {
    const expiresAt = new Date(Date.now() + 600_000).toISOString()
    const { status, json } = await admin('POST', '/v1/vms/app/tokens', { expiresAt, ...fields })
    if (status !== 201) throw new Error(`no token: ${status} ${JSON.stringify(json)}`)
    const token = String(json.token)
    const authorization = `Basic ${Buffer.from(`x:${token}`).toString('base64')}`
    await until(async () => (await refs({ authorization })).status === 200, 'the token counts')
    return { token, id: String(json.id) }
  }
  return { edge, vm, admin, folder, git, urlWith, refs, makeToken }
}

t.test('clone, commit, push and fetch with a token as the password', { skip }, async (t) => {
  const { vm, folder, git, urlWith, makeToken } = await sceneFor(t)
  const { token } = await makeToken()
  const run = async (...words: string[]) => {
    const { code, stdout, stderr } = await git(words)
    t.equal(code, 0, `${words[0]}: ${stderr}`)
    return stdout.trim()
  }
  await run('clone', urlWith(`x:${token}@`), 'work')
  t.equal(await run('-C', 'work', 'log', '--format=%s'), 'the first')
  // Above 1 MiB git sends what it pushes in chunks, after a question that tells whether it may.
  writeFileSync(
    join(folder, 'work', 'big'),
    Buffer.from(Array.from({ length: 2 ** 21 }, () => Math.random() * 256)),
  )
  await run('-C', 'work', 'add', 'big')
  await run('-C', 'work', 'commit', '-q', '-m', 'the second')
  await run('-C', 'work', 'push', 'origin', 'main')
  t.equal(await run('-C', vm.repository, 'log', '--format=%s'), 'the second\nthe first')
  await run('clone', urlWith(`whoever:${token}@`), 'again')
  t.equal(await run('-C', 'again', 'log', '--format=%s'), 'the second\nthe first')
  t.ok(vm.requests.length > 0)
  for (const { headers } of vm.requests) {
    t.equal(headers.authorization, undefined)
    t.ok(headers['x-landfall-assertion'])
  }
})

t.test('without a credential git is asked for one, and says so', { skip }, async (t) => {
  const { vm, folder, git, urlWith, refs, makeToken } = await sceneFor(t)
  const asked = await refs({ 'user-agent': 'git/2.47.1' })
  t.equal(asked.status, 401)
  t.match(asked.headers['www-authenticate'], /Basic realm="app\.localhost"/)
  const refused = await git(['clone', urlWith(''), 'none'])
  t.equal(refused.code, 128)
  t.match(refused.stderr, /could not read Username for 'https:\/\/app\.localhost:\d+'/)
  t.same(vm.requests, [])
  const { token } = await makeToken()
  const askpass = join(folder, 'askpass')
  writeFileSync(askpass, '#!/bin/sh\ncase $1 in User*) echo git ;; *) echo "$TOKEN" ;; esac\n', {
    mode: 0o700,
  })
  const answered = await git(['clone', urlWith(''), 'asked'], { GIT_ASKPASS: askpass, TOKEN: token })
  t.equal(answered.code, 0, answered.stderr)
})

t.test('a wrong password fails at once, as does a token that has ended', { skip }, async (t) => {
  const { vm, admin, git, urlWith, refs, makeToken } = await sceneFor(t)
  const { token, id } = await makeToken()
  const forged = `${token.slice(0, -6)}AAAAAA`
  const before = vm.requests.length
  for (const password of ['wrong', forged, 'x'.repeat(100)]) {
    const { code, stderr } = await git(['clone', urlWith(`x:${password}@`), 'wrong'])
    t.equal(code, 128)
    t.match(stderr, /Authentication failed for 'https:\/\/app\.localhost:\d+\/repo\.git\/'/)
  }
  t.equal(vm.requests.length, before, 'the VM is not asked')
  t.equal((await admin('DELETE', `/v1/vms/app/tokens/${id}`)).status, 204)
  const authorization = `Basic ${Buffer.from(`x:${token}`).toString('base64')}`
  await until(async () => (await refs({ authorization })).status === 401, 'the token is dead')
  t.match(await git(['clone', urlWith(`x:${token}@`), 'dead']), {
    code: 128,
    stderr: /Authentication failed/,
  })
})

t.test('a token may be for one repository, but git needs POST to read it', { skip }, async (t) => {
  const { git, urlWith, makeToken } = await sceneFor(t)
  const { token } = await makeToken({ pathPrefix: '/repo.git' })
  t.equal((await git(['clone', urlWith(`x:${token}@`), 'work'])).code, 0)
  const reader = await makeToken({ pathPrefix: '/repo.git', methods: ['GET'] })
  const { code, stderr } = await git(['clone', urlWith(`x:${reader.token}@`), 'other'])
  t.equal(code, 128, 'it asks with POST for what it fetches')
  t.match(stderr, /403/)
})
