/** Signing and verifying: what a token says, every token that does not count, and keys that cannot be used. */

import { createHmac, createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint, createLocalJWKSet, jwtVerify, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import type { SigningKeyRow } from '../../../auth/access.ts'
import { AuthError } from '../../../auth/errors.ts'
import { type TokenKind, TYPES } from '../../../auth/signing/signing.ts'
import type { SigningKeyBook } from '../../../auth/signing/signing-key-book.ts'
import { type SigningKeys, startSigningKeys } from '../../../auth/signing/signing-keys.ts'
import { createSealer } from '../../../lib/seal.ts'
import { SIGNING_KEYS } from '../../../routing/records/record-kinds.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { createClock, DAY_MS, demandOf, edgeFor, HOST, ISSUER, kidOf, SECRET, storeFor } from './edges.ts'

const COOKIE = { kind: 'cookie', audience: HOST } as const

async function oneEdgeFor(t: Test) {
  const [store, clock] = [await storeFor(t), createClock()]
  return { store, clock, ...(await edgeFor(t, { store, clock })) }
}

async function reasonOf(keys: SigningKeys, token: string, kind: TokenKind = 'cookie'): Promise<string> {
  try {
    await keys.verify(token, { kind, audience: HOST })
    return 'fine'
  } catch (error) {
    if (error instanceof AuthError && error.code === 'auth_invalid') return error.reason
    throw error
  }
}

function readPart(token: string, index: number): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(token.split('.')[index] ?? '', 'base64url').toString())
}

/** With the signature that was made for other parts. */
function change(token: string, parts: { readonly header?: object; readonly claims?: object }): string {
  const toPart = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const header = toPart({ ...readPart(token, 0), ...parts.header })
  return `${header}.${toPart({ ...readPart(token, 1), ...parts.claims })}.${token.split('.')[2]}`
}

t.test('the thumbprint of RFC 7638 section 3.1', async (t) => {
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw'
  const jwk = { kty: 'RSA', n, e: 'AQAB', alg: 'RS256', kid: '2011-04-29' }
  t.equal(await calculateJwkThumbprint(jwk), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
})

t.test('signs at once with a key that it made, and verifies each kind as that kind alone', async (t) => {
  const { keys, clock } = await oneEdgeFor(t)
  const kinds = Object.keys(TYPES) as TokenKind[]
  for (const kind of kinds) {
    const token = await keys.sign(
      demandOf(clock, { kind, id: 'id-1', claims: { email: 'ada@example.test' } }),
    )
    t.same(readPart(token, 0), { alg: 'ES256', typ: TYPES[kind], kid: kidOf(token) })
    const iat = clock.ms / 1_000
    const claims = { iss: ISSUER, aud: HOST, sub: 'user-1', jti: 'id-1', iat, nbf: iat, exp: iat + 3_600 }
    t.same(await keys.verify(token, { kind, audience: HOST }), { ...claims, email: 'ada@example.test' })
    for (const other of kinds.filter((name) => name !== kind))
      t.equal(await reasonOf(keys, token, other), 'wrong-typ')
  }
})

t.test('claims of the caller never replace those that are set here, and ids are random', async (t) => {
  const { keys, clock } = await oneEdgeFor(t)
  const claims = { iss: 'x', aud: 'x', sub: 'x', jti: 'x', iat: 0, nbf: 0, exp: 9e9 }
  const tokens = await Promise.all([0, 1].map(() => keys.sign(demandOf(clock, { claims }))))
  const [one, other] = tokens.map((token) => readPart(token, 1))
  t.match(one, {
    iss: ISSUER,
    aud: HOST,
    sub: 'user-1',
    iat: clock.ms / 1_000,
    exp: clock.ms / 1_000 + 3_600,
  })
  t.match(one?.jti, /^[\w-]{22}$/)
  t.not(one?.jti, other?.jti)
})

t.test('publishes public keys only, with which anybody can check an assertion', async (t) => {
  const { keys, clock, store } = await oneEdgeFor(t)
  const jwks = keys.jwks()
  t.equal(jwks.keys.length, 1)
  t.same(Object.keys(jwks.keys[0] ?? {}).toSorted(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  t.equal(keys.jwks(), jwks, 'the same object while nothing changes')
  clock.ms += DAY_MS
  t.equal(keys.jwks(), jwks)
  const token = await keys.sign(demandOf(clock, { kind: 'assertion' }))
  const known = createLocalJWKSet({ keys: jwks.keys.map((key) => ({ ...key, kty: 'EC' as const })) })
  const options = { issuer: ISSUER, audience: HOST, typ: TYPES.assertion, currentDate: new Date(clock.ms) }
  t.equal((await jwtVerify(token, known, options)).payload.sub, 'user-1')
  const [document] = (await store.list(SIGNING_KEYS.prefix)).documents
  t.notMatch(JSON.stringify(document), /"d"/, 'what is stored is sealed')
})

t.test('refuses what was altered, and what was signed by others or not at all', async (t) => {
  const { keys, clock } = await oneEdgeFor(t)
  const token = await keys.sign(demandOf(clock))
  const parts = token.split('.')
  const [head = '', body = '', signature = ''] = parts
  t.equal(await reasonOf(keys, token), 'fine')
  t.equal(await reasonOf(keys, change(token, { claims: { sub: 'user-2' } })), 'bad-signature')
  for (const length of [1, 32, 63, 65, 128]) {
    const other = Buffer.alloc(length, 1).toString('base64url')
    t.equal(await reasonOf(keys, `${head}.${body}.${other}`), 'bad-signature', `${length} bytes`)
  }
  t.equal(await reasonOf(keys, `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`), 'bad-signature')
  t.equal(await reasonOf(keys, `${head}.${body}.`), 'no-signature')
  t.equal(await reasonOf(keys, `${head}.${body}`), 'not-three-parts')
  for (const alg of ['none', 'None', 'HS256', 'ES384', 'RS256', 'EdDSA', 'es256']) {
    t.equal(await reasonOf(keys, change(token, { header: { alg } })), 'wrong-alg', alg)
  }
  const [jwk] = keys.jwks().keys
  const input = `${Buffer.from(JSON.stringify({ ...readPart(token, 0), alg: 'HS256' })).toString('base64url')}.${body}`
  for (const secret of [JSON.stringify(jwk), jwk?.x ?? '', JSON.stringify(keys.jwks())]) {
    const forged = `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
    t.equal(await reasonOf(keys, forged), 'wrong-alg', 'the public key as an HMAC secret')
  }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signAs = (header: object) =>
    new SignJWT(readPart(token, 1))
      .setProtectedHeader({ alg: 'ES256', typ: TYPES.cookie, ...header })
      .sign(privateKey)
  t.equal(await reasonOf(keys, await signAs({ kid: kidOf(token) })), 'bad-signature')
  t.equal(await reasonOf(keys, await signAs({ kid: 'other' })), 'unknown-kid')
  t.equal(await reasonOf(keys, await signAs({})), 'no-kid')
  const own = publicKey.export({ format: 'jwk' })
  t.equal(
    await reasonOf(keys, await signAs({ kid: kidOf(token), jwk: own })),
    'header-member',
    'a key in the token',
  )
  t.equal(await reasonOf(keys, `${head}.${body}.${signature}`.replace('.', '. ')), 'payload-not-base64url')
})

t.test('refuses tokens of another time, host or issuer, and those with claims missing', async (t) => {
  const { keys, clock } = await oneEdgeFor(t)
  const start = clock.ms
  const token = await keys.sign(demandOf(clock, { expiresAt: start / 1_000 + 60 }))
  clock.ms = start + 64_999
  t.equal(await reasonOf(keys, token), 'fine')
  clock.ms = start + 65_000
  t.equal(await reasonOf(keys, token), 'expired')
  clock.ms = start - 5_000
  t.equal(await reasonOf(keys, token), 'fine')
  clock.ms = start - 5_001
  t.match(await reasonOf(keys, token), /^(not-yet|iat-ahead)$/)
  clock.ms = start
  t.equal(
    await reasonOf(keys, await keys.sign(demandOf(clock, { audience: 'other.example.test' }))),
    'wrong-aud',
  )
  for (const name of ['iss', 'sub', 'jti', 'iat', 'nbf', 'exp', 'aud']) {
    t.match(
      await reasonOf(keys, change(token, { claims: { [name]: undefined } })),
      new RegExp(`^no-${name}$`),
    )
  }
  t.equal(await reasonOf(keys, change(token, { claims: { iss: 'https://other.example.test' } })), 'wrong-iss')
})

t.test('an assertion counts for five minutes, and any token for as long as old keys are known', async (t) => {
  const { keys, clock } = await oneEdgeFor(t)
  const expiresAt = (clock.ms + 3_650 * DAY_MS) / 1_000
  const assertion = await keys.sign(demandOf(clock, { kind: 'assertion', expiresAt }))
  const token = await keys.sign(demandOf(clock, { kind: 'token', expiresAt }))
  clock.ms += 305_000
  t.equal(await reasonOf(keys, assertion, 'assertion'), 'fine')
  clock.ms += 1_000
  t.equal(await reasonOf(keys, assertion, 'assertion'), 'too-old')
  clock.ms += 364 * DAY_MS
  t.equal(await reasonOf(keys, token, 'token'), 'fine')
  clock.ms += DAY_MS
  t.equal(await reasonOf(keys, token, 'token'), 'too-old')
})

t.test('a key that has run out verifies nothing, though whoever stole it may sign anything', async (t) => {
  const [store, clock] = [await storeFor(t), createClock()]
  const { keys, access } = await edgeFor(t, { store, clock, tokenDays: 30 })
  const [row] = access.listSigningKeys()
  const id = row?.id ?? ''
  const jwk = JSON.parse(createSealer(SECRET).open(row?.sealedKey, `signing-key/${id}`).toString())
  const steal = async () => {
    const token = await keys.sign(demandOf(clock))
    const stolen = new SignJWT(readPart(token, 1)).setProtectedHeader({
      alg: 'ES256',
      typ: TYPES.cookie,
      kid: id,
    })
    return reasonOf(keys, await stolen.sign(createPrivateKey({ key: jwk, format: 'jwk' })))
  }
  clock.ms += 42 * DAY_MS
  await keys.rotate()
  await until(() => access.listSigningKeys().length === 2, 'the next key')
  clock.ms = Date.parse(access.findSigningKey(id)?.knownUntil ?? '') - 1
  t.equal(await steal(), 'fine')
  clock.ms += 1
  t.equal(await steal(), 'unknown-kid')
})

t.test('a storm of tokens of unknown keys costs no signature check', async (t) => {
  const { keys, clock } = await oneEdgeFor(t)
  const token = await keys.sign(demandOf(clock))
  const before = process.cpuUsage()
  for (let index = 0; index < 2_000; index += 1) {
    const storm = change(token, { header: { kid: `kid-${index}` } })
    if ((await reasonOf(keys, storm)) !== 'unknown-kid') t.fail(storm)
  }
  t.ok(process.cpuUsage(before).user < 2_000_000, 'a signature check takes more than all of the rest')
  t.equal(keys.jwks().keys.length, 1)
})

t.test('an edge with another secret key verifies, cannot sign, and says so clearly and once', async (t) => {
  const { keys, clock, store } = await oneEdgeFor(t)
  const other = await edgeFor(t, { store, clock, secret: Buffer.alloc(32, 8) })
  await other.keys.rotate()
  t.equal(await reasonOf(other.keys, await keys.sign(demandOf(clock))), 'fine')
  for (let count = 0; count < 3; count += 1) {
    await t.rejects(other.keys.sign(demandOf(clock)), { code: 'auth_stale', reason: 'sealed-key' })
  }
  const errors = other.lines.filter(({ level }) => level === 'error')
  t.equal(errors.length, 1)
  t.match(errors[0]?.message, /cannot be opened with the secret key of this edge/)
  t.match(errors[0], { key: kidOf(await keys.sign(demandOf(clock))) })
})

t.test('an edge with another secret key never adds a key, which no other edge could open', async (t) => {
  const [store, clock] = [await storeFor(t), createClock()]
  const { keys, access } = await edgeFor(t, { store, clock })
  const other = await edgeFor(t, { store, clock, secret: Buffer.alloc(32, 8) })
  clock.ms += 42 * DAY_MS
  await other.keys.rotate()
  t.equal((await store.list(SIGNING_KEYS.prefix)).documents.length, 1)
  await keys.rotate()
  await until(() => access.listSigningKeys().length === 2, 'the next key')
  clock.ms += DAY_MS
  t.equal(await reasonOf(other.keys, await keys.sign(demandOf(clock))), 'fine')
})

t.test("a record that is not its key's own neither signs nor verifies", async (t) => {
  const { keys, clock, store, access, lines } = await oneEdgeFor(t)
  const token = await keys.sign(demandOf(clock))
  const [document] = (await store.list(SIGNING_KEYS.prefix)).documents
  const id = 'A'.repeat(43)
  const signsFrom = new Date(clock.ms + 1_000).toISOString()
  await store.put(SIGNING_KEYS.prefix + id, { ...document?.value, id, signsFrom })
  await until(() => access.listSigningKeys().length === 2, 'the copy')
  clock.ms += 1_000
  await t.rejects(keys.sign(demandOf(clock)), { code: 'auth_stale', reason: 'sealed-key' })
  t.equal(await reasonOf(keys, change(token, { header: { kid: id } })), 'broken-key')
  t.equal(await reasonOf(keys, token), 'fine')
  t.match(lines.filter(({ level }) => level === 'error').length, 2)
})

t.test('with the store away it starts, refuses to sign, and signs when the store is back', async (t) => {
  const [clock, log] = [createClock(), createListLog()]
  let isAway = true
  const rows: SigningKeyRow[] = []
  const findSigningKey = (kid: string) => rows.find(({ id }) => id === kid)
  const access = { version: 0, findSigningKey, listSigningKeys: () => rows, onChange: () => () => {} }
  const book: SigningKeyBook = {
    list: async () => {
      if (isAway) throw new Error('away')
      return { keys: [], version: 0 }
    },
    change: async ({ put }) => rows.push(...put) > 0,
  }
  const deps = { access, book, sealer: createSealer(SECRET), log }
  const keys = await startSigningKeys(deps, {
    issuer: ISSUER,
    keyDays: 42,
    tokenDays: 365,
    now: () => clock.ms,
  })
  t.teardown(() => keys[Symbol.asyncDispose]())
  await t.rejects(keys.sign(demandOf(clock)), { code: 'auth_stale', reason: 'no-signing-key' })
  t.match(log.lines, [{ level: 'warn', message: /could not be read or written/ }])
  t.same(keys.jwks(), { keys: [] })
  isAway = false
  await keys.rotate()
  t.equal(await reasonOf(keys, await keys.sign(demandOf(clock))), 'fine')
})

t.test('with the store away it goes on signing with what it has', async (t) => {
  const { keys, clock, store } = await oneEdgeFor(t)
  const token = await keys.sign(demandOf(clock))
  await store[Symbol.asyncDispose]()
  clock.ms += 100 * DAY_MS
  await keys.rotate()
  const later = await keys.sign(demandOf(clock))
  t.equal(kidOf(later), kidOf(token))
  t.match(await keys.verify(later, COOKIE), { sub: 'user-1' })
})
