/** The login book: sessions end for good, and of what can be taken once one taker gets it. */

import t from 'tap'
import { redisFor } from '../../helpers/redis.ts'
import { bookFor, codeOf, digestOf, instant, mailOf, NOW, sessionOf, storesOn } from './login-bed.ts'

const redis = await redisFor(t)
const RACERS = 20

for (const [name, storeFor] of Object.entries(storesOn(redis))) {
  t.test(`of takers that race one gets it (${name})`, async (t) => {
    const { book } = await bookFor(t, storeFor)
    await book.putSession(sessionOf('s1'))
    await book.putCode(digestOf('1'), codeOf(sessionOf('s1')))
    await book.putMailLogin(digestOf('2'), mailOf())
    const racers = Array.from({ length: RACERS })
    const codes = await Promise.all(racers.map(() => book.takeCode(digestOf('1'))))
    t.same(codes.filter(Boolean), [codeOf(sessionOf('s1'))])
    const mails = await Promise.all(racers.map(() => book.takeMailLogin(digestOf('2'))))
    t.same(mails.filter(Boolean), [mailOf()])
    t.equal(await book.takeCode(digestOf('1')), undefined, 'nor later')
  })

  t.test(`a session ends once and for all, whoever ends it (${name})`, async (t) => {
    const { book, store } = await bookFor(t, storeFor)
    await book.putSession(sessionOf('s1'))
    t.equal(await book.hasSession('s1'), true)
    await Promise.all([book.endSession('s1'), book.endSession('s1'), book.endSession('s1')])
    t.equal(await book.hasSession('s1'), false)
    t.equal(await store.get('session/s1'), undefined)
    const revocation = await store.get('revocation/session/s1')
    t.match(revocation?.value, { kind: 'session', value: 's1', at: instant(0) })
    t.ok(String(revocation?.value.expiresAt) >= sessionOf('s1').expiresAt)
  })
}

t.test('a session is deleted and revoked in one commit', async (t) => {
  const { book, store } = await bookFor(t)
  await book.putSession(sessionOf('s1'))
  const { revision, mark } = await store.list('', { limit: 1 })
  await book.endSession('s1')
  const stop = new AbortController()
  for await (const event of store.watch(revision, stop.signal, mark)) {
    const keys = event.kind === 'changes' ? event.changes.map(({ key }) => key).sort() : []
    t.same(keys, ['revocation/session/s1', 'session/s1'])
    stop.abort()
  }
  t.match((await store.get('revocation/session/s1'))?.value, { expiresAt: sessionOf('s1').expiresAt })
})

t.test('a session that nobody knows is revoked all the same, for as long as any lasts', async (t) => {
  const { book, store } = await bookFor(t)
  await book.endSession('gone')
  const { expiresAt } = (await store.get('revocation/session/gone'))?.value ?? {}
  t.ok(String(expiresAt) > instant(400 * 86_400_000))
})

t.test('a session has ended when it ran out, cannot be read, or its user was told to leave', async (t) => {
  const { book, store, clock } = await bookFor(t)
  await book.putSession(sessionOf('s1', { expiresAt: instant(1_000) }))
  t.equal(await book.hasSession('s1'), true)
  clock.ms = NOW + 1_000
  t.equal(await book.hasSession('s1'), false)
  await store.put('session/s2', { id: 's2' })
  t.equal(await book.hasSession('s2'), false)
  t.equal(await book.hasSession('never'), false)
  const revocation = { kind: 'user', value: 'ada', at: instant(5_000), expiresAt: instant(86_400_000) }
  await store.put('revocation/user/ada', revocation)
  await book.putSession(sessionOf('s3', { createdAt: instant(5_000) }))
  await book.putSession(sessionOf('s4', { createdAt: instant(5_001) }))
  t.equal(await book.hasSession('s3'), false)
  t.equal(await book.hasSession('s4'), true)
})

t.test('a session is new, and fits its kind', async (t) => {
  const { book, store } = await bookFor(t)
  await book.putSession(sessionOf('s1'))
  await t.rejects(book.putSession(sessionOf('s1', { user: 'mallory' })), { code: 'api_revision_conflict' })
  await t.rejects(book.putSession(sessionOf('not/an/id')), { code: 'api_record_invalid' })
  t.match((await store.get('session/s1'))?.value, { user: 'ada' })
})

t.test('a code is for the time that it lasts, and for a session that lasts', async (t) => {
  const { book, clock } = await bookFor(t)
  await book.putSession(sessionOf('s1'))
  await book.putCode(digestOf('1'), codeOf(sessionOf('s1')))
  await book.putCode(digestOf('2'), codeOf(sessionOf('s1')))
  await book.putCode(digestOf('3'), codeOf(sessionOf('never')))
  t.equal(await book.takeCode(digestOf('3')), undefined, 'its session is not there')
  t.equal(await book.takeCode(digestOf('4')), undefined, 'there is none')
  clock.ms = NOW + 60_000
  t.equal(await book.takeCode(digestOf('1')), undefined, 'it has run out')
  clock.ms = NOW
  t.equal(await book.takeCode(digestOf('1')), undefined, 'and was deleted by that')
  await book.endSession('s1')
  t.equal(await book.takeCode(digestOf('2')), undefined, 'its session has ended')
})

t.test('a code is never written over', async (t) => {
  const { book } = await bookFor(t)
  await book.putSession(sessionOf('s1'))
  await book.putCode(digestOf('1'), codeOf(sessionOf('s1')))
  const other = codeOf(sessionOf('s1'), { hostname: 'evil.example.test' })
  await t.rejects(book.putCode(digestOf('1'), other), { code: 'api_revision_conflict' })
  t.equal((await book.takeCode(digestOf('1')))?.hostname, 'web.example.test')
})

t.test('a code or mail that cannot be read is none', async (t) => {
  const { book, store } = await bookFor(t)
  await store.put(`login-code/${digestOf('1')}`, { digest: digestOf('1') })
  await store.put(`mail-login/${digestOf('1')}`, { digest: digestOf('1') })
  t.equal(await book.takeCode(digestOf('1')), undefined)
  t.equal(await book.findMailLogin(digestOf('1')), undefined)
  t.equal(await book.takeMailLogin(digestOf('1')), undefined)
})

t.test('a mail can be looked at without being taken, until it runs out', async (t) => {
  const { book, clock } = await bookFor(t)
  await book.putMailLogin(digestOf('1'), mailOf())
  t.strictSame({ ...(await book.findMailLogin(digestOf('1'))) }, mailOf())
  t.strictSame({ ...(await book.findMailLogin(digestOf('1'))) }, mailOf())
  clock.ms = NOW + 600_000
  t.equal(await book.findMailLogin(digestOf('1')), undefined)
  t.equal(await book.takeMailLogin(digestOf('1')), undefined)
  t.equal(await book.findMailLogin(digestOf('2')), undefined)
})

t.test('a credential is revoked until its end; of two revocations the later moments count', async (t) => {
  const { book, store, clock } = await bookFor(t)
  await book.revokeCredential('jti', instant(5_000))
  const first = { kind: 'credential', value: 'jti', at: instant(0), expiresAt: instant(5_000) }
  t.strictSame((await store.get('revocation/credential/jti'))?.value, first)
  clock.ms = NOW + 1
  await book.revokeCredential('jti', instant(4_000))
  t.strictSame((await store.get('revocation/credential/jti'))?.value, { ...first, at: instant(1) })
  clock.ms = NOW - 1
  await book.revokeCredential('jti', instant(6_000))
  const { at, expiresAt } = (await store.get('revocation/credential/jti'))?.value ?? {}
  t.same([at, expiresAt], [instant(1), instant(6_000)])
})

t.test('a revocation that cannot be read is written anew', async (t) => {
  const { book, store } = await bookFor(t)
  await store.put('revocation/credential/jti', { at: 'never' })
  await book.revokeCredential('jti', instant(5_000))
  t.match((await store.get('revocation/credential/jti'))?.value, { at: instant(0) })
})

t.test('says it when the store is away', async (t) => {
  const { book, store } = await bookFor(t)
  await store[Symbol.asyncDispose]()
  const code = { code: 'store_closed' }
  await t.rejects(book.putSession(sessionOf('s1')), code)
  await t.rejects(book.hasSession('s1'), code)
  await t.rejects(book.endSession('s1'), code)
  await t.rejects(book.takeCode(digestOf('1')), code)
  await t.rejects(book.useLink({ vm: 'web', id: 'l1' }), code)
})
