/** What caches that several people share are told of answers of private ports. */

import t from 'tap'
import { markPrivate } from '../../proxy/private-caching.ts'
import { fakeExchange } from './fake-exchange.ts'

function marked(fields: readonly string[], visibility = 'private'): string[] {
  const route = { hostname: 'app.localhost', visibility, state: 'running', generation: 1 }
  const exchange = fakeExchange({ record: { route } })
  const changed = [...fields]
  markPrivate(changed, exchange)
  return changed
}

t.test('an answer of a private port is for its client alone, whatever the VM says', async (t) => {
  const cases: [string, string][] = [
    ['public, max-age=60', 'private, max-age=60'],
    ['max-age=60', 'private, max-age=60'],
    ['PUBLIC, s-maxage=60, max-age=5', 'private, max-age=5'],
    ['no-cache', 'private, no-cache'],
    ['', 'private'],
    ['no-store', 'no-store'],
    ['Private, max-age=3', 'Private, max-age=3'],
    ['private="set-cookie"', 'private="set-cookie"'],
  ]
  for (const [said, told] of cases) t.same(marked(['Cache-Control', said]), ['Cache-Control', told], said)
  t.same(marked(['ETag', '"x"']), ['ETag', '"x"', 'Cache-Control', 'private'])
  t.same(marked(['cache-control', 'public', 'cache-control', 's-maxage=1']), [
    ...['cache-control', 'private', 'cache-control', 'private'],
  ])
})

t.test('an answer of a public port stays as it is', async (t) => {
  t.same(marked(['ETag', '"x"'], 'public'), ['ETag', '"x"'])
  t.same(marked(['Cache-Control', 'public'], 'public'), ['Cache-Control', 'public'])
})
