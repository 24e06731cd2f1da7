/** What was let in goes on until its right, its credential, its key or the edge's own knowledge ends. */

import t from 'tap'
import { gateKitFor, pass, requestOf, rowFor, rowOf, withCookie } from './gate-kit.ts'

const PUBLIC = rowOf({ visibility: 'public' })

t.test('decides from memory what was verified once, and again when anything changed', async (t) => {
  const kit = await gateKitFor(t)
  const cookie = await kit.sign('cookie', { sub: 'ann', sid: 's1' })
  const row = rowFor('user', 'ann')
  const client = { lastPassage: undefined }
  t.equal(kit.gate.find(withCookie(cookie, { client }), row), undefined, 'never seen')
  const passage = await pass(kit, withCookie(cookie, { client }), row)
  t.equal(kit.gate.find(withCookie(cookie, { client }), row), passage, 'the same connection')
  t.equal(kit.gate.find(withCookie(cookie), row), passage, 'another connection')
  t.throws(
    () => kit.gate.find(withCookie(cookie, { client }), rowOf()),
    { name: 'AuthError', reason: 'no-grant' },
    'another row',
  )
  t.equal(kit.gate.find(withCookie(cookie, { client }), row)?.subject, 'ann')
  kit.table.revocations.set('session/s1', kit.clock.ms)
  t.equal(kit.gate.find(withCookie(cookie, { client }), row)?.subject, 'ann', 'not told yet')
  kit.table.change()
  for (const given of [withCookie(cookie, { client }), withCookie(cookie)]) {
    t.throws(() => kit.gate.find(given, row), { code: 'auth_required', reason: 'session-revoked' })
  }
})

t.test('a grant and a cookie end when they say so, on a connection that stays', async (t) => {
  const kit = await gateKitFor(t)
  const client = { lastPassage: undefined }
  const row = rowOf({
    grants: [
      {
        to: { kind: 'user', value: 'ann' },
        role: 'viewer',
        expiresAt: new Date(kit.clock.ms + 500).toISOString(),
      },
    ],
  })
  const cookie = await kit.sign('cookie', { sub: 'ann', sid: 's1', exp: kit.nowS() + 10 })
  const passage = await pass(kit, withCookie(cookie, { client }), row)
  kit.clock.ms += 500
  t.throws(() => kit.gate.find(withCookie(cookie, { client }), row), {
    name: 'AuthError',
    reason: 'no-grant',
  })
  t.throws(() => kit.gate.recheck(passage, requestOf(), row), { code: 'auth_forbidden' })
  const lasting = rowFor('user', 'ann')
  const again = await pass(kit, withCookie(cookie, { client }), lasting)
  kit.clock.ms += 14_600
  t.throws(() => kit.gate.find(withCookie(cookie, { client }), lasting), {
    code: 'auth_required',
    reason: 'expired',
  })
  t.throws(() => kit.gate.recheck(again, requestOf(), lasting), { code: 'auth_invalid', reason: 'expired' })
})

t.test('closes what is open when the right, the credential or the key is gone', async (t) => {
  const kit = await gateKitFor(t)
  const row = rowFor('user', 'ann')
  const cookie = await kit.sign('cookie', { sub: 'ann', sid: 's1', jti: 'c1' })
  const open = await pass(kit, withCookie(cookie), row)
  const recheck =
    (at: typeof row | undefined, isConnect = false) =>
    () =>
      kit.gate.recheck(open, { isConnect }, at)
  t.doesNotThrow(recheck(row))
  t.throws(
    recheck(row, true),
    { name: 'AuthError', reason: 'tunnel-needs-root' },
    'although it was just found good',
  )
  t.throws(recheck(undefined), { code: 'auth_forbidden', reason: 'route-gone' })
  t.throws(recheck(rowOf()), { code: 'auth_forbidden', reason: 'no-grant' })
  t.doesNotThrow(recheck(rowOf({ visibility: 'public' })), 'a public port needs no grant')
  for (const revoked of ['session/s1', 'credential/c1', 'user/ann']) {
    kit.table.revocations.set(revoked, kit.clock.ms)
    kit.table.change()
    t.throws(recheck(row), { code: 'auth_invalid' }, revoked)
    t.throws(
      recheck(rowOf({ visibility: 'public' })),
      { code: 'auth_invalid' },
      `${revoked}, on a public port`,
    )
    kit.table.revocations.clear()
    kit.table.change()
    t.doesNotThrow(recheck(row))
  }
  kit.table.hiddenSigningKeys.add(kit.signingKey.kid)
  kit.table.change()
  t.throws(recheck(row), { name: 'AuthError', reason: 'unknown-kid' })
  t.throws(
    () => kit.gate.find(withCookie(cookie), row),
    { name: 'AuthError', reason: 'unknown-kid' },
    'seen before or not',
  )
})

t.test('a grant for the new port of a row says nothing of a stream to the old one', async (t) => {
  const kit = await gateKitFor(t)
  const [ann, olga] = [
    await kit.sign('cookie', { sub: 'ann', sid: 's1' }),
    await kit.sign('cookie', { sub: 'olga', sid: 's2' }),
  ]
  const [before, after] = [rowFor('user', 'ann'), rowFor('user', 'ann', { port: 8_000 })]
  const open = await pass(kit, withCookie(ann), before)
  const owned = await pass(kit, withCookie(olga), before)
  t.throws(() => kit.gate.recheck(open, requestOf(), after), { name: 'AuthError', reason: 'no-grant' })
  t.throws(() => kit.gate.recheck(open, requestOf(), rowFor('user', 'ann', { vm: 'other' })), {
    name: 'AuthError',
    reason: 'another-vm',
  })
  t.doesNotThrow(() => kit.gate.recheck(owned, requestOf(), after), 'the owner owns all of them')
})

t.test('a stranger is closed out when a port becomes private', async (t) => {
  const { gate } = await gateKitFor(t)
  const passage = gate.find(requestOf(), PUBLIC)
  t.doesNotThrow(() => gate.recheck(passage ?? {}, requestOf(), PUBLIC))
  t.throws(() => gate.recheck(passage ?? {}, requestOf(), rowOf()), {
    code: 'auth_required',
    reason: 'private-now',
  })
})

t.test('rings when anything was revoked, until that is ended', async (t) => {
  const { gate, table } = await gateKitFor(t)
  let rings = 0
  const end = gate.onChange(() => {
    rings += 1
  })
  table.change()
  t.equal(rings, 1)
  end()
  table.change()
  t.equal(rings, 1)
})

t.test('an assertion is renewed on a connection that stays', async (t) => {
  const kit = await gateKitFor(t)
  const cookie = await kit.sign('cookie', { sub: 'olga', sid: 's1', exp: kit.nowS() + 9_000 })
  const client = { lastPassage: undefined }
  const first = await pass(kit, withCookie(cookie, { client }), rowOf())
  const row = rowOf()
  kit.clock.ms += 1_001
  const same = await pass(kit, withCookie(cookie, { client }), row)
  t.equal(same.lines, first.lines)
  kit.clock.ms += 240_000
  const later = await pass(kit, withCookie(cookie, { client }), row)
  t.not(later.lines, first.lines)
})
