/** Of all that a request brings, at most one credential counts, and a cookie only when its own host's pages ask. */

import t from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import { type Credential, findCredential, listCookies } from '../../../auth/gate/credentials.ts'
import { encode } from '../tokens/forge.ts'
import { HOST, type RequestDemand, requestOf, rowOf } from './gate-kit.ts'

const VMS = new Map([
  [HOST, 'web'],
  ['app.example.org', 'web'],
  ['sibling.example.test', 'sibling'],
])
const JWT = `${encode({ alg: 'ES256', typ: 'landfall-token+jwt' })}.${encode({})}.AA`
const API_TOKEN = `lf_AbCdEfGhIjKl_${'S'.repeat(43)}`
const COOKIE = '__Host-landfall=c'

function found(demand: RequestDemand, row = rowOf()): Credential | string | undefined {
  try {
    return findCredential(requestOf(demand), row, (hostname) => VMS.get(hostname))
  } catch (error) {
    if (error instanceof AuthError) return `${error.code} ${error.reason}`
    throw error
  }
}

t.test('our own field comes before Authorization, and that before the cookie', async (t) => {
  const all = { cookie: COOKIE, authorization: `Bearer ${JWT}`, ownAuthorization: 'bearer  own ' }
  t.strictSame(found(all), { text: 'own', scheme: 'bearer', field: 'own' })
  const { ownAuthorization: _, ...two } = all
  t.strictSame(found(two), { text: JWT, scheme: 'bearer', field: 'authorization' })
  t.strictSame(found({ cookie: COOKIE }), { text: 'c', scheme: 'cookie', field: 'cookie' })
  t.equal(found({}), undefined)
  t.equal(
    found({ ...all, ownAuthorization: '' }),
    'auth_invalid malformed-authorization',
    'an empty one is one',
  )
})

t.test("takes from Authorization what looks like ours, and leaves the app's own", async (t) => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  const inAuthorization = (text: string, scheme = 'bearer') => ({ text, scheme, field: 'authorization' })
  t.strictSame(found({ authorization: `BEARER ${API_TOKEN}` }), inAuthorization(API_TOKEN))
  t.strictSame(found({ authorization: `DPoP ${JWT}`, proof: 'p' }), inAuthorization(JWT, 'dpop'))
  t.strictSame(found({ authorization: basic(`git:${API_TOKEN}`) }), inAuthorization(API_TOKEN))
  t.strictSame(found({ authorization: basic(`:${JWT}`) }), inAuthorization(JWT))
  const foreign = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode({})}.AA`
  const apps = [
    `Bearer ${foreign}`,
    'Bearer abc',
    `Bearer ${API_TOKEN}x`,
    'Digest x="y"',
    '',
    'Bearer',
    basic('a'),
    basic('a:b'),
  ]
  for (const authorization of [...apps, `Bearer ${JWT} ${JWT}`, 'Basic !!!', `Bearer ${'.'.repeat(5_000)}`]) {
    t.equal(found({ authorization }), undefined, authorization.slice(0, 40))
    t.strictSame(found({ authorization, cookie: COOKIE }), { text: 'c', scheme: 'cookie', field: 'cookie' })
  }
  t.equal(found({ authorization: `Bearer ${JWT}` }, rowOf({ visibility: 'public' })), undefined)
})

t.test('finds our cookie among all others', async (t) => {
  t.strictSame(listCookies('a=b; __Host-landfall=x; c'), ['x'])
  t.strictSame(listCookies('__Host-landfall=x;__Host-landfall-flow=y'), ['x'])
  t.strictSame(listCookies(' \t__Host-landfall=\t x \t;'), ['x'])
  t.strictSame(listCookies('__Host-landfall='), [''])
  t.strictSame(listCookies('__Host-landfall=a=b'), ['a=b'])
  for (const not of [
    '__host-landfall=x',
    '__Host-landfall =x',
    '\u00a0__Host-landfall=x',
    '\u2028__Host-landfall=x',
    '__Host-landfall',
    'x__Host-landfall=x',
    'a=__Host-landfall=x',
    '',
  ]) {
    t.strictSame(listCookies(not), [], not)
  }
  t.strictSame(listCookies('__Host-landfall=x; __Host-landfall=y'), ['x', 'y'])
  t.equal(found({ cookie: `${COOKIE}; ${COOKIE}` }), 'auth_required two-cookies')
  t.equal(found({ cookie: `${COOKIE}; ${COOKIE}` }, rowOf({ visibility: 'public' })), undefined)
})

t.test('reads hostile cookies in linear time', async (t) => {
  // Work, and not how long others had the processor.
  const before = process.threadCpuUsage()
  for (const part of [';', ' ', '\t', '=', '__Host-landfall ', ' ;', '"']) {
    found({ cookie: `__Host-landfall${part.repeat(60_000)}` })
    listCookies(part.repeat(60_000))
  }
  t.ok(process.threadCpuUsage(before).user < 1_000_000)
})

t.test('a cookie counts when this host, or another of the same VM, has the browser ask', async (t) => {
  const counts: Partial<RequestDemand>[] = [
    {},
    { fetchSite: 'same-origin', fetchMode: 'cors' },
    { fetchSite: 'none', fetchMode: 'navigate' },
    { fetchSite: 'cross-site', fetchMode: 'navigate' },
    { fetchSite: 'same-site', fetchMode: 'navigate' },
    { fetchSite: 'same-site', fetchMode: 'navigate', fetchDest: 'document' },
    { fetchSite: 'same-origin', fetchMode: 'navigate', fetchDest: 'iframe' },
    { origin: `https://${HOST}` },
    { origin: `https://${HOST}:8443`, fetchSite: 'same-site', fetchMode: 'cors' },
    { origin: 'https://app.example.org' },
    { origin: `https://${HOST}`, isUpgrade: true },
    { origin: 'https://app.example.org:3000', isUpgrade: true },
    { origin: 'null', fetchSite: 'same-origin', fetchMode: 'navigate', method: 'POST' },
  ]
  for (const demand of counts)
    t.match(found({ cookie: COOKIE, ...demand }), { field: 'cookie' }, JSON.stringify(demand))
})

t.test('a cookie does not count when anybody else asks', async (t) => {
  const refused: [RequestDemand, string][] = [
    [{ fetchSite: 'cross-site', fetchMode: 'no-cors' }, 'cross-site'],
    [{ fetchSite: 'same-site', fetchMode: 'no-cors' }, 'same-site'],
    [{ fetchSite: 'same-site', fetchMode: 'cors', origin: 'https://sibling.example.test' }, 'foreign-origin'],
    [{ fetchSite: 'cross-site', fetchMode: 'cors', origin: `https://${HOST}` }, 'cross-site'],
    [{ fetchSite: 'something-new', fetchMode: 'cors' }, 'cross-site'],
    [{ fetchSite: 'same-site', fetchMode: 'navigate', fetchDest: 'iframe' }, 'same-site'],
    [{ fetchSite: 'cross-site', fetchMode: 'navigate', fetchDest: 'embed' }, 'cross-site'],
    [
      { fetchSite: 'cross-site', fetchMode: 'websocket', origin: 'https://evil.test', isUpgrade: true },
      'cross-site',
    ],
    [{ isUpgrade: true }, 'upgrade-without-origin'],
    [{ isUpgrade: true, fetchSite: 'same-origin' }, 'upgrade-without-origin'],
    [{ isUpgrade: true, fetchSite: 'same-origin', origin: 'null' }, 'foreign-origin'],
    [
      { fetchSite: 'cross-site', fetchMode: 'navigate', method: 'POST', origin: 'https://evil.test' },
      'foreign-origin',
    ],
  ]
  const origins = [
    'null',
    `http://${HOST}`,
    `https://${HOST}.evil.test`,
    `https://evil.test/${HOST}`,
    `https://${HOST}@evil.test`,
  ]
  const odd = [
    `https://${HOST}/`,
    `https://${HOST}, https://evil.test`,
    `HTTPS://${HOST.toUpperCase()}`,
    'https://',
    'https://sibling.example.test',
    'https://unknown.test',
    `https://${HOST}:`,
  ]
  for (const origin of [...origins, ...odd]) refused.push([{ origin }, 'foreign-origin'])
  for (const [demand, reason] of refused) {
    t.equal(found({ cookie: COOKIE, ...demand }), `auth_origin ${reason}`, JSON.stringify(demand))
    t.equal(found({ cookie: COOKIE, ...demand }, rowOf({ visibility: 'public' })), undefined)
    t.match(
      found({ cookie: COOKIE, ownAuthorization: 'Bearer x', ...demand }),
      { field: 'own' },
      'a token does',
    )
  }
  const { vm: _, ...unnamed } = rowOf()
  t.equal(
    found({ cookie: COOKIE, origin: 'https://unknown.test' }, unnamed),
    'auth_origin foreign-origin',
    'two unknown VMs are not one',
  )
})
