/** Tokens for programs, from the API to the VM and to their end: each is asked for, sent, narrowed, and taken away through a real edge. */

import { hash, randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { createHolder, type Holder, proofOf } from '../auth/tokens/proof-maker.ts'
import { cliFor } from '../cli/cli-process.ts'
import { type KeyKind, KINDS, missingKeygen, writeKey } from '../cli/ssh-keys.ts'
import { adminCallOf } from '../helpers/admin-call.ts'
import { echoVmFor, seenIn } from '../helpers/echo-vm.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { type EdgeAsk, edgeCall } from '../helpers/edge-call.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { folderFor } from '../helpers/folder.ts'
import { lostTimeFor } from '../helpers/lost-time.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const OTHER_PORT = '3000--app.localhost'
const LIMIT_MS = 1_000

/** A VM `app` with the private ports 3000 and 8000, which is the default one. */
async function sceneFor(t: Test) {
  const edge = await edgeFor(t)
  const vm = await echoVmFor(t)
  const ports = { 3000: vm.port, 8000: vm.port }
  const host = await fakeHostFor(t, edge, { vm: 'app', ports, visibility: 'private' })
  await host.report('running')
  const admin = adminCallOf(edge)
  const make = async (fields: Readonly<Record<string, unknown>> = {}) => {
    const { status, json } = await admin('POST', '/v1/vms/app/tokens', {
      expiresAt: inSeconds(600),
      ...fields,
    })
    if (status !== 201) throw new Error(`no token: ${status} ${JSON.stringify(json)}`)
    return { id: String(json.id), token: String(json.token) }
  }
  const ask = (credential: Readonly<Record<string, string>>, more: Partial<EdgeAsk> = {}) =>
    edgeCall(edge, { hostname: HOST, ...more, headers: credential })
  /** Once the edge knows the grant, which it hears of from the feed. */
  const untilCounts = (token: string, more: Partial<EdgeAsk> = {}) =>
    until(async () => (await ask(own(token), more)).status === 200, 'the token counts')
  const statusOf = async (...args: Parameters<typeof ask>) => (await ask(...args)).status
  return { edge, vm, admin, make, ask, statusOf, untilCounts }
}

const own = (token: string) => ({ 'x-landfall-authorization': `Bearer ${token}` })

function inSeconds(seconds: number): string {
  return new Date(Date.now() + seconds * 1_000).toISOString()
}

/** An event stream that is open, whatever becomes of it. */
async function openEvents(edge: TestEdge, token: string) {
  const socket = await edge.dial(HOST)
  const heard = transcriptOf(socket)
  const line = `X-Landfall-Authorization: Bearer ${token}`
  socket.write(`GET /events HTTP/1.1\r\nHost: ${HOST}\r\n${line}\r\n\r\n`)
  await heard.has('tick')
  return heard
}

t.test('the VM sees the assertion and the text of the token, and never the token', async (t) => {
  const { edge, vm, make, ask, untilCounts } = await sceneFor(t)
  const ctx = '{"job":7,"who":"é"}'
  const { id, token } = await make({ ctx })
  await untilCounts(token)
  const seen = seenIn(
    await ask({ ...own(token), 'x-landfall-user': 'root', authorization: 'Bearer of-the-app' }),
  )
  const { headers } = seen
  t.equal(Buffer.from(String(headers['x-landfall-token-ctx']), 'latin1').toString(), ctx)
  t.equal(headers['x-landfall-user'], undefined)
  t.equal(headers.authorization, 'Bearer of-the-app')
  const ours = Object.keys(headers).filter((name) => name.startsWith('x-landfall-'))
  t.same(ours.sort(), ['x-landfall-assertion', 'x-landfall-token-ctx'])
  const keys = createRemoteJWKSet(new URL(`https://${HOST}/.well-known/landfall/jwks.json`), {
    [customFetch]: async (url) => {
      const { status, body } = await edgeCall(edge, { hostname: HOST, path: new URL(url).pathname })
      return new Response(body, { status })
    },
  })
  const demand = { issuer: 'https://auth.localhost', audience: HOST, typ: 'landfall-assertion+jwt' }
  const { payload } = await jwtVerify(String(headers['x-landfall-assertion']), keys, demand)
  t.match(payload, { sub: `token:${id}`, kind: 'token', ctx })
  for (const { rawHeaders, url } of vm.requests) t.notMatch([url, ...rawHeaders].join('\n'), token)
})

t.test(
  'in Authorization it is taken as Bearer and as the password of Basic, and does not go on',
  async (t) => {
    const { make, ask, statusOf, untilCounts } = await sceneFor(t)
    const { token } = await make()
    await untilCounts(token)
    const basic = (password: string) => `Basic ${Buffer.from(`git:${password}`).toString('base64')}`
    for (const authorization of [`Bearer ${token}`, `bearer ${token}`, basic(token)]) {
      const { headers } = seenIn(await ask({ authorization }))
      t.equal(headers.authorization, undefined)
      t.ok(headers['x-landfall-assertion'])
    }
    for (const authorization of [
      `Bearer ${token}x`,
      basic(`${token}x`),
      basic('a password'),
      'Bearer of-the-app',
    ])
      t.equal(await statusOf({ authorization }), 401, authorization.slice(0, 20))
  },
)

t.test('a port that leaves Authorization to the app takes no token from there', async (t) => {
  const { admin, make, ask, statusOf, untilCounts } = await sceneFor(t)
  const { token } = await make()
  await untilCounts(token)
  const set = await admin('PUT', '/v1/vms/app/ports/8000', { visibility: 'private', authorization: 'app' })
  t.equal(set.status, 200)
  await until(async () => (await statusOf({ authorization: `Bearer ${token}` })) === 401, 'the edge knows')
  const { headers } = seenIn(await ask({ ...own(token), authorization: `Bearer ${token}` }))
  t.equal(headers.authorization, `Bearer ${token}`, 'it is the business of the app')
  t.ok(headers['x-landfall-assertion'])
})

t.test('it opens its host name and its ports alone', async (t) => {
  const { make, statusOf, untilCounts } = await sceneFor(t)
  const { token } = await make()
  await untilCounts(token)
  t.equal(await statusOf(own(token), { hostname: OTHER_PORT }), 401, 'it is for another name')
  const other = await make({ port: 3000 })
  await untilCounts(other.token, { hostname: OTHER_PORT })
  t.equal(await statusOf(own(other.token)), 401)
  const elsewhere = await make({ ports: [3000] })
  await until(async () => (await statusOf(own(elsewhere.token))) === 403, 'a port that is not among its own')
})

t.test('it may be narrowed to methods and to a part of the paths', async (t) => {
  const { make, statusOf, untilCounts } = await sceneFor(t)
  const { token } = await make({ methods: ['GET'], pathPrefix: '/api' })
  await untilCounts(token, { path: '/api' })
  const inside = ['/api', '/api/', '/api/a?b=c', '/api?x']
  for (const path of inside) t.equal(await statusOf(own(token), { path }), 200, path)
  const outside = [
    '/',
    '/apis',
    '/ap',
    '/api/../x',
    '/api/%2e%2e/x',
    '/x/../api',
    '//api',
    '/api//x',
    '/api%2fx',
  ]
  for (const path of outside) t.equal(await statusOf(own(token), { path }), 403, path)
  for (const method of ['POST', 'PUT', 'DELETE'])
    t.equal(await statusOf(own(token), { path: '/api', method }), 403, method)
})

t.test('it ends at its moment, and what is open ends with it', async (t) => {
  const { edge, make, statusOf, untilCounts } = await sceneFor(t)
  const lostMs = lostTimeFor(t)
  const endsAt = Date.now() + 4_000
  const { token } = await make({ expiresAt: new Date(endsAt).toISOString() })
  await untilCounts(token)
  const heard = await openEvents(edge, token)
  await heard.ends()
  const lateMs = Date.now() - endsAt
  t.ok(lateMs >= 0 && lateMs < 2 * LIMIT_MS + lostMs(), `the stream ends ${lateMs} ms after that`)
  t.equal(await statusOf(own(token)), 401)
})

t.test('deleted it is dead: the next request is refused and an open stream ends', async (t) => {
  const { edge, vm, admin, make, statusOf, untilCounts } = await sceneFor(t)
  const [gone, stays] = [await make(), await make()]
  await untilCounts(stays.token)
  await untilCounts(gone.token)
  const [heard, other] = [await openEvents(edge, gone.token), await openEvents(edge, stays.token)]
  t.equal((await admin('DELETE', `/v1/vms/app/tokens/${gone.id}`)).status, 204)
  await heard.ends(LIMIT_MS)
  t.notMatch(heard.text, /\r\n0\r\n/, 'not as if it were whole')
  const before = vm.requests.length
  t.equal(await statusOf(own(gone.token)), 401)
  t.equal(vm.requests.length, before)
  t.notOk(other.isEnded)
  t.equal(await statusOf(own(stays.token)), 200)
})

t.test(
  'a token that is signed with a registered SSH key counts until the key is removed',
  { skip: missingKeygen() },
  async (t) => {
    const { edge, statusOf, ask, untilCounts } = await sceneFor(t)
    const home = folderFor(t)
    mkdirSync(join(home, '.ssh'))
    const api = `https://admin.localhost:${edge.httpsPort}`
    const env = {
      HOME: home,
      LANDFALL_API: api,
      LANDFALL_TOKEN: edge.adminToken,
      LANDFALL_CA_FILE: edge.caFile,
    }
    const cli = cliFor(t, env)
    const run = async (line: string) => {
      const { code, stdout, stderr } = await cli(line.split(' '))
      t.equal(code, 0, `${line}: ${stderr}`)
      return stdout.trim()
    }
    for (const kind of KINDS as readonly KeyKind[]) {
      const file = writeKey(join(home, '.ssh', `id_${kind.type}${kind.bits ?? ''}`), kind)
      const token = await run(`token sign ${HOST} --key ${file} --ctx of-${kind.alg}`)
      t.equal(await statusOf(own(token)), 401, `${kind.alg}: nobody knows the key`)
      const key = await run(`key add ann ${file}.pub`)
      await until(async () => (await statusOf(own(token))) === 403, 'the key is known, and may nothing yet')
      await run('grant add app user:ann')
      await untilCounts(token)
      const { headers } = seenIn(await ask(own(token)))
      t.match(headers, { 'x-landfall-user': 'ann', 'x-landfall-token-ctx': `of-${kind.alg}` })
      t.equal(await statusOf(own(token), { hostname: OTHER_PORT }), 401)
      const heard = await openEvents(edge, token)
      await run(`key delete -- ${key}`)
      await heard.ends(LIMIT_MS)
      t.equal(await statusOf(own(token)), 401, `${kind.alg}: the key is removed`)
      const grants = JSON.parse(await run('grant list app --json')).grants
      await run(`grant delete app ${grants[0].id}`)
    }
  },
)

t.test('a token that is bound to a key is nothing without a fresh proof of it', async (t) => {
  const { edge, vm, make, ask, statusOf } = await sceneFor(t)
  const [holder, thief] = [await createHolder('ES256'), await createHolder('ES256')]
  const { token } = await make({ proofThumbprint: holder.thumbprint })
  const scheme = { 'x-landfall-authorization': `DPoP ${token}` }
  const proof = (signer: Holder = holder, claims: Readonly<Record<string, unknown>> = {}) =>
    makeProof(edge, token, { signer, claims })
  await until(
    async () => (await statusOf({ ...scheme, dpop: await proof() }, { path: '/a' })) === 200,
    'it counts',
  )
  const spent = await proof()
  const seen = seenIn(await ask({ ...scheme, dpop: spent }, { path: '/a?b' }))
  t.equal(seen.headers['x-landfall-authorization'], undefined)
  const before = vm.requests.length
  const bad: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'no proof': scheme,
    'as Bearer': own(token),
    'a proof that was used': { ...scheme, dpop: spent },
    'of another key': { ...scheme, dpop: await proof(thief) },
    'for another method': { ...scheme, dpop: await proof(holder, { htm: 'POST' }) },
    'for another path': {
      ...scheme,
      dpop: await proof(holder, { htu: `https://${HOST}:${edge.httpsPort}/b` }),
    },
    'for another token': { ...scheme, dpop: await proof(holder, { ath: 'x'.repeat(43) }) },
    'an old one': { ...scheme, dpop: await proof(holder, { iat: Math.floor(Date.now() / 1_000) - 120 }) },
  }
  for (const [name, headers] of Object.entries(bad)) {
    t.match(await ask(headers, { path: '/a' }), { status: 401, body: /"auth_invalid"/ }, name)
  }
  t.equal(vm.requests.length, before)
})

function makeProof(
  { httpsPort }: TestEdge,
  token: string,
  { signer, claims }: { signer: Holder; claims: Readonly<Record<string, unknown>> },
): Promise<string> {
  return proofOf({
    signer,
    claims: {
      htu: `https://${HOST}:${httpsPort}/a`,
      iat: Math.floor(Date.now() / 1_000),
      jti: randomUUID(),
      ath: hash('sha256', token, 'base64url'),
      ...claims,
    },
  })
}

t.test('the API says what it takes, and shows no token a second time', async (t) => {
  const { admin, make } = await sceneFor(t)
  const { id, token } = await make({ label: 'ci' })
  const one = await admin('GET', `/v1/vms/app/tokens/${id}`)
  t.match(one, { status: 200, json: { id, label: 'ci', hostname: HOST } })
  t.notMatch(JSON.stringify([one.json, (await admin('GET', '/v1/vms/app/tokens')).json]), token)
  const late = { expiresAt: inSeconds(-1) }
  t.match(await admin('POST', '/v1/vms/app/tokens', late), { status: 422 })
  t.match(await admin('POST', '/v1/vms/other/tokens', { expiresAt: inSeconds(60) }), { status: 404 })
})
