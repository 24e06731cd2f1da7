/** What a refusal says: a redirect for a browser's navigation, challenges for programs, and why in the log alone. */

import t from 'tap'
import { AuthError } from '../../auth/errors.ts'
import { RelayError } from '../../proxy/errors.ts'
import { createRefuse } from '../../proxy/refusal.ts'
import { type FakeRequest, fakeExchange } from './fake-exchange.ts'

const NAVIGATES = ['Sec-Fetch-Mode', 'navigate', 'Sec-Fetch-Site', 'none', 'Accept', 'text/html,*/*;q=0.8']
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }

function refused(error: unknown, request: FakeRequest = {}) {
  const exchange = fakeExchange({ host: 'app.test', ...request })
  createRefuse({ edgeName: 'edge-1', log, settle: silent })(exchange, error)
  const { status, headers, body } = exchange.answered
  const all = (name: string) => headers.filter((_, at) => at % 2 === 1 && headers[at - 1] === name)
  return { status, body, record: exchange.record, all, field: (name: string) => all(name)[0] }
}

const required = () => new AuthError('auth_required', 'nothing')

t.test('a navigation goes to the login, with the way back', async (t) => {
  for (const headers of [NAVIGATES, ['Accept', 'text/html']]) {
    const { status, field, body } = refused(required(), { headers, target: '/a/b?c=d&e=%2F#'.slice(0, -1) })
    t.equal(status, 303)
    t.equal(field('location'), '/.landfall/login?to=%2Fa%2Fb%3Fc%3Dd%26e%3D%252F')
    t.equal(field('cache-control'), 'no-store')
    t.equal(field('vary'), 'cookie')
    t.equal(body, '')
  }
})

t.test('what is no navigation gets 401', async (t) => {
  const requests: Record<string, FakeRequest> = {
    'a program': { headers: ['Accept', '*/*'] },
    'a script of the page': { headers: ['Sec-Fetch-Mode', 'cors', 'Accept', 'text/html'] },
    'another part of a browser': { headers: ['Sec-Fetch-Site', 'same-origin', 'Accept', 'text/html'] },
    'a form': { method: 'POST', headers: NAVIGATES },
    'a HEAD': { method: 'HEAD', headers: NAVIGATES },
    'a WebSocket': { isUpgrade: true, headers: NAVIGATES },
    'a CONNECT': { isConnect: true, headers: NAVIGATES },
    'a token': { headers: [...NAVIGATES, 'X-Landfall-Authorization', 'Bearer x'] },
    'a password': { headers: [...NAVIGATES, 'Authorization', 'Basic x'] },
    'a proof': { headers: [...NAVIGATES, 'DPoP', 'x'] },
  }
  for (const [name, request] of Object.entries(requests))
    t.equal(refused(required(), request).status, 401, name)
})

t.test('other refusals of the gate are no redirects', async (t) => {
  for (const code of ['auth_invalid', 'auth_forbidden', 'auth_origin', 'auth_stale'] as const)
    t.not(refused(new AuthError(code, 'x'), { headers: NAVIGATES }).status, 303, code)
})

t.test('a way back that would not fit is shortened', async (t) => {
  const long = 'x'.repeat(3_000)
  const to = (target: string) => refused(required(), { headers: NAVIGATES, target }).field('location')
  t.equal(to(`/page?${long}`), '/.landfall/login?to=%2Fpage')
  t.equal(to(`/${long}?a`), '/.landfall/login?to=%2F')
})

t.test('programs are told the ways to log in, browsers never for a password', async (t) => {
  t.same(refused(required()).all('www-authenticate'), [
    'Bearer realm="app.test"',
    'Basic realm="app.test", charset="UTF-8"',
    'DPoP realm="app.test", algs="ES256 EdDSA"',
  ])
  t.same(
    refused(new AuthError('auth_invalid', 'expired'), { headers: ['Sec-Fetch-Site', 'same-origin'] }).all(
      'www-authenticate',
    ),
    ['Bearer realm="app.test", error="invalid_token"'],
  )
  t.same(refused(required(), { method: 'POST', headers: ['Accept', 'text/html'] }).all('www-authenticate'), [
    'Bearer realm="app.test"',
  ])
  t.same(refused(new AuthError('auth_forbidden', 'x')).all('www-authenticate'), [])
})

t.test('why is for the log alone', async (t) => {
  const { record, body } = refused(new AuthError('auth_invalid', 'unknown-kid'))
  t.equal(record.authReason, 'unknown-kid')
  t.notMatch(body, 'unknown-kid')
  t.equal(refused(new RelayError('route_unknown')).record.authReason, undefined)
})

t.test('says when to come again', async (t) => {
  t.equal(refused(new AuthError('auth_busy', 'budget')).field('retry-after'), '1')
  t.equal(refused(new AuthError('auth_stale', 'age')).field('retry-after'), '1')
  t.equal(refused(required()).field('retry-after'), undefined)
})

t.test('only what the gate refuses varies by cookie', async (t) => {
  t.equal(refused(new AuthError('auth_forbidden', 'x')).field('vary'), 'cookie')
  t.equal(refused(new RelayError('route_stopped')).field('vary'), undefined)
})

t.test('a page offers what its reader can do', async (t) => {
  const html = ['Accept', 'text/html']
  const page = (code: 'auth_forbidden' | 'auth_invalid' | 'auth_origin', request: FakeRequest = {}) =>
    refused(new AuthError(code, 'x'), { headers: html, target: '/a"b', ...request }).body
  t.match(
    page('auth_forbidden'),
    '<a href="/.landfall/login?to=%2Fa%22b&amp;switch=1">Log in as somebody else</a>',
  )
  t.match(page('auth_invalid', { method: 'POST' }), '<a href="/.landfall/login?to=%2F">Log in</a>')
  t.notMatch(page('auth_origin'), '/.landfall/login?')
})
