/** Each credential is verified once, and no number of them fills the memory. */

import t from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import { SeenCredentials } from '../../../auth/tokens/seen-credentials.ts'
import { TwoGenerations } from '../../../auth/tokens/two-generations.ts'
import { digestOf } from '../../../lib/digest.ts'

t.test('many who bring the same one at once wait for one verification', async (t) => {
  const seen = new SeenCredentials<{ name: string }>()
  const { promise, resolve } = Promise.withResolvers<{ name: string }>()
  let verifications = 0
  const verify = () => {
    verifications += 1
    return promise
  }
  const waiting = Array.from({ length: 50 }, () => seen.verify('d', verify))
  t.equal(seen.find('d'), undefined)
  const ann = { name: 'ann' }
  resolve(ann)
  t.ok((await Promise.all(waiting)).every((identity) => identity === ann))
  t.equal(verifications, 1)
  t.equal(seen.find('d'), ann)
})

t.test('a forgery is known for a while; what may come right is asked for again', async (t) => {
  const clock = { ms: 0 }
  const seen = new SeenCredentials<object>({ now: () => clock.ms })
  const fail = (reason: string, code: 'auth_invalid' | 'auth_busy' = 'auth_invalid') =>
    t.rejects(
      seen.verify(reason, () => Promise.reject(new AuthError(code, reason))),
      { name: 'AuthError', reason },
    )
  for (const reason of ['bad-signature', 'unknown-kid', 'not-yet']) await fail(reason)
  t.throws(() => seen.find('bad-signature'), {
    name: 'AuthError',
    code: 'auth_invalid',
    reason: 'bad-signature',
  })
  t.equal(seen.find('unknown-kid'), undefined)
  t.equal(seen.find('not-yet'), undefined)
  clock.ms = 30_000
  t.equal(seen.find('bad-signature'), undefined)
})

t.test('forgeries do not push out what is good, and neither has more than its room', async (t) => {
  const seen = new SeenCredentials<object>({ goodLimit: 100, badLimit: 10 })
  await seen.verify('good', async () => ({}))
  for (let index = 0; index < 1_000; index += 1) {
    await seen
      .verify(`b${index}`, () => Promise.reject(new AuthError('auth_invalid', 'bad-signature')))
      .catch(() => {})
  }
  t.ok(seen.find('good'))
  t.throws(() => seen.find('b999'), { code: 'auth_invalid' })
  t.equal(seen.find('b0'), undefined)
})

t.test('what throws before it is under way leaves nothing behind', async (t) => {
  const seen = new SeenCredentials<object>()
  const busy = () => {
    throw new AuthError('auth_busy', 'x')
  }
  t.throws(() => seen.verify('d', busy), { code: 'auth_busy' })
  t.ok(await seen.verify('d', async () => ({})))
})

t.test('two generations keep what is in use, and forget the rest', async (t) => {
  const map = new TwoGenerations<number>(100)
  map.set('used', 1)
  for (let index = 0; index < 10_000; index += 1) {
    map.set(`k${index}`, index)
    if (index % 20 === 0) t.equal(map.find('used'), 1)
    if (map.size > 100) t.fail(`${map.size} entries`)
  }
  t.equal(map.find('k9999'), 9_999)
  t.equal(map.find('k9000'), undefined)
  map.delete('used')
  t.equal(map.find('used'), undefined)
})

t.test('keeps a digest, not the secret', async (t) => {
  t.match(digestOf('secret'), /^[A-Za-z0-9_-]{43}$/)
  t.not(digestOf('secret'), digestOf('Secret'))
})
