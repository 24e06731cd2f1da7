/** Hostile tokens that are well formed and signed, and say what must not count. */

import { HOST, ISSUER } from '../gate/gate-kit.ts'
import { badCookie, DAY_S, ELSEWHERE, type Forger, type HostileCase, invalid } from './forger.ts'

export function listHostileClaims(forger: Forger): readonly HostileCase[] {
  return [...claims(forger), ...bounds(forger)]
}

function claims(forger: Forger): HostileCase[] {
  const { token, cookie, now } = forger
  const text = JSON.stringify(forger.claims)
  return [
    invalid('a token for a sibling', token({ aud: ELSEWHERE }), 'wrong-aud'),
    badCookie('a cookie of a sibling', cookie({ aud: ELSEWHERE }), 'wrong-aud'),
    invalid('aud with a port', token({ aud: `${HOST}:443` }), 'wrong-aud'),
    invalid('aud as a URL', token({ aud: `https://${HOST}` }), 'wrong-aud'),
    invalid('aud in upper case', token({ aud: HOST.toUpperCase() }), 'wrong-aud'),
    invalid('aud with a dot behind', token({ aud: `${HOST}.` }), 'wrong-aud'),
    invalid('aud with a NUL', token({ aud: `${HOST}\0` }), 'wrong-aud'),
    invalid('the domain as aud', token({ aud: 'example.test' }), 'wrong-aud'),
    invalid('a star as aud', token({ aud: '*' }), 'wrong-aud'),
    invalid('aud as a list', token({ aud: [HOST] }), 'bad-aud'),
    invalid('two hosts as aud', token({ aud: [HOST, ELSEWHERE] }), 'bad-aud'),
    invalid('no aud', token({ aud: undefined }), 'no-aud'),
    invalid('another issuer', token({ iss: 'https://evil.test' }), 'wrong-iss'),
    invalid('the issuer with a slash', token({ iss: `${ISSUER}/` }), 'wrong-iss'),
    invalid('no issuer', token({ iss: undefined }), 'wrong-iss'),
    invalid('expired', token({ exp: now - 6 }), 'expired'),
    badCookie('an expired cookie', cookie({ exp: now - 6 }), 'expired'),
    invalid('expired by a fraction', token({ exp: now - 5.001 }), 'expired'),
    invalid('no exp', token({ exp: undefined }), 'no-exp'),
    invalid('exp as a text', token({ exp: String(now + 60) }), 'bad-exp'),
    invalid('exp below zero', token({ exp: -1 }), 'bad-exp'),
    invalid('exp beyond every calendar', token({ exp: 1e300 }), 'bad-exp'),
    invalid('exp as null', token({ exp: null }), 'bad-exp'),
    invalid('not yet', token({ nbf: now + 60 }), 'not-yet'),
    invalid('made tomorrow', token({ iat: now + DAY_S }), 'iat-ahead'),
    invalid('exp twice', token(`{"exp":1,${text.slice(1)}`), 'payload-duplicate-member'),
    invalid(
      'exp twice, deep inside',
      token(`{"x":[{"a":1,"a":2}],${text.slice(1)}`),
      'payload-duplicate-member',
    ),
    invalid('sub as a number', token({ sub: 7 }), 'bad-sub'),
    invalid('sub of another token', token({ sub: 'token:ZZZZZZZZZZZZ' }), 'bad-sub'),
    invalid('sub of a user in a token', token({ sub: 'olga' }), 'bad-sub'),
    invalid('no jti', token({ jti: undefined }), 'no-jti'),
    invalid('a claim that nobody knows', token({ port: 80 }), 'unknown-claim'),
    badCookie('a cookie without its session', cookie({ sid: undefined }), 'no-sid'),
    badCookie(
      'a cookie of a user with a line end',
      cookie({ sub: 'ann\r\nX-Landfall-User: olga' }),
      'bad-sub',
    ),
    badCookie('a cookie of a user with a space', cookie({ sub: 'ann ' }), 'bad-sub'),
    invalid('ctx with a line end', token({ ctx: 'a\r\nx-evil: 1' }), 'bad-ctx'),
    invalid('ctx as an object', token({ ctx: { a: 1 } }), 'bad-ctx'),
    invalid('cnf of a certificate', token({ cnf: { 'x5t#S256': 'A'.repeat(43) } }), 'bad-cnf'),
    invalid('cnf with more than one key', token({ cnf: { jkt: 'A'.repeat(43), kid: 'x' } }), 'bad-cnf'),
    invalid('ports as a text', token({ ports: '80' }), 'bad-ports'),
    invalid('no ports', token({ ports: [] }), 'bad-ports'),
    invalid('methods in lower case', token({ methods: ['get'] }), 'bad-methods'),
    invalid('a path that climbs', token({ path: '/a/../b' }), 'bad-path'),
  ]
}

function bounds({ token, cookie, kit }: Forger): HostileCase[] {
  kit.table.revocations.set('session/ended', kit.nowS() * 1_000)
  kit.table.revocations.set('credential/loggedout', kit.nowS() * 1_000)
  kit.table.revocations.set('user/leftus', kit.nowS() * 1_000)
  return [
    invalid(
      'a token whose grant is gone',
      token({ sub: 'token:zzzzzzzzzzzz', jti: 'zzzzzzzzzzzz' }),
      'no-live-grant',
      1,
    ),
    badCookie(
      'a cookie of a link that is gone',
      cookie({ sub: 'link:gone', sid: undefined }),
      'no-live-grant',
      1,
    ),
    badCookie('a cookie of a session that has ended', cookie({ sid: 'ended' }), 'session-revoked'),
    badCookie('a cookie after the log-out', cookie({ jti: 'loggedout' }), 'credential-revoked'),
    badCookie('a cookie of a user who was removed', cookie({ sub: 'leftus' }), 'user-revoked'),
    {
      name: 'a cookie of a user without a grant',
      hostile: { cookie: cookie({ sub: 'link:ann' }) },
      refusal: 'auth_forbidden no-grant',
      checks: 1,
    },
    {
      name: 'a token for another port',
      hostile: { own: token({ ports: [8_000] }) },
      refusal: 'auth_limited limit-port',
      checks: 1,
    },
    {
      name: 'a token for another method',
      hostile: { own: token({ methods: ['POST'] }) },
      refusal: 'auth_limited limit-method',
      checks: 1,
    },
    {
      name: 'a token for another path',
      hostile: { own: token({ path: '/api' }) },
      refusal: 'auth_limited limit-path',
      checks: 1,
    },
    invalid('a bound token without a proof', token({ cnf: { jkt: 'A'.repeat(43) } }), 'proof-required', 1),
  ]
}
