/** Which request fields go on to a VM, which are read by the edge, and which no spelling brings through. */

import t from 'tap'
import { readRequestFields } from '../../proxy/request-fields.ts'

/** Names and values in one text: `Name: value|Name: value`. */
function read(text: string) {
  const lines = text === '' ? [] : text.split('|')
  return readRequestFields(
    lines.flatMap((line) => {
      const colon = line.indexOf(': ')
      return [line.slice(0, colon), line.slice(colon + 2)]
    }),
  )
}

/** All that a VM gets of it when the edge took no credential. */
function kept(text: string): string[] {
  const { kept, authorizationLines, proofLines, cookieLine } = read(text)
  return (kept + authorizationLines + proofLines + cookieLine).split('\r\n').slice(0, -1)
}

t.test('keeps end-to-end fields as they were written, in their order', async (t) => {
  const lines = ['B: 1', 'a-B_c: 2', 'Content-Type: text/plain', 'B: 3', 'Range: bytes=0-1']
  t.same(kept(lines.join('|')), lines)
  t.equal(read('').kept, '')
})

const OURS = [
  ...['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Forwarded-Port', 'Forwarded', 'Via'],
  ...[
    'X-Request-Id',
    'traceparent',
    'tracestate',
    'X-Landfall-User',
    'X-Landfall-Assertion',
    'X-Landfall-Authorization',
    'X-Landfall-',
  ],
]
const HOP_BY_HOP = [
  ...[
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'TE',
    'Transfer-Encoding',
    'Upgrade',
  ],
  ...['HTTP2-Settings'],
]
const WRITTEN_ANEW = ['Host', 'Content-Length', 'Expect', 'CDN-Loop']

t.test('keeps none of the fields that are ours, hop-by-hop or written anew, in no spelling', async (t) => {
  for (const name of [...OURS, ...HOP_BY_HOP, ...WRITTEN_ANEW]) {
    const underscored = name.replaceAll('-', '_')
    const mixed = name.replace('-', '_')
    for (const spelling of [
      name,
      name.toLowerCase(),
      name.toUpperCase(),
      underscored,
      underscored.toLowerCase(),
      mixed,
    ])
      t.equal(read(`${spelling}: forged`).kept, '', spelling)
  }
})

t.test('keeps none of our names, whichever sign stands for the dashes', async (t) => {
  for (const name of [
    'X.Landfall.User',
    'x~landfall~user',
    'X-Landfall_User',
    "x'landfall'user",
    'X_LANDFALL-Assertion',
  ])
    t.same(kept(`${name}: forged`), [], name)
})

t.test('keeps names that only look like ours', async (t) => {
  for (const line of [
    'X-Landfall: 1',
    'X-Landfallen: 1',
    'X-Forwarded: 1',
    'My-X-Landfall-User: 1',
    'Vial: 1',
  ])
    t.same(kept(line), [line])
})

t.test('drops what Connection names, in any case, and each copy of it', async (t) => {
  t.same(kept('X-Secret: 1|Connection: close, x-secret ,\tX-OTHER|x-SECRET: 2|X-Other: 3|X-Kept: 4'), [
    'X-Kept: 4',
  ])
  t.same(kept('Connection: x-a|A: 1|Connection: x-b|X-A: 1|X-B: 2'), ['A: 1'], 'over two fields')
  t.same(kept('Connection: keep-alive|Accept: x'), ['Accept: x'])
  t.same(kept('Connection: ,, ,|Accept: x'), ['Accept: x'], 'names nothing')
  t.same(kept('Connection: x-a\xa0|X-A: 1'), ['X-A: 1'], 'U+00A0 is no blank')
  t.same(kept('Connection: cookie|Cookie: a=1|X: y'), ['X: y'], 'cookies too')
})

t.test('framing is read although Connection names its field', async (t) => {
  t.match(read('Connection: content-length, host|Content-Length: 5|Host: a'), { length: '5', host: 'a' })
})

t.test('joins cookies to one field', async (t) => {
  t.same(kept('Cookie: a=1|X: y|cookie: b=2|Cookie: c=3; d=4'), ['X: y', 'cookie: a=1; b=2; c=3; d=4'])
  t.same(kept('Cookie: a=1'), ['cookie: a=1'])
  t.same(kept('Cookie: |Cookie: a=1'), ['cookie: a=1'], 'an empty one first')
})

t.test('reads what decides the framing, without judging it', async (t) => {
  t.match(
    read(
      'Host: a|HOST: b|Content-Length: 1|content-length: 2|Transfer-Encoding: gzip|transfer-encoding: chunked',
    ),
    {
      count: 6,
      hostCount: 2,
      lengthCount: 2,
      transferEncoding: 'gzip, chunked',
    },
  )
  t.match(read('Expect: 100-continue|TE: trailers|CDN-Loop: a|CDN-Loop: b'), {
    expect: '100-continue',
    te: 'trailers',
    cdnLoop: 'a, b',
  })
  t.match(read('X: y'), {
    count: 1,
    hostCount: 0,
    lengthCount: 0,
    length: '',
    transferEncoding: '',
    connection: '',
  })
})

t.test('no underscore spelling frames, routes or upgrades', async (t) => {
  t.match(read('Content_Length: 5|Transfer_Encoding: chunked|Ex_pect: x|CDN_Loop: a'), {
    count: 4,
    lengthCount: 0,
    length: '',
    transferEncoding: '',
    cdnLoop: '',
  })
})

t.test('keeps Accept and User-Agent, and remembers the first of each', async (t) => {
  const fields = read('Accept: text/html|User-Agent: one|accept: */*|User-Agent: two')
  t.match(fields, { accept: 'text/html', userAgent: 'one' })
  t.same(fields.kept.split('\r\n').slice(0, -1), [
    'Accept: text/html',
    'User-Agent: one',
    'accept: */*',
    'User-Agent: two',
  ])
})

t.test('sees control characters in any value, but lets tabs and high bytes pass', async (t) => {
  for (const value of ['\0', 'a\x01', '\x08', 'a\nb', 'a\rb', '\x0b', '\x1f', '\x7f'])
    t.equal(read(`X: ${value}`).hasControl, true, JSON.stringify(value))
  t.equal(read('X-Forwarded-For: a\rb').hasControl, true, 'in a field that is dropped')
  t.equal(read('Host: a\0').hasControl, true, 'in a field that is read')
  for (const value of ['', 'a\tb', 'a b', '\x80', '\xff']) t.equal(read(`X: ${value}`).hasControl, false)
})

t.test('passes over the pseudo-header fields of HTTP/2', async (t) => {
  const fields = readRequestFields([':method', 'GET', ':authority', 'a', ':path', '/', 'x', 'y'])
  t.match(fields, { count: 1, hostCount: 0, kept: 'x: y\r\n' })
})

t.test('reads credentials and counts them, and keeps their lines apart', async (t) => {
  const fields = read(
    'authorization: Basic a|DPoP: p|AUTHORIZATION: Bearer b|X-Landfall-Authorization: Bearer c|x-landfall-authorization: d|dpop: q|X: y',
  )
  t.match(fields, {
    ...{ authorization: 'Basic a', authorizationCount: 2 },
    ...{ ownAuthorization: 'Bearer c', ownAuthorizationCount: 2 },
    ...{ proof: 'p', proofCount: 2 },
    ...{ authorizationLines: 'authorization: Basic a\r\nAUTHORIZATION: Bearer b\r\n' },
    ...{ proofLines: 'DPoP: p\r\ndpop: q\r\n', kept: 'X: y\r\n' },
  })
  t.match(read('X: y'), {
    authorizationCount: 0,
    ownAuthorizationCount: 0,
    proofCount: 0,
    authorizationLines: '',
  })
})

t.test('an empty credential counts as one', async (t) => {
  t.match(read('Authorization: |Authorization: Bearer b'), { authorization: '', authorizationCount: 2 })
})

t.test('no underscore spelling is a credential or says who asks', async (t) => {
  t.match(read('X_Landfall_Authorization: Bearer c|Sec_Fetch_Site: same-origin|Sec_Fetch_Mode: navigate'), {
    ...{ ownAuthorization: '', ownAuthorizationCount: 0, fetchSite: '', fetchMode: '', kept: '' },
  })
})

t.test('a credential that Connection names is read, and goes no further', async (t) => {
  const fields = read('Connection: Authorization, dpop|Authorization: Bearer a|DPoP: p')
  t.match(fields, { authorization: 'Bearer a', authorizationCount: 1, proof: 'p' })
  t.match(fields, { authorizationLines: '', proofLines: '' })
})

t.test('reads who asks, keeps it, and makes two of them neither', async (t) => {
  const lines = ['Origin: https://a', 'Sec-Fetch-Site: same-site', 'Sec-Fetch-Mode: cors']
  t.same(kept(lines.join('|')), lines)
  t.match(read(lines.join('|')), { origin: 'https://a', fetchSite: 'same-site', fetchMode: 'cors' })
  t.match(read('Origin: https://a|origin: https://b'), { origin: 'https://a, https://b' })
})

t.test('takes our own cookies out, in any case, and leaves the others as they were', async (t) => {
  const cases: [string, string[]][] = [
    ['__Host-landfall=x', []],
    ['__Host-landfall=x; __host-LANDFALL-session=y;__HOST-landfall-flow=z', []],
    ['__Host-landfall=x; a=1', ['cookie: a=1']],
    ['a=1; __Host-landfall=x', ['cookie: a=1']],
    ['a=1; __Host-landfall=x; b="2 ;  c=3;d', ['cookie: a=1; b="2 ;  c=3;d']],
    ['a=1;__Host-landfall', ['cookie: a=1']],
    ['a=__Host-landfall; my__Host-landfall=x', ['cookie: a=__Host-landfall; my__Host-landfall=x']],
    ['__Host-other=1; __Secure-landfall=2', ['cookie: __Host-other=1; __Secure-landfall=2']],
    ['a=1;; b=2;', ['cookie: a=1;; b=2;']],
  ]
  for (const [cookie, wanted] of cases) t.same(kept(`Cookie: ${cookie}`), wanted, cookie)
  t.same(kept('Cookie: a=1|Cookie: __Host-landfall=x|Cookie: b=2'), ['cookie: a=1; b=2'])
  t.equal(read('Cookie: a=1; __Host-landfall=x').cookie, 'a=1; __Host-landfall=x', 'the gate reads them')
})
