/** Who gets in with what, as whom, and when that ends. */

import t from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import {
  apiTokenOf,
  CLIENT,
  gateKitFor,
  HOST,
  outcomeOf,
  pass,
  requestOf,
  rowFor,
  rowOf,
  withCookie,
  withToken,
} from './gate-kit.ts'

const PUBLIC = rowOf({ visibility: 'public' })
const TOKEN_ID = 'AbCdEfGhIjKl'

function linesOf(lines: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    lines
      .split('\r\n')
      .filter(Boolean)
      .map((line) => line.split(': ')),
  )
}

t.test('lets an owner in by cookie, and tells the VM who it is', async (t) => {
  const kit = await gateKitFor(t)
  const cookie = await kit.sign('cookie', { sub: 'olga', sid: 's1', email: 'olga@bücher.example' })
  const passage = await pass(kit, withCookie(cookie), rowOf())
  t.match(passage, { subject: 'olga', method: 'cookie', takes: { authorization: false, proof: false } })
  const lines = linesOf(passage.lines)
  t.strictSame(Object.keys(lines), ['x-landfall-user', 'x-landfall-email', 'x-landfall-assertion'])
  t.equal(lines['x-landfall-user'], 'olga')
  t.equal(Buffer.from(lines['x-landfall-email'] ?? '', 'latin1').toString(), 'olga@bücher.example')
  const claims = await kit.keys.verify(lines['x-landfall-assertion'] ?? '', {
    kind: 'assertion',
    audience: HOST,
  })
  t.match(claims, { sub: 'olga', kind: 'user', sid: 's1' })
})

t.test('hands the ctx of a token to the VM as it is', async (t) => {
  const kit = await gateKitFor(t)
  const ctx = '{"team":"blå","n":[1, 2]}'
  const token = await kit.sign('token', { sub: `token:${TOKEN_ID}`, jti: TOKEN_ID, ctx })
  const passage = await pass(kit, withToken(token), rowFor('token', TOKEN_ID))
  t.match(passage, { subject: `token:${TOKEN_ID}`, method: 'token' })
  const lines = linesOf(passage.lines)
  t.notOk(lines['x-landfall-user'])
  t.equal(Buffer.from(passage.lines, 'latin1').toString().includes(`x-landfall-token-ctx: ${ctx}\r\n`), true)
})

t.test('a stranger passes a public port without a word about who it is', async (t) => {
  const { gate } = await gateKitFor(t)
  const passage = gate.find(requestOf(), PUBLIC)
  t.match(passage, { lines: '', subject: undefined, method: 'none' })
  t.equal(gate.find(requestOf({ cookie: 'a=b', authorization: 'Bearer app' }), PUBLIC), passage)
  t.throws(() => gate.find(requestOf(), rowOf()), { code: 'auth_required', reason: 'no-credential' })
  for (const visibility of ['', 'Public', 'public ', 'PRIVATE']) {
    t.throws(() => gate.find(requestOf(), rowOf({ visibility })), { code: 'auth_required' })
  }
})

t.test('somebody who logged in is known on public ports as well, without any grant', async (t) => {
  const kit = await gateKitFor(t)
  const cookie = await kit.sign('cookie', { sub: 'eve', sid: 's1' })
  t.equal(await outcomeOf(kit, withCookie(cookie), PUBLIC), 'passes as eve')
  t.equal(await outcomeOf(kit, withCookie(cookie), rowOf()), 'auth_forbidden no-grant')
  t.equal(
    await outcomeOf(kit, withCookie(cookie, { origin: 'https://evil.test' }), PUBLIC),
    'passes as stranger',
  )
  t.equal(await outcomeOf(kit, withCookie('rubbish'), PUBLIC), 'passes as stranger')
  t.equal(await outcomeOf(kit, withToken('rubbish'), PUBLIC), 'auth_invalid not-three-parts')
})

t.test('whoever has the name of a VM later does not learn who comes with an old cookie', async (t) => {
  const kit = await gateKitFor(t)
  const cookie = await kit.sign('cookie', { sub: 'eve', sid: 's1' })
  for (const other of [{ vm: 'other' }, { pool: 'theirs' }]) {
    t.equal(
      await outcomeOf(kit, withCookie(cookie), rowOf({ visibility: 'public', ...other })),
      'passes as stranger',
    )
    t.equal(await outcomeOf(kit, withCookie(cookie), rowOf(other)), 'auth_required another-vm')
  }
  const passage = await pass(kit, withCookie(cookie), PUBLIC)
  const moved = rowOf({ visibility: 'public', pool: 'theirs' })
  t.throws(() => kit.gate.recheck(passage, { isConnect: false }, moved), {
    name: 'AuthError',
    reason: 'another-vm',
  })
})

t.test('a token for the VM that names a port counts at the host name of that port', async (t) => {
  const kit = await gateKitFor(t)
  const grants = [{ to: { kind: 'token', value: TOKEN_ID }, role: 'viewer' }]
  const token = (ports?: number[]) =>
    kit.sign('token', { sub: `token:${TOKEN_ID}`, jti: TOKEN_ID, ...(ports && { ports }) })
  const ask = async (text: string, port: number, vm = 'web') =>
    outcomeOf(kit, withToken(text, { host: `${port}--${HOST}` }), rowOf({ port, vm, grants }))
  kit.table.vms.set(HOST, 'web')
  t.equal(await ask(await token([9_000, 80]), 9_000), `passes as token:${TOKEN_ID}`)
  t.equal(await ask(await token([9_000, 80]), 9_001), 'auth_invalid wrong-aud')
  t.equal(await ask(await token(), 9_000), 'auth_invalid wrong-aud', 'a port has to be named')
  t.equal(await ask(await token([9_000]), 9_000, 'other'), 'auth_invalid wrong-aud', 'of another VM')
})

t.test('a connection that brings another credential is another person', async (t) => {
  const kit = await gateKitFor(t)
  const row = rowOf({
    grants: ['ann', 'bob'].map((value) => ({ to: { kind: 'user', value }, role: 'viewer' })),
  })
  const client = { lastPassage: undefined }
  for (const name of ['ann', 'bob', 'ann', 'bob']) {
    const cookie = await kit.sign('cookie', { sub: name, sid: name })
    t.equal((await pass(kit, withCookie(cookie, { client }), row)).subject, name)
    t.throws(() => kit.gate.find(requestOf({ client }), row), { name: 'AuthError', reason: 'no-credential' })
    t.throws(() => kit.gate.find(withCookie(cookie, { client, ownAuthorization: 'x' }), row), {
      code: 'auth_invalid',
    })
    t.throws(() => kit.gate.find(withCookie(cookie, { client, origin: 'https://evil.test' }), row), {
      code: 'auth_origin',
    })
    t.throws(() => kit.gate.find(withCookie(cookie, { client, isUpgrade: true }), row), {
      code: 'auth_origin',
    })
    t.throws(() => kit.gate.find(withCookie(cookie, { client, isConnect: true }), row), {
      name: 'AuthError',
      reason: 'tunnel-needs-root',
    })
  }
})

t.test('limits of a token are looked at with each request', async (t) => {
  const kit = await gateKitFor(t)
  const row = rowFor('token', TOKEN_ID, { role: 'root' })
  const claims = { sub: `token:${TOKEN_ID}`, jti: TOKEN_ID, methods: ['GET'], path: '/api' }
  const token = await kit.sign('token', claims)
  const client = { lastPassage: undefined }
  const ask = (other: Parameters<typeof requestOf>[0]) =>
    outcomeOf(kit, withToken(token, { client, ...other }), row)
  for (let round = 0; round < 2; round += 1) {
    t.equal(await ask({ target: '/api/x?a=//b' }), `passes as token:${TOKEN_ID}`)
    t.equal(await ask({ target: '/api', method: 'POST' }), 'auth_limited limit-method')
    t.equal(await ask({ target: '/apis' }), 'auth_limited limit-path')
    t.equal(await ask({ target: '/api', isUpgrade: true, method: 'CONNECT' }), `passes as token:${TOKEN_ID}`)
    t.equal(await ask({ target: '', isConnect: true, method: 'CONNECT' }), 'auth_limited limit-connect')
  }
})

t.test('where the app reads Authorization itself, only our own field is a credential', async (t) => {
  const kit = await gateKitFor(t)
  const token = await kit.sign('token', { sub: `token:${TOKEN_ID}`, jti: TOKEN_ID })
  const row = rowFor('token', TOKEN_ID, { authorization: 'app' })
  const inApp = requestOf({ authorization: `Bearer ${token}` })
  t.equal(await outcomeOf(kit, inApp, row), 'auth_required no-credential')
  const plain = rowFor('token', TOKEN_ID)
  const passage = await pass(kit, inApp, plain)
  t.strictSame(passage.takes, { authorization: true, proof: false })
  const git = requestOf({ authorization: `Basic ${Buffer.from(`git:${token}`).toString('base64')}` })
  t.strictSame((await pass(kit, git, plain)).takes, { authorization: true, proof: false })
  const own = await pass(kit, withToken(token, { authorization: 'Bearer of-the-app' }), row)
  t.strictSame(own.takes, { authorization: false, proof: false }, "the app's own goes on")
  t.equal(await outcomeOf(kit, inApp, rowOf({ visibility: 'public' })), 'passes as stranger')
})

t.test('several copies of a field are refused, where it is a credential', async (t) => {
  const kit = await gateKitFor(t)
  const ask = (other: Parameters<typeof requestOf>[0], row = rowOf()) => outcomeOf(kit, requestOf(other), row)
  const two = { authorization: 'Bearer app', authorizationCount: 2 }
  t.equal(await ask(two), 'auth_ambiguous two-authorizations')
  t.equal(await ask(two, PUBLIC), 'passes as stranger')
  t.equal(await ask(two, rowOf({ authorization: 'app' })), 'auth_required no-credential')
  const own = { ownAuthorization: 'Bearer x', ownAuthorizationCount: 2 }
  t.equal(await ask(own), 'auth_ambiguous two-own-authorizations')
  t.equal(await ask(own, PUBLIC), 'auth_ambiguous two-own-authorizations')
  t.equal(await ask({ ownAuthorization: 'DPoP x', proof: 'p', proofCount: 2 }), 'auth_ambiguous two-proofs')
})

t.test('an API token counts by its scopes, and as long as it is there', async (t) => {
  const kit = await gateKitFor(t)
  const secret = 'S'.repeat(43)
  const text = `lf_${TOKEN_ID}_${secret}`
  const put = (pool: string, ...verbs: string[]) => {
    kit.table.apiTokens.set(TOKEN_ID, apiTokenOf(TOKEN_ID, secret, { scopes: [{ pool, verbs }] }))
    kit.table.change()
  }
  const client = { lastPassage: undefined }
  const tunnel = { client, isConnect: true, method: 'CONNECT' }
  put('web', 'read')
  t.equal(await outcomeOf(kit, withToken(text, { client }), rowOf()), `passes as api:${TOKEN_ID}`)
  t.equal(await outcomeOf(kit, withToken(text, tunnel), rowOf()), 'auth_role tunnel-needs-root')
  put('*', 'share')
  t.equal(await outcomeOf(kit, withToken(text, tunnel), rowOf()), `passes as api:${TOKEN_ID}`)
  put('other', 'admin')
  t.equal(await outcomeOf(kit, withToken(text, { client }), rowOf()), 'auth_forbidden no-grant')
  t.equal(
    await outcomeOf(kit, withToken(text, { client }), rowFor('token', TOKEN_ID)),
    `passes as api:${TOKEN_ID}`,
  )
  kit.table.apiTokens.delete(TOKEN_ID)
  kit.table.change()
  t.equal(await outcomeOf(kit, withToken(text, { client }), rowOf()), 'auth_invalid unknown-api-token')
  t.equal(await outcomeOf(kit, withToken(kit.operator, tunnel), rowOf()), 'passes as api:bootstrap')
})

t.test(
  'an edge that has lost touch lets nobody into private ports, and knows nobody on public ones',
  async (t) => {
    const kit = await gateKitFor(t)
    const row = rowFor('user', 'ann')
    const cookie = await kit.sign('cookie', { sub: 'ann', sid: 's1' })
    const client = { lastPassage: undefined }
    const open = await pass(kit, withCookie(cookie, { client }), row)
    const check = async (isFresh: boolean, message: string) => {
      kit.clock.ms += 100
      const [code, subject] = isFresh ? ['passes as ann', 'ann'] : ['auth_stale table-too-old', 'stranger']
      t.equal(await outcomeOf(kit, withCookie(cookie, { client }), row), code, message)
      t.equal(await outcomeOf(kit, withCookie(cookie, { client }), PUBLIC), `passes as ${subject}`)
      const recheck = () => kit.gate.recheck(open, requestOf(), row)
      if (isFresh) t.doesNotThrow(recheck)
      else t.throws(recheck, { code: 'auth_stale' })
      t.doesNotThrow(() => kit.gate.recheck(open, requestOf(), PUBLIC))
    }
    const { table } = kit
    await check(true, 'fresh')
    table.ageMs = 60_001
    await check(false, 'revocations are late while the store answers')
    table.awayMs = 60_000
    await check(true, 'the store is away')
    table.ageMs = table.awayMs = 3_600_001
    await check(false, 'the store is away for too long')
    table.ageMs = table.awayMs = 0
    table.routesAgeMs = 60_001
    await check(false, 'rows are late')
    table.routesAwayMs = 60_001
    await check(true, 'rows, with the store away')
    table.routesAgeMs = Number.POSITIVE_INFINITY
    await check(false, 'never loaded')
    table.routesAgeMs = 0
    table.routesAwayMs = 0
    await check(true, 'fresh again')
    table.ageMs = 60_001
    kit.clock.ms -= 7_200_000
    t.equal(
      await outcomeOf(kit, withCookie(cookie, { client }), row),
      'auth_stale table-too-old',
      'a clock set back',
    )
  },
)

t.test('a forged cookie at a busy moment does not close a public port', async (t) => {
  const kit = await gateKitFor(t)
  const cookie = await kit.sign('cookie', { sub: 'ann', sid: 's1' })
  const forgeries = Array.from(
    { length: 101 },
    (_, index) => `${cookie.slice(0, -86)}${'A'.repeat(82)}${String(index).padStart(3, '0')}A`,
  )
  for (const forged of forgeries) await outcomeOf(kit, withCookie(forged), rowOf())
  t.equal(
    await outcomeOf(kit, withCookie(cookie), rowFor('user', 'ann')),
    'auth_busy client-failed-too-often',
  )
  t.equal(await outcomeOf(kit, withCookie(cookie), PUBLIC), 'passes as stranger')
  t.equal(await outcomeOf(kit, withCookie(cookie), rowFor('user', 'ann'), '2001:db8::1'), 'passes as ann')
})

t.test('an error of our own is no refusal', async (t) => {
  const kit = await gateKitFor(t)
  const cookie = await kit.sign('cookie', { sub: 'olga', sid: 's1' })
  Object.defineProperty(kit.table, 'ageMs', {
    get() {
      throw new TypeError('broken')
    },
  })
  const thrown = await kit.gate.decide(withCookie(cookie), PUBLIC, CLIENT).catch((error: unknown) => error)
  t.ok(thrown instanceof TypeError && !(thrown instanceof AuthError))
})
