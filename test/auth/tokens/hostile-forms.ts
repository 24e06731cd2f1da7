/** Hostile tokens that are wrong in their form: algorithms, headers, encodings, signatures. */

import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { encode, forge, forgeWithSecret } from './forge.ts'
import { badCookie, type Forger, type HostileCase, invalid } from './forger.ts'

export function listHostileForms(forger: Forger): readonly HostileCase[] {
  return [...algorithms(forger), ...headers(forger), ...spellings(forger)]
}

function algorithms({ kit, token, cookie, header, claims }: Forger): HostileCase[] {
  const { key, kid } = kit.signingKey
  const publicKey = createPublicKey(key)
  const pem = publicKey.export({ format: 'pem', type: 'spki' })
  const unsigned = (alg: string) => `${encode({ ...header, alg })}.${encode(claims)}.`
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const hs256 = { ...header, alg: 'HS256' }
  return [
    ...['none', 'None', 'NONE', 'nOnE'].map((alg) =>
      invalid(`alg ${alg} without a signature`, unsigned(alg), 'no-signature'),
    ),
    ...['none', 'NONE', 'none ', ''].map((alg) =>
      invalid(`alg "${alg}" with a signature`, token({}, { alg }), alg === '' ? 'no-alg' : 'wrong-alg'),
    ),
    invalid('the public key as an HMAC secret', forgeWithSecret(hs256, claims, pem), 'wrong-alg'),
    invalid(
      'the public key as an HMAC secret, in DER',
      forgeWithSecret(hs256, claims, publicKey.export({ format: 'der', type: 'spki' })),
      'wrong-alg',
    ),
    invalid('the kid as an HMAC secret', forgeWithSecret(hs256, claims, kid), 'wrong-alg'),
    ...['HS512', 'RS256', 'PS256', 'ES384', 'ES256K', 'EdDSA', 'es256', 'ES256 '].map((alg) =>
      invalid(`alg ${alg}`, token({}, { alg }), 'wrong-alg'),
    ),
    invalid('alg as a list', token({}, { alg: ['ES256'] }), 'no-alg'),
    invalid("somebody else's key under our kid", forge(header, claims, stranger), 'bad-signature', 1),
    badCookie(
      'a cookie by somebody else',
      forge({ ...header, typ: 'landfall-cookie+jwt' }, { ...claims, sub: 'ann', sid: 's' }, stranger),
      'bad-signature',
      1,
    ),
    badCookie('a cookie with alg none', cookie({}, { alg: 'none' }), 'wrong-alg'),
  ]
}

function headers({ token, cookie, kit, header, claims }: Forger): HostileCase[] {
  const jwk = createPublicKey(kit.signingKey.key).export({ format: 'jwk' })
  const evil = {
    jku: 'https://evil.test/jwks',
    x5u: 'https://evil.test/x5u',
    jwk,
    x5c: ['MII'],
    crit: ['b64'],
  }
  const twice = (text: string) => forge(text, claims, kit.signingKey.key)
  return [
    ...Object.entries({ ...evil, b64: false, zip: 'DEF', cty: 'JWT', x5t: 'a', url: 'https://x' }).map(
      ([name, value]) => invalid(`the header member ${name}`, token({}, { [name]: value }), 'header-member'),
    ),
    badCookie('a cookie that brings its key', cookie({}, { jwk }), 'header-member'),
    invalid('a kid that nobody has', token({}, { kid: 'A'.repeat(43) }), 'unknown-kid'),
    invalid('a kid that is a path', token({}, { kid: '../../../../dev/null' }), 'unknown-kid'),
    invalid('a kid that is SQL', token({}, { kid: "x' UNION SELECT 'secret" }), 'unknown-kid'),
    invalid('a kid of the language', token({}, { kid: '__proto__' }), 'unknown-kid'),
    invalid('a kid of 600 characters', token({}, { kid: 'k'.repeat(600) }), 'no-kid'),
    invalid('a kid that is a number', token({}, { kid: 7 }), 'no-kid'),
    invalid('no kid', token({}, { kid: undefined }), 'no-kid'),
    invalid('no typ', token({}, { typ: undefined }), 'no-typ'),
    invalid('the typ of any JWT', token({}, { typ: 'JWT' }), 'wrong-typ'),
    invalid('our typ in upper case', token({}, { typ: 'LANDFALL-TOKEN+JWT' }), 'wrong-typ'),
    invalid(
      'alg twice',
      twice(`{"alg":"none",${JSON.stringify(header).slice(1)}`),
      'header-duplicate-member',
    ),
    invalid(
      'alg twice, once in escapes',
      twice(`{"\\u0061lg":"none",${JSON.stringify(header).slice(1)}`),
      'header-duplicate-member',
    ),
    invalid('a header that is a list', twice('["ES256"]'), 'header-no-object'),
    invalid('a header that is no JSON', twice('{"alg":"ES256",}'), 'header-no-json'),
  ]
}

function spellings({ token, now }: Forger): HostileCase[] {
  const good = token()
  const [head = '', body = '', signature = ''] = good.split('.')
  const bomb = `{"a":${'['.repeat(1_000)}${']'.repeat(1_000)},"exp":${now}}`
  const last = signature.at(-1) ?? ''
  const twin = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  // The last of 86 characters carries two bits; the four others are for the writer to set to zero.
  const respelled = `${signature.slice(0, -1)}${twin[twin.indexOf(last) + 1]}`
  const bytes = (text: string) => Buffer.from(text, 'base64url')
  const zeros = Buffer.alloc(64)
  return [
    invalid('nothing behind the header', `${head}.`, 'not-three-parts'),
    invalid('no signature', `${head}.${body}`, 'not-three-parts'),
    invalid('an empty signature', `${head}.${body}.`, 'no-signature'),
    invalid('an empty payload', `${head}..${signature}`, 'no-payload'),
    invalid('an empty header', `.${body}.${signature}`, 'no-header'),
    invalid('five parts, as a JWE', `${head}.${body}.${signature}.${body}.${signature}`, 'not-three-parts'),
    invalid(
      'a header cut short',
      `${encode(`${bytes(head).subarray(0, -8)}`)}.${body}.${signature}`,
      'header-no-json',
    ),
    invalid(
      'a payload cut short',
      `${head}.${encode(`${bytes(body).subarray(0, -8)}`)}.${signature}`,
      'payload-no-json',
    ),
    invalid(
      'a signature cut short',
      `${head}.${body}.${bytes(signature).toString('base64url', 0, 60)}`,
      'bad-signature',
      1,
    ),
    invalid('padding', `${good}==`, 'signature-not-base64url'),
    invalid('base64 in place of base64url', `${head}.${body}.${'+/'.repeat(43)}`, 'signature-not-base64url'),
    invalid('another spelling of the signature', `${head}.${body}.${respelled}`, 'signature-not-base64url'),
    invalid(
      '4,097 bytes',
      `${head}.${body}.${'A'.repeat(4_097 - head.length - body.length - 2)}`,
      'oversized',
    ),
    invalid('60,000 bytes', 'A'.repeat(60_000), 'oversized'),
    invalid('a payload of brackets', token(bomb), 'no-sub'),
    invalid('a signature of zeros', `${head}.${body}.${zeros.toString('base64url')}`, 'bad-signature', 1),
    invalid(
      'r of zeros',
      `${head}.${body}.${Buffer.concat([zeros.subarray(32), bytes(signature).subarray(32)]).toString('base64url')}`,
      'bad-signature',
      1,
    ),
    invalid(
      's of zeros',
      `${head}.${body}.${Buffer.concat([bytes(signature).subarray(0, 32), zeros.subarray(32)]).toString('base64url')}`,
      'bad-signature',
      1,
    ),
    invalid(
      'a signature of another token',
      `${head}.${encode(`${bytes(body)} `)}.${signature}`,
      'bad-signature',
      1,
    ),
  ]
}
