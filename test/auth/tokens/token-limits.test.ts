/** A token's limits hold however the path is spelled. */

import fc from 'fast-check'
import t from 'tap'
import { findExcess, type LimitedRequest, readLimits } from '../../../auth/tokens/token-limits.ts'

const GET: LimitedRequest = { method: 'GET', target: '/', isUpgrade: false, isConnect: false }

const excessOf = (pathPrefix: string, target: string) => findExcess({ pathPrefix }, { ...GET, target }, 80)

t.test('a prefix covers whole segments', async (t) => {
  for (const target of [
    '/api',
    '/api/',
    '/api/x',
    '/api?x',
    '/api/?//',
    '/api/a.b/..c',
    '/api/...',
    '/api/%41',
  ]) {
    t.equal(excessOf('/api', target), undefined, target)
  }
  for (const target of [
    '/',
    '',
    '*',
    '/apis',
    '/ap',
    '/API',
    'api',
    '/x/api',
    '/api%2f',
    '/api;x',
    '?/api',
  ]) {
    t.equal(excessOf('/api', target), 'limit-path', target)
  }
  t.equal(excessOf('/api/', '/api'), 'limit-path')
  t.equal(excessOf('/api/', '/api/x'), undefined)
  t.equal(excessOf('/', '/anything'), undefined)
})

t.test('a target that servers may read as another path is outside of every prefix', async (t) => {
  const crafted = [
    '/../x',
    '/..',
    '/./x',
    '/.',
    '//x',
    '/a//b',
    '/\\..\\x',
    '/%2e%2e/x',
    '/%2E%2e',
    '/a%2Fb',
    '/%5c',
  ]
  const twice = [
    '/%252e%252e/x',
    '/%25252e',
    '/..;/x',
    '/..;a=b/x',
    '/.;x',
    '/a#b',
    '/%2e/',
    '/x/../../../etc',
  ]
  for (const rest of [...crafted, ...twice]) {
    t.equal(excessOf('/api', `/api${rest}`), 'limit-path', rest)
    t.equal(excessOf('/', rest), 'limit-path', `${rest} below /`)
  }
})

t.test('no spelling resolves to a place outside of the prefix and is taken for inside', async () => {
  const piece = fc.constantFrom(
    '/',
    'api',
    'x',
    '.',
    '..',
    '%2e',
    '%2E',
    '%2f',
    '%5C',
    '\\',
    ';',
    '?',
    '#',
    '%25',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 9 }), (pieces) => {
      const target = `/api${pieces.join('')}`
      if (excessOf('/api', target) !== undefined) return true
      const lenient = decodeURIComponent(
        decodeURIComponent(target.split('?')[0] ?? '').replace(/%(?![0-9a-f]{2})/gi, '%25'),
      )
      const { pathname } = new URL(lenient.replace(/;[^/]*/g, '').replace(/\\/g, '/'), 'https://a.test')
      return pathname === '/api' || pathname.startsWith('/api/')
    }),
    { numRuns: 3_000 },
  )
})

t.test('reads a long path in linear time', async (t) => {
  // Work, and not how long others had the processor.
  const before = process.threadCpuUsage()
  for (const part of ['/a', '%25', '/.', ';', '%252']) excessOf('/', `/${part.repeat(20_000)}`)
  t.ok(process.threadCpuUsage(before).user < 200_000)
})

t.test(
  'methods and ports count exactly; an upgrade is a GET; behind a tunnel nothing can be held to',
  async (t) => {
    const methods = ['GET']
    t.equal(findExcess({ methods }, GET, 80), undefined)
    t.equal(findExcess({ methods }, { ...GET, method: 'HEAD' }, 80), undefined, 'says less than GET')
    t.equal(findExcess({ methods: ['HEAD'] }, GET, 80), 'limit-method')
    t.equal(findExcess({ methods }, { ...GET, method: 'get' }, 80), 'limit-method')
    t.equal(findExcess({ methods }, { ...GET, method: 'CONNECT', isUpgrade: true }, 80), undefined)
    t.equal(
      findExcess({ methods: ['CONNECT'] }, { ...GET, method: 'CONNECT', isUpgrade: true }, 80),
      'limit-method',
    )
    const tunnel = { ...GET, method: 'CONNECT', target: '', isConnect: true }
    t.equal(findExcess({ methods: ['CONNECT'] }, tunnel, 22), 'limit-connect')
    t.equal(findExcess({ pathPrefix: '/' }, tunnel, 22), 'limit-connect')
    t.equal(findExcess({ ports: [22] }, tunnel, 22), undefined)
    t.equal(findExcess({ ports: [22] }, tunnel, 80), 'limit-port')
    t.equal(findExcess({ ports: [80] }, GET, undefined), 'limit-port')
  },
)

t.test('reads the claims of limits, and refuses what is not plain', async (t) => {
  t.equal(readLimits({ sub: 'x' }), undefined)
  t.strictSame(readLimits({ ports: [80], methods: ['GET'], path: '/a' }), {
    ports: [80],
    methods: ['GET'],
    pathPrefix: '/a',
  })
  const bad = [
    ...[[], '80', [80.5], [0], [65_536], ['80'], null, [[80]]].map((ports) => ({ ports })),
    ...[[], 'GET', ['get'], ['GET '], [''], null, ['GET\r\n']].map((methods) => ({ methods })),
    ...['', 'a', '/a b', '/%2e', '/a//b', '/a/../b', '/./a', '/a\\b', '/é', null, 7, ['/a'], '/..'].map(
      (path) => ({ path }),
    ),
  ]
  for (const claims of bad)
    t.throws(() => readLimits(claims), { code: 'auth_invalid' }, JSON.stringify(claims))
})
