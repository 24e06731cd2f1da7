/** The shape of a token: read strictly and cheaply, before any key is looked at. */

import { asyncProperty, oneof, string, stringMatching } from 'fast-check'
import t from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import {
  type ClaimDemand,
  checkClaims,
  findType,
  MAX_TOKEN_BYTES,
  readJws,
  readShape,
} from '../../../auth/tokens/token-shape.ts'
import { fuzzFor } from '../../helpers/fuzz.ts'

const HEADER = { alg: 'ES256', typ: 'landfall-token+jwt', kid: 'key-1' }
const NOW_S = 1_800_000_000
const CLAIMS = {
  iss: 'https://auth.example.test',
  aud: 'web.example.test',
  sub: 'a',
  jti: 'b',
  iat: NOW_S,
  exp: NOW_S + 60,
}
const SIGNATURE = Buffer.alloc(64, 1).toString('base64url')
const DEMAND: ClaimDemand = {
  type: HEADER.typ,
  audience: CLAIMS.aud,
  issuer: CLAIMS.iss,
  required: ['iss', 'sub', 'jti', 'iat', 'exp'],
  nowMs: NOW_S * 1_000,
}

function partOf(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}

function tokenOf(header: unknown, claims: unknown = CLAIMS): string {
  return `${partOf(header)}.${partOf(claims)}.${SIGNATURE}`
}

function reasonOf(read: () => unknown): string {
  try {
    read()
    return 'fine'
  } catch (error) {
    if (error instanceof AuthError && error.code === 'auth_invalid') return error.reason
    throw error
  }
}

const shapeReason = (token: string) => reasonOf(() => readShape(token))
const claimReason = (change: Readonly<Record<string, unknown>>, demand: Partial<ClaimDemand> = {}) =>
  reasonOf(() => checkClaims({ header: HEADER, claims: { ...CLAIMS, ...change } }, { ...DEMAND, ...demand }))

t.test('gives header and claims of a token', (t) => {
  t.same(readShape(tokenOf(HEADER)), { header: HEADER, claims: CLAIMS })
  t.same(readShape(tokenOf(HEADER, { name: 'Zoë 🔑' })).claims, { name: 'Zoë 🔑' })
  t.end()
})

t.test('refuses what is not three parts in canonical base64url', (t) => {
  const [head, body] = [partOf(HEADER), partOf(CLAIMS)]
  const cases: readonly (readonly [string, string])[] = [
    ['', 'not-three-parts'],
    ['abc', 'not-three-parts'],
    [`${head}.${body}`, 'not-three-parts'],
    [`${head}.${body}.${SIGNATURE}.`, 'not-three-parts'],
    [`${head}.${body}.${SIGNATURE}.a.b`, 'not-three-parts'],
    ['..', 'no-header'],
    [`${head}..${SIGNATURE}`, 'no-payload'],
    [`${head}.${body}.`, 'no-signature'],
    [`.${body}.${SIGNATURE}`, 'no-header'],
    [`${head}=.${body}.${SIGNATURE}`, 'header-not-base64url'],
    [` ${head}.${body}.${SIGNATURE}`, 'header-not-base64url'],
    [`${head}.${body}\n.${SIGNATURE}`, 'payload-not-base64url'],
    [`${head}.${body}.${SIGNATURE}==`, 'signature-not-base64url'],
    [`${head}.${body}.${SIGNATURE} `, 'signature-not-base64url'],
    [`${head}.${body}.ab+/`, 'signature-not-base64url'],
    [`${head}.${body}.abé`, 'signature-not-base64url'],
    // The last character has bits that no byte has: "AR" and "AQ" are the same byte.
    [`${head}.${body}.AR`, 'signature-not-base64url'],
    [`${head}.${body}.AQAAA`, 'signature-not-base64url'],
  ]
  for (const [token, reason] of cases) t.equal(shapeReason(token), reason, token)
  t.equal(shapeReason(`${head}.${body}.AQ`), 'fine', 'how long a signature is depends on its key')
  t.end()
})

t.test('refuses a token of more than 4,096 bytes, whatever is in it', (t) => {
  const long = tokenOf(HEADER, { ctx: 'x'.repeat(2_800) })
  const room = MAX_TOKEN_BYTES - long.length
  const fitting = tokenOf(HEADER, { ctx: 'x'.repeat(2_800 + Math.floor(room / 4) * 3) })
  t.ok(fitting.length > MAX_TOKEN_BYTES - 4 && fitting.length <= MAX_TOKEN_BYTES)
  t.equal(shapeReason(fitting), 'fine')
  t.equal(shapeReason(`${fitting}xxxx`), 'oversized')
  t.equal(shapeReason('.'.repeat(1_000_000)), 'oversized')
  t.end()
})

t.test('refuses every header member but alg, typ and kid', (t) => {
  const extra = [
    'crit',
    'b64',
    'jku',
    'jwk',
    'x5u',
    'x5c',
    'x5t',
    'x5t#S256',
    'zip',
    'cty',
    'enc',
    'Alg',
    '__proto__',
    '',
  ]
  for (const name of extra)
    t.equal(
      shapeReason(tokenOf(`{"alg":"ES256","typ":"a","kid":"b",${JSON.stringify(name)}:[]}`)),
      'header-member',
      name,
    )
  t.equal(shapeReason(tokenOf({ typ: 'a', kid: 'b' })), 'no-alg')
  t.equal(shapeReason(tokenOf({ alg: 'ES256', kid: 'b' })), 'no-typ')
  t.equal(shapeReason(tokenOf({ alg: 'ES256', typ: 'a' })), 'no-kid')
  for (const wrong of [1, null, '', [], {}, true, ['ES256'], 'x'.repeat(513)]) {
    t.equal(shapeReason(tokenOf({ ...HEADER, alg: wrong })), 'no-alg', JSON.stringify(wrong))
    t.equal(shapeReason(tokenOf({ ...HEADER, typ: wrong })), 'no-typ', JSON.stringify(wrong))
    t.equal(shapeReason(tokenOf({ ...HEADER, kid: wrong })), 'no-kid', JSON.stringify(wrong))
  }
  t.end()
})

t.test('refuses duplicate members at any level, and what is no object in UTF-8', (t) => {
  t.equal(shapeReason(tokenOf('{"alg":"ES256","typ":"a","kid":"b","alg":"none"}')), 'header-duplicate-member')
  t.equal(
    shapeReason(tokenOf('{"alg":"ES256","typ":"a","kid":"b","\\u0061lg":"none"}')),
    'header-duplicate-member',
  )
  t.equal(shapeReason(tokenOf(HEADER, '{"sub":"a","sub":"b"}')), 'payload-duplicate-member')
  t.equal(shapeReason(tokenOf(HEADER, '{"cnf":{"jkt":"a","jkt":"b"}}')), 'payload-duplicate-member')
  for (const text of ['[]', '"a"', '1', 'null']) {
    t.equal(shapeReason(tokenOf(text)), 'header-no-object', text)
    t.equal(shapeReason(tokenOf(HEADER, text)), 'payload-no-object', text)
  }
  for (const text of ['{', 'x', '{"a":1}x', '\ufeff{}', '{"a":undefined}']) {
    t.equal(shapeReason(tokenOf(text)), 'header-no-json', text)
    t.equal(shapeReason(tokenOf(HEADER, text)), 'payload-no-json', text)
  }
  const latin1 = Buffer.from('{"name":"Zo\xeb"}', 'latin1').toString('base64url')
  t.equal(shapeReason(`${partOf(HEADER)}.${latin1}.${SIGNATURE}`), 'payload-not-utf8')
  t.end()
})

t.test('reads other kinds of JWS with the header members that their reader knows', (t) => {
  const jwk = { kty: 'EC' }
  t.same(readJws(tokenOf({ alg: 'ES256', jwk }), ['alg', 'jwk']).header, { alg: 'ES256', jwk })
  t.equal(
    reasonOf(() => readJws(tokenOf({ alg: 'ES256', kid: 'a' }), ['alg', 'jwk'])),
    'header-member',
  )
  t.end()
})

t.test('refuses claims that are not for here, not for now, or of another type', (t) => {
  t.equal(claimReason({}), 'fine')
  const cases: readonly (readonly [Readonly<Record<string, unknown>>, string])[] = [
    [{ aud: undefined }, 'no-aud'],
    [{ aud: 'other.example.test' }, 'wrong-aud'],
    [{ aud: 'WEB.example.test' }, 'wrong-aud'],
    [{ aud: 'web.example.test:443' }, 'wrong-aud'],
    [{ aud: ['web.example.test'] }, 'bad-aud'],
    [{ aud: null }, 'bad-aud'],
    [{ iss: 'https://auth.example.test/' }, 'wrong-iss'],
    [{ iss: ['https://auth.example.test'] }, 'wrong-iss'],
    [{ sub: 1 }, 'bad-sub'],
    [{ sub: '' }, 'bad-sub'],
    [{ sub: 'x'.repeat(513) }, 'bad-sub'],
    [{ jti: {} }, 'bad-jti'],
    [{ exp: NOW_S - 5 }, 'expired'],
    [{ exp: 0 }, 'expired'],
    [{ exp: `${NOW_S + 60}` }, 'bad-exp'],
    [{ exp: -1 }, 'bad-exp'],
    [{ exp: 1e300 }, 'bad-exp'],
    [{ exp: null }, 'bad-exp'],
    [{ iat: NOW_S + 6 }, 'iat-ahead'],
    [{ iat: 'now' }, 'bad-iat'],
    [{ nbf: NOW_S + 6 }, 'not-yet'],
    [{ nbf: true }, 'bad-nbf'],
  ]
  for (const [change, reason] of cases) t.equal(claimReason(change), reason, JSON.stringify(change))
  t.end()
})

t.test('allows for clocks that are five seconds apart, and for fractions', (t) => {
  for (const change of [
    { exp: NOW_S - 4.9 },
    { iat: NOW_S + 5 },
    { nbf: NOW_S + 5 },
    { iat: NOW_S - 0.5, nbf: 0 },
  ]) {
    t.equal(claimReason(change), 'fine', JSON.stringify(change))
  }
  t.end()
})

t.test('asks for the claims that are required, and for nothing else', (t) => {
  for (const name of ['iss', 'sub', 'jti', 'iat', 'exp']) {
    const { [name]: _left, ...claims } = CLAIMS as Readonly<Record<string, unknown>>
    t.equal(
      reasonOf(() => checkClaims({ header: HEADER, claims }, DEMAND)),
      `no-${name}`,
    )
  }
  const { audience, type, nowMs } = DEMAND
  const bare = { header: HEADER, claims: { aud: CLAIMS.aud } }
  t.equal(
    reasonOf(() => checkClaims(bare, { audience, type, nowMs })),
    'fine',
  )
  const inherited = Object.create({ aud: CLAIMS.aud, exp: NOW_S + 60 })
  t.equal(
    reasonOf(() =>
      checkClaims({ header: HEADER, claims: inherited }, { audience, type, nowMs, required: ['exp'] }),
    ),
    'no-exp',
  )
  for (const typ of ['JWT', 'landfall-cookie+jwt', 'LANDFALL-TOKEN+JWT', 'application/landfall-token+jwt']) {
    t.equal(
      reasonOf(() => checkClaims({ header: { ...HEADER, typ }, claims: CLAIMS }, DEMAND)),
      'wrong-typ',
    )
  }
  t.end()
})

t.test('finds the type of anything formed like a JWS, and never throws', async (t) => {
  t.equal(findType(tokenOf(HEADER)), HEADER.typ)
  t.equal(findType(tokenOf({ typ: 'JWT' })), 'JWT')
  t.equal(findType(tokenOf(HEADER, { long: 'x'.repeat(10_000) })), HEADER.typ, 'of an oversized one, too')
  t.equal(findType(tokenOf({ ...HEADER, crit: ['x'] })), HEADER.typ)
  for (const token of [
    '',
    'a.b.c',
    'lf_abc',
    '..',
    tokenOf({ alg: 'ES256' }),
    tokenOf({ typ: 1 }),
    tokenOf('null'),
    `${tokenOf(HEADER)}.x`,
  ]) {
    t.equal(findType(token), undefined, token)
  }
})

const fuzz = fuzzFor(t, { seconds: 2 })

t.test('refuses anything with a reason, and with nothing but an AuthError', async (t) => {
  const part = oneof(string(), stringMatching(/^[\w-]*$/), string().map(partOf))
  const property = asyncProperty(part, part, part, async (head, body, signature) => {
    const token = `${head}.${body}.${signature}`
    findType(token)
    if (shapeReason(token) === 'fine') throw new Error(token)
  })
  await fuzz.holds(t, property, 1)
})
