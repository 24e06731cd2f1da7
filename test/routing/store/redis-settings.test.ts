/** Redis URLs: what they say, and that a wrong one is refused without repeating it. */

import t from 'tap'
import { parseRedisUrl } from '../../../routing/store/redis-settings.ts'
import { startRedisStore } from '../../../routing/store/redis-store.ts'
import { createListLog } from '../../helpers/list-log.ts'

const PLAIN = {
  kind: 'single',
  addresses: [{ host: 'cache.example', port: 6379 }],
  master: '',
  database: 0,
  isEncrypted: false,
  username: undefined,
  password: undefined,
}

t.test('reads every form', async (t) => {
  const two = [
    { host: 'a', port: 1 },
    { host: 'b.example', port: 26379 },
  ]
  const cases: [string, object][] = [
    ['redis://cache.example', {}],
    ['redis://cache.example/', {}],
    ['redis://cache.example:6379/12', { database: 12 }],
    ['redis://[::1]:7000', { addresses: [{ host: '::1', port: 7000 }] }],
    ['redis://[2001:db8::1]', { addresses: [{ host: '2001:db8::1', port: 6379 }] }],
    ['rediss://cache.example', { isEncrypted: true }],
    ['redis://me:p%40ss%3A%2F%C3%A9@cache.example', { username: 'me', password: 'p@ss:/é' }],
    ['redis://:a:b@cache.example', { password: 'a:b' }],
    ['redis://me@cache.example', { username: 'me' }],
    ['redis+sentinel://a:1,b.example/my%20master', { kind: 'sentinel', addresses: two, master: 'my master' }],
    [
      'rediss+sentinel://a:1,b.example/x',
      { kind: 'sentinel', addresses: two, master: 'x', isEncrypted: true },
    ],
    [
      'rediss+cluster://u:p@a:1,b.example:26379',
      { kind: 'cluster', addresses: two, isEncrypted: true, username: 'u', password: 'p' },
    ],
  ]
  for (const [url, expected] of cases) t.strictSame(parseRedisUrl(url), { ...PLAIN, ...expected }, url)
})

t.test('refuses everything else, without the password', async (t) => {
  const wrong = [
    '',
    'cache.example',
    'http://u:SECRET@cache.example',
    'redis+ring://u:SECRET@cache.example',
    'redis://u:SECRET@',
    'redis://u:SECRET@cache.example:0',
    'redis://u:SECRET@cache.example:65536',
    'redis://u:SECRET@cache.example:x',
    'redis://u:SECRET@cache example',
    'redis://u:SECRET@[::g]:1',
    'redis://u:SEC@RET@cache.example',
    'redis://u:SECRET%@cache.example',
    'redis://u:SECRET@a,b',
    'redis://u:SECRET@a,',
    'redis://u:SECRET@a/one',
    'redis://u:SECRET@a/1/2',
    'redis://u:SECRET@a?db=1',
    'redis://u:SECRET@a#1',
    'redis+sentinel://u:SECRET@a:1',
    'redis+sentinel://u:SECRET@a:1/',
    'redis+cluster://u:SECRET@a:1/1',
  ]
  for (const url of wrong) {
    const error = await startRedisStore({ url }, { log: createListLog() }).catch((error) => error)
    t.match(error, { code: 'store_unusable', detail: /^The Redis URL cannot be read; it needs / }, url)
    t.notMatch(`${error.stack}${error.detail}${JSON.stringify(error.context)}`, 'SECRET')
  }
})

t.test('refuses a prefix that would break the names of keys', async (t) => {
  for (const prefix of ['', '{a}', 'a b', 'é', 'a'.repeat(65)]) {
    const starting = startRedisStore({ url: 'redis://127.0.0.1:1', prefix }, { log: createListLog() })
    await t.rejects(starting, { code: 'store_unusable', detail: /prefix/ })
  }
})
