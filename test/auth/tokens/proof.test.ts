/** DPoP proofs: the examples of RFC 9449, every refusal of its section 4.3, and that a proof counts once. */

import { hash } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import t from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import { createProofs, type ProofDemand, type Proofs } from '../../../auth/tokens/proof.ts'
import {
  createHolder,
  demandOf,
  type Holder,
  holder,
  lastId,
  NOW_MS,
  NOW_S,
  proofOf,
  TOKEN,
} from './proof-maker.ts'

function createFixed(settings: { readonly maxProofs?: number; readonly maxPerKey?: number } = {}): Proofs {
  return createProofs({ now: () => NOW_MS, ...settings })
}

async function reasonOf(proofs: Proofs, demand: Promise<ProofDemand>): Promise<string> {
  try {
    await proofs.check(await demand)
    return 'fine'
  } catch (error) {
    if (error instanceof AuthError) return error.reason
    throw error
  }
}

/** Figures 10 to 12 of RFC 9449 section 7.1. */
const RFC_PROOF =
  'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA'
const RFC_DEMAND: ProofDemand = {
  proof: RFC_PROOF,
  token: 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU',
  // Of section 6.1.
  thumbprint: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I',
  method: 'GET',
  host: 'resource.example.org',
  target: '/protectedresource',
}

t.test(
  'takes the example of RFC 9449 section 7.1, and no other token, method or address with it',
  async (t) => {
    const checkAt = (change: Partial<ProofDemand>, seconds = 0) =>
      reasonOf(
        createProofs({ now: () => (1_562_262_618 + seconds) * 1_000 }),
        Promise.resolve({ ...RFC_DEMAND, ...change }),
      )
    t.equal(await checkAt({}), 'fine')
    t.equal(await checkAt({ token: `${RFC_DEMAND.token}x` }), 'proof-ath')
    t.equal(await checkAt({ method: 'POST' }), 'proof-htm')
    t.equal(await checkAt({ target: '/' }), 'proof-htu')
    t.equal(await checkAt({ thumbprint: holder.thumbprint }), 'proof-key')
    t.equal(await checkAt({}, 65), 'fine')
    t.equal(await checkAt({}, 66), 'proof-old')
    t.equal(await checkAt({}, -5), 'fine')
    t.equal(await checkAt({}, -6), 'iat-ahead')
    const altered = RFC_PROOF.replace(/\.[^.]*$/, `.${Buffer.alloc(64, 1).toString('base64url')}`)
    t.equal(await checkAt({ proof: altered }), 'proof-signature')
  },
)

t.test('takes Ed25519 under both of its names', async (t) => {
  const other = await createHolder('EdDSA')
  const { thumbprint } = other
  const proofs = createFixed()
  t.equal(await reasonOf(proofs, demandOf(proofOf({ signer: other }), { thumbprint })), 'fine')
  const named = { ...other, alg: 'Ed25519' }
  t.equal(await reasonOf(proofs, demandOf(proofOf({ signer: named }), { thumbprint })), 'fine')
})

t.test('compares addresses as RFC 3986 normalises them, without query and fragment', async (t) => {
  const proofs = createFixed()
  const same: readonly (readonly [string, Partial<ProofDemand>])[] = [
    ['https://web.example.test/a', {}],
    ['https://web.example.test/a?other#fragment', {}],
    ['HTTPS://WEB.Example.TEST:443/a', {}],
    ['https://web.example.test/a', { host: 'WEB.example.test:443' }],
    ['https://web.example.test/b/../a', {}],
    ['https://web.example.test/%61', {}],
    ['https://web.example.test/%7eu/%c3%a9', { target: '/~u/%C3%A9' }],
    ['https://web.example.test', { target: '/' }],
    ['https://web.example.test/', { target: '*' }],
    ['https://web.example.test:8443/a', { host: 'web.example.test:8443' }],
  ]
  for (const [htu, demand] of same) {
    t.equal(await reasonOf(proofs, demandOf(proofOf({ claims: { htu } }), demand)), 'fine', htu)
  }
  const others: readonly unknown[] = [
    'http://web.example.test/a',
    'https://web.example.test:8443/a',
    'https://other.example.test/a',
    'https://web.example.test/A',
    'https://web.example.test/a/',
    'https://web.example.test/%2561',
    'https://web.example.test/%2Fa',
    'https://user@web.example.test/a',
    'https://web.example.test@other.example.test/a',
    '/a',
    'a',
    '',
    undefined,
    1,
    ['https://web.example.test/a'],
  ]
  for (const htu of others) {
    t.equal(await reasonOf(proofs, demandOf(proofOf({ claims: { htu } }))), 'proof-htu', String(htu))
  }
})

t.test('refuses each claim that is missing or wrong', async (t) => {
  const proofs = createFixed()
  const cases: readonly (readonly [Readonly<Record<string, unknown>>, string])[] = [
    [{ htm: undefined }, 'proof-htm'],
    [{ htm: 'get' }, 'proof-htm'],
    [{ htm: ['GET'] }, 'proof-htm'],
    [{ ath: undefined }, 'proof-ath'],
    [{ ath: hash('sha256', 'other', 'base64url') }, 'proof-ath'],
    [{ ath: hash('sha256', TOKEN, 'hex') }, 'proof-ath'],
    [{ iat: undefined }, 'proof-no-iat'],
    [{ iat: `${NOW_S}` }, 'bad-iat'],
    [{ iat: NOW_S - 66 }, 'proof-old'],
    [{ iat: NOW_S + 6 }, 'iat-ahead'],
    [{ exp: NOW_S - 6 }, 'expired'],
    [{ nbf: NOW_S + 60 }, 'not-yet'],
    [{ jti: undefined }, 'proof-jti'],
    [{ jti: '' }, 'proof-jti'],
    [{ jti: 1 }, 'proof-jti'],
    [{ jti: 'x'.repeat(257) }, 'proof-jti'],
  ]
  for (const [claims, reason] of cases) {
    t.equal(await reasonOf(proofs, demandOf(proofOf({ claims }))), reason, JSON.stringify(claims))
  }
})

t.test('refuses headers of another kind, other keys and keys that are not public', async (t) => {
  const proofs = createFixed()
  const { jwk } = holder
  const stranger = await createHolder('ES256')
  const cases: readonly (readonly [Readonly<Record<string, unknown>>, string])[] = [
    [{ typ: 'JWT' }, 'proof-typ'],
    [{ typ: 'landfall-token+jwt' }, 'proof-typ'],
    [{ typ: undefined }, 'proof-typ'],
    [{ jwk: undefined }, 'proof-jwk'],
    [{ jwk: 'x' }, 'proof-jwk'],
    [{ jwk: [jwk] }, 'proof-jwk'],
    [{ jwk: {} }, 'proof-jwk'],
    [{ jwk: { ...jwk, x: undefined } }, 'proof-jwk'],
    [{ jwk: { ...jwk, y: 1 } }, 'proof-jwk'],
    [{ jwk: { ...jwk, crv: 'P-384' } }, 'proof-jwk'],
    [{ jwk: { ...jwk, d: 'AQ' } }, 'proof-jwk-member'],
    [{ jwk: { ...jwk, k: 'AQ' } }, 'proof-jwk-member'],
    [{ jwk: { ...jwk, x5u: 'https://other.example.test/' } }, 'proof-jwk-member'],
    [{ jwk: stranger.jwk }, 'proof-key'],
    [{ kid: 'a' }, 'header-member'],
    [{ jku: 'https://other.example.test/' }, 'header-member'],
  ]
  for (const [header, reason] of cases) {
    t.equal(await reasonOf(proofs, demandOf(proofOf({ header }))), reason, JSON.stringify(header))
  }
  t.equal(await reasonOf(proofs, demandOf(proofOf({ signer: stranger }))), 'proof-key')
  const signedByStranger = proofOf({ signer: { ...stranger, jwk, thumbprint: holder.thumbprint } })
  t.equal(await reasonOf(proofs, demandOf(signedByStranger)), 'proof-signature')
  const withUse = {
    header: { jwk: { ...jwk, use: 'sig', alg: 'ES256', kid: 'a', key_ops: ['verify'], ext: true } },
  }
  t.equal(
    await reasonOf(proofs, demandOf(proofOf(withUse))),
    'fine',
    'members that say nothing secret are allowed',
  )
})

t.test('refuses algorithms without a public key, and those that do not fit the key', async (t) => {
  const proofs = createFixed()
  const [, body, signature] = (await proofOf()).split('.')
  const forge = (header: Readonly<Record<string, unknown>>) => {
    const text = JSON.stringify({ typ: 'dpop+jwt', jwk: holder.jwk, ...header })
    return `${Buffer.from(text).toString('base64url')}.${body}.${signature}`
  }
  for (const alg of ['none', 'HS256', 'RS256', 'ES384', 'ES256K', 'toString', '__proto__', 1, undefined]) {
    t.equal(await reasonOf(proofs, demandOf(forge({ alg }))), 'proof-alg', String(alg))
  }
  t.equal(await reasonOf(proofs, demandOf(forge({ alg: 'EdDSA' }))), 'proof-jwk')
  const offCurve = { ...holder.jwk, y: holder.jwk.x ?? '' }
  const thumbprint = await calculateJwkThumbprint(offCurve)
  t.equal(
    await reasonOf(proofs, demandOf(forge({ alg: 'ES256', jwk: offCurve }), { thumbprint })),
    'proof-signature',
  )
})

t.test('a proof counts once, also when it is sent many times at once', async (t) => {
  const proofs = createFixed()
  const demand = demandOf(proofOf())
  const reasons = await Promise.all(Array.from({ length: 20 }, () => reasonOf(proofs, demand)))
  t.equal(reasons.filter((reason) => reason === 'fine').length, 1)
  t.equal(reasons.filter((reason) => reason === 'proof-replayed').length, 19)
  const sameId = proofOf({ claims: { jti: lastId() } })
  t.equal(
    await reasonOf(proofs, demandOf(sameId)),
    'proof-replayed',
    'another proof with the id of the first',
  )
  const other = await createHolder('ES256')
  const { thumbprint } = other
  const otherKey = proofOf({ signer: other, claims: { jti: lastId() } })
  t.equal(await reasonOf(proofs, demandOf(otherKey, { thumbprint })), 'fine', 'the same id of another key')
})

t.test('a proof never counts again, at no moment of its time', async (t) => {
  for (let offset = 0; offset <= 140; offset += 7) {
    let nowMs = NOW_MS - offset * 1_000
    const proofs = createProofs({ now: () => nowMs })
    // Turns the memory's window at a moment that has nothing to do with the proof.
    await reasonOf(proofs, demandOf(proofOf({ claims: { iat: nowMs / 1_000 } })))
    nowMs = NOW_MS - 5_000
    const demand = demandOf(proofOf())
    t.equal(await reasonOf(proofs, demand), 'fine')
    const reasons = new Set<string>()
    for (; nowMs <= NOW_MS + 200_000; nowMs += 1_000) reasons.add(await reasonOf(proofs, demand))
    t.same([...reasons].toSorted(), ['proof-old', 'proof-replayed'])
  }
})

t.test('a forged proof uses up nothing of what is remembered', async (t) => {
  const proofs = createFixed({ maxProofs: 1 })
  const [head, body] = (await proofOf()).split('.')
  const forged = `${head}.${body}.${Buffer.alloc(64, 1).toString('base64url')}`
  t.equal(await reasonOf(proofs, demandOf(forged)), 'proof-signature')
  t.equal(await reasonOf(proofs, demandOf(proofOf({ claims: { jti: lastId() } }))), 'fine')
})

t.test('with a full memory it refuses, rather than forget; one key cannot fill it for all', async (t) => {
  let nowMs = NOW_MS
  const proofs = createProofs({ now: () => nowMs, maxProofs: 5, maxPerKey: 3 })
  const other = await createHolder('ES256')
  const ask = (signer: Holder) =>
    reasonOf(
      proofs,
      demandOf(proofOf({ signer, claims: { iat: nowMs / 1_000 } }), { thumbprint: signer.thumbprint }),
    )
  for (let index = 0; index < 3; index += 1) t.equal(await ask(holder), 'fine')
  t.equal(await ask(holder), 'too-many-proofs')
  for (let index = 0; index < 2; index += 1) t.equal(await ask(other), 'fine')
  t.equal(await ask(other), 'too-many-proofs')
  await t.rejects(proofs.check(await demandOf(proofOf())), { code: 'auth_busy' })
  nowMs += 71_000
  t.equal(await ask(other), 'fine', 'a window later there is room again')
})
