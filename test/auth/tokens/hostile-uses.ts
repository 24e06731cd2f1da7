/** Hostile uses of tokens that are in order by themselves: in the wrong place, by the wrong key, in the wrong field. */

import { createHash, sign } from 'node:crypto'
import { apiTokenOf, HOST, ISSUER } from '../gate/gate-kit.ts'
import { encode, forge, makeSshKey } from './forge.ts'
import { badCookie, DAY_S, ELSEWHERE, type Forger, type HostileCase, invalid, TOKEN_ID } from './forger.ts'

export function listHostileUses(forger: Forger): readonly HostileCase[] {
  return [...mixedUp(forger), ...selfSigned(forger), ...fields(forger)]
}

function mixedUp({ token, cookie, kit, now }: Forger): HostileCase[] {
  const typed = (typ: string) => cookie({}, { typ })
  kit.table.apiTokens.set(
    'expiredToken',
    apiTokenOf('expiredToken', 'S'.repeat(43), { expiresAt: new Date((now - 60) * 1_000).toISOString() }),
  )
  kit.table.apiTokens.set(
    'somebodyElse',
    apiTokenOf('somebodyElse', 'S'.repeat(43), { scopes: [{ pool: 'other', verbs: ['admin'] }] }),
  )
  return [
    invalid('a cookie as a token', cookie(), 'wrong-typ'),
    badCookie('a token as a cookie', token(), 'wrong-typ'),
    badCookie('a login session as a cookie', typed('landfall-session+jwt'), 'wrong-typ'),
    badCookie('a share link as a cookie', typed('landfall-link+jwt'), 'wrong-typ'),
    badCookie('an assertion as a cookie', typed('landfall-assertion+jwt'), 'wrong-typ'),
    invalid('an assertion as a token', token({}, { typ: 'landfall-assertion+jwt' }), 'wrong-typ'),
    invalid('a share link as a token', token({}, { typ: 'landfall-link+jwt' }), 'wrong-typ'),
    badCookie('an API token as a cookie', `lf_somebodyElse_${'S'.repeat(43)}`, 'not-three-parts'),
    badCookie('the operator token as a cookie', kit.operator, 'not-three-parts'),
    invalid('a wrong secret', `lf_somebodyElse_${'T'.repeat(43)}`, 'wrong-secret'),
    invalid('an API token with a short id', `lf_nobodyAtAl_${'S'.repeat(43)}`, 'not-three-parts'),
    invalid('a deleted API token', `lf_goneGoneGone_${'S'.repeat(43)}`, 'unknown-api-token'),
    invalid('an expired API token', `lf_expiredToken_${'S'.repeat(43)}`, 'expired'),
    invalid('an API token with a long secret', `lf_somebodyElse_${'S'.repeat(44)}`, 'not-three-parts'),
    {
      name: 'an API token of another pool',
      hostile: { bearer: `lf_somebodyElse_${'S'.repeat(43)}` },
      refusal: 'auth_forbidden no-grant',
    },
    invalid('a guess at the operator token', 'p'.repeat(43), 'not-three-parts'),
    badCookie('a cookie in quotes', `"${cookie()}"`, 'header-not-base64url'),
  ]
}

function selfSigned(forger: Forger): HostileCase[] {
  const { self, kit, now } = forger
  const removed = makeSshKey('ann')
  const others = makeSshKey('bob')
  const curve = makeSshKey('ann', 'nistp384')
  const small = makeSshKey('ann', 'nistp256')
  for (const { row } of [others, curve, small]) kit.table.sshKeys.set(row.id, row)
  const derText = `${encode({ alg: 'ES256', typ: 'landfall-self+jwt', kid: small.kid })}.${encode({ aud: HOST, iat: now, exp: now + 60 })}`
  const der = sign('sha256', Buffer.from(derText), small.privateKey).toString('base64url')
  const ours = forge(
    { alg: 'ES256', typ: 'landfall-self+jwt', kid: kit.signingKey.kid },
    { aud: HOST, iat: now, exp: now + 60 },
    kit.signingKey.key,
  )
  return [
    invalid("self-signed under another's kid", self({}, { kid: others.kid }), 'bad-signature', 1),
    invalid('self-signed with a removed key', self({}, {}, removed), 'unknown-kid'),
    invalid(
      'self-signed with a kid in base64url',
      self({}, { kid: `SHA256:${forger.ssh.row.id}=` }),
      'unknown-kid',
    ),
    invalid(
      'self-signed with an MD5 kid',
      self({}, { kid: `MD5:${createHash('md5').update('x').digest('hex')}` }),
      'unknown-kid',
    ),
    invalid('self-signed as ES256 with a key of P-384', self({}, { alg: 'ES256' }, curve), 'wrong-alg'),
    invalid('self-signed as EdDSA with a key of P-256', self({}, { alg: 'EdDSA' }, small), 'wrong-alg'),
    invalid('self-signed as Ed448', self({}, { alg: 'Ed448' }), 'wrong-alg'),
    invalid('an ECDSA signature in DER', `${derText}.${der}`, 'bad-signature', 1),
    invalid('our own key as a user', ours, 'unknown-kid'),
    invalid('self-signed for 31 days', self({ exp: now + 31 * DAY_S }), 'too-long-lived'),
    invalid('self-signed with exp before iat', self({ exp: now + 3, iat: now + 4 }), 'exp-before-iat'),
    invalid('self-signed without iat', self({ iat: undefined }), 'no-iat'),
    invalid('self-signed without exp', self({ exp: undefined }), 'no-exp'),
    invalid('self-signed as somebody else', self({ sub: 'olga' }), 'wrong-sub'),
    invalid('self-signed with another iss', self({ iss: ISSUER }), 'wrong-iss'),
    invalid('self-signed for a sibling', self({ aud: ELSEWHERE }), 'wrong-aud'),
    invalid('self-signed with a claim of ours', self({ email: 'olga@example.test' }), 'unknown-claim'),
    badCookie('self-signed as a cookie', self(), 'wrong-typ'),
    invalid(
      'self-signed with the typ of a token',
      self({ iss: ISSUER, sub: `token:${TOKEN_ID}`, jti: TOKEN_ID }, { typ: 'landfall-token+jwt' }),
      'wrong-alg',
    ),
    invalid(
      'self-signed as ours',
      self(
        { iss: ISSUER, sub: `token:${TOKEN_ID}`, jti: TOKEN_ID },
        { typ: 'landfall-token+jwt', alg: 'ES256' },
      ),
      'unknown-kid',
    ),
  ]
}

function fields({ token, cookie }: Forger): HostileCase[] {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  const raw = (name: string, given: Readonly<Record<string, string>>, refusal: string, checks = 0) => ({
    ...{ name, hostile: { fields: given }, refusal, checks },
  })
  const own = 'X-Landfall-Authorization'
  return [
    raw('a scheme without a token', { [own]: 'Bearer' }, 'auth_invalid malformed-authorization'),
    raw('a token without a scheme', { [own]: token() }, 'auth_invalid malformed-authorization'),
    raw(
      'two words behind the scheme',
      { [own]: `Bearer ${token()} x` },
      'auth_invalid malformed-authorization',
    ),
    raw('a comma behind the token', { [own]: `Bearer ${token()},x` }, 'auth_invalid signature-not-base64url'),
    raw('a tab before the token', { [own]: `Bearer\t${token()}` }, 'auth_invalid malformed-authorization'),
    raw(
      'a wide space before the token',
      { [own]: `Bearer \u00a0${token()}` },
      'auth_invalid malformed-authorization',
    ),
    raw('Basic in our own field', { [own]: basic(`x:${token()}`) }, 'auth_invalid unknown-scheme'),
    raw('a scheme that nobody knows', { [own]: `Negotiate ${token()}` }, 'auth_invalid unknown-scheme'),
    raw('DPoP with a token that is not bound', { [own]: `DPoP ${token()}` }, 'auth_invalid not-bound', 1),
    raw('Basic without a colon', { Authorization: basic(token()) }, 'auth_required no-credential'),
    raw(
      'Basic with a foreign password',
      { Authorization: basic('git:hunter2') },
      'auth_required no-credential',
    ),
    raw(
      'Basic in another spelling',
      { Authorization: `${basic(`ab:${token()}`).replace(/=*$/, '')}====` },
      'auth_invalid basic-not-base64',
    ),
    raw(
      'Basic with a forged password',
      { Authorization: basic(`git:${token().slice(0, -6)}AAAAAA`) },
      'auth_invalid bad-signature',
      1,
    ),
    raw(
      'an underscored field',
      { X_Landfall_Authorization: `Bearer ${token()}` },
      'auth_required no-credential',
    ),
    raw(
      'two cookies',
      { Cookie: `__Host-landfall=${cookie()}; __Host-landfall=${cookie({ jti: 'c2' })}` },
      'auth_required two-cookies',
    ),
    raw('the name in lower case', { Cookie: `__host-landfall=${cookie()}` }, 'auth_required no-credential'),
    raw(
      'a name that only begins so',
      { Cookie: `__Host-landfall2=${cookie()}` },
      'auth_required no-credential',
    ),
    raw(
      'a wide space before the name',
      { Cookie: `\u00a0__Host-landfall=${cookie()}` },
      'auth_required no-credential',
    ),
    raw(
      'a space before the equals sign',
      { Cookie: `__Host-landfall =${cookie()}` },
      'auth_required no-credential',
    ),
    raw(
      'another site that asks',
      { Cookie: `__Host-landfall=${cookie()}`, Origin: 'https://evil.test' },
      'auth_origin foreign-origin',
    ),
    raw(
      'a sibling that asks',
      { Cookie: `__Host-landfall=${cookie()}`, Origin: `https://${ELSEWHERE}` },
      'auth_origin foreign-origin',
    ),
    raw(
      'a sibling that embeds',
      { Cookie: `__Host-landfall=${cookie()}`, 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'no-cors' },
      'auth_origin same-site',
    ),
    raw(
      'a sandbox that asks',
      { Cookie: `__Host-landfall=${cookie()}`, Origin: 'null' },
      'auth_origin foreign-origin',
    ),
  ]
}
