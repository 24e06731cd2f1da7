/** The access table: what it holds, what it tells of, and how it lives through the loss of its feed. */

import t, { type Test } from 'tap'
import type { Access } from '../../../auth/access.ts'
import { type AccessSettings, startAccessTable } from '../../../routing/access/access-table.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createAwayStore } from '../../helpers/away-store.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'
import { type FedStore, linesOf, SwitchingStore, storeFor } from '../feed/followed-store.ts'
import { PAST, poolOf, revocationOf, signingKeyOf, sshKeyOf, tokenOf } from './access-documents.ts'

const FAST = { minRetryMs: 1, maxRetryMs: 4, probeMs: 10 }

async function tableFor(t: Test, store: FedStore, settings: AccessSettings = {}) {
  const log = createListLog()
  const table = await startAccessTable({ store, log }, { ...FAST, ...settings })
  t.teardown(() => table[Symbol.asyncDispose]())
  // What auth asks for.
  const access: Access = table
  return { table, access, log }
}

/** How often it rang so far. */
function ringsOf({ onChange }: Pick<Access, 'onChange'>, table: Access) {
  const rings = { count: 0, end: () => {} }
  rings.end = onChange.call(table, () => {
    rings.count += 1
  })
  return rings
}

async function putAll(store: Store): Promise<void> {
  await store.put('pool/web', poolOf('web', 'ada'))
  await store.put('pool/free', poolOf('free'))
  await store.put('key/k1', sshKeyOf('k1', 'ada'))
  await store.put('token/t1', tokenOf('t1'))
  await store.put(`signing-key/${'a'.repeat(43)}`, signingKeyOf('a'))
  await store.put('revocation/user/a/b', revocationOf('user', 'a/b'))
}

t.test('holds what decisions need, and no more of it', async (t) => {
  const store = await storeFor(t)
  await putAll(store)
  await store.put('vm/web', {})
  const { access, table } = await tableFor(t, store)
  t.equal(table.ready, true)
  t.equal(access.ageMs, 0)
  t.equal(access.awayMs, 0)
  t.equal(access.findOwner('web'), 'ada')
  t.equal(access.findOwner('free'), undefined)
  t.same(access.poolsOf('ada'), ['web'])
  t.same(access.poolsOf('bob'), [])
  t.strictSame(access.findSshKey('k1'), {
    id: 'k1',
    user: 'ada',
    type: 'ssh-ed25519',
    publicKey: sshKeyOf('k1', 'ada').publicKey,
  })
  const { label: _label, createdAt: _createdAt, createdBy: _createdBy, ...token } = tokenOf('t1')
  t.strictSame(access.findApiToken('t1'), token)
  const { createdAt: _at, ...key } = signingKeyOf('a')
  t.strictSame(access.findSigningKey('a'.repeat(43)), key)
  t.strictSame(access.listSigningKeys(), [key])
  t.equal(access.listSigningKeys(), access.listSigningKeys(), 'one list as long as nothing changes')
  t.equal(access.findRevocation('user', 'a/b'), Date.parse(PAST))
  t.equal(access.findRevocation('session', 'a/b'), undefined)
  t.ok(Object.isFrozen(access.findApiToken('t1')))
})

t.test('follows each change, and rings once for it, in its turn', async (t) => {
  const store = await storeFor(t)
  const { access } = await tableFor(t, store)
  const seen: unknown[] = []
  access.onChange(() => seen.push([access.findOwner('web'), access.findRevocation('session', 's1')]))
  const { version } = access
  await store.put('pool/web', poolOf('web', 'ada'))
  await store.put('revocation/session/s1', revocationOf('session', 's1'))
  await store.put('pool/web', poolOf('web', 'bob'))
  await store.delete('pool/web')
  await until(() => seen.length === 4, 'four rings')
  t.same(seen, [
    ['ada', undefined],
    ['ada', Date.parse(PAST)],
    ['bob', Date.parse(PAST)],
    [undefined, Date.parse(PAST)],
  ])
  t.equal(access.version, version + 4)
  t.same(access.poolsOf('bob'), [])
})

t.test('does not tell of what changes no decision', async (t) => {
  const store = await storeFor(t)
  await putAll(store)
  await store.put('revocation/session/old', { ...revocationOf('session', 'old'), expiresAt: PAST })
  const { access } = await tableFor(t, store)
  const rings = ringsOf(access, access)
  const { version } = access
  await store.put('pool/web', { ...poolOf('web', 'ada'), cpuMillis: 2_000 })
  await store.put('key/k1', { ...sshKeyOf('k1', 'ada'), label: 'another' })
  await store.put('token/t1', { ...tokenOf('t1'), label: 'another' })
  await store.put('vm/web', {})
  await store.delete('revocation/session/old')
  await store.put('pool/last', poolOf('last', 'ada'))
  await until(() => access.findOwner('last') === 'ada', 'the last change')
  t.equal(access.findRevocation('session', 'old'), undefined)
  t.equal(rings.count, 1)
  t.equal(access.version, version + 1)
})

t.test('tells of a revocation that is taken back before its end', async (t) => {
  const store = await storeFor(t)
  await putAll(store)
  const { access } = await tableFor(t, store)
  const rings = ringsOf(access, access)
  await store.delete('revocation/user/a/b')
  await until(() => rings.count === 1, 'a ring')
  t.equal(access.findRevocation('user', 'a/b'), undefined)
})

t.test('rings nobody who has left', async (t) => {
  const store = await storeFor(t)
  const { access } = await tableFor(t, store)
  const ring = t.captureFn(() => {})
  const [first, second] = [access.onChange(ring), access.onChange(ring)]
  first()
  await store.put('pool/web', poolOf('web', 'ada'))
  await until(() => access.findOwner('web') === 'ada', 'the first change')
  second()
  await store.put('pool/web', poolOf('web', 'bob'))
  await until(() => access.findOwner('web') === 'bob', 'the second change')
  t.equal(ring.calls.length, 1)
})

t.test('a record that breaks a rule changes nothing, also through a load', async (t) => {
  const store = await storeFor(t)
  await putAll(store)
  const switching = new SwitchingStore(store)
  const { access, log } = await tableFor(t, switching)
  await store.put('pool/web', { ...poolOf('web', 'mallory'), memoryBytes: -1 })
  await store.put('token/t1', { ...tokenOf('t1'), digest: 'short' })
  await store.put('key/k1', sshKeyOf('k2', 'mallory'))
  await store.put(`signing-key/${'a'.repeat(43)}`, { ...signingKeyOf('a'), publicKey: { kty: 'RSA' } })
  await store.put('revocation/user/a/b', { ...revocationOf('user', 'a/b'), at: 'never' })
  await until(() => linesOf(log, 'error').length === 5, 'five refusals')
  const rings = ringsOf(access, access)
  switching.resync()
  await until(() => rings.count === 1, 'the load')
  t.equal(access.findOwner('web'), 'ada')
  t.equal(access.findSshKey('k1')?.user, 'ada')
  t.ok(access.findApiToken('t1'))
  t.equal(access.listSigningKeys().length, 1)
  t.ok(access.findRevocation('user', 'a/b'))
})

t.test('a load replaces everything at once', async (t) => {
  const store = await storeFor(t)
  await putAll(store)
  const away = createAwayStore(store)
  const { access } = await tableFor(t, away)
  away.goAway()
  await until(() => access.awayMs > 0, 'the store is away')
  t.ok(access.ageMs > 0)
  const other = await storeFor(t)
  await other.put('pool/web', poolOf('web', 'bob'))
  await other.put(`accept/${(await other.list('', { limit: 1 })).storeId}`, {})
  const seen: unknown[] = []
  access.onChange(() => seen.push([access.findOwner('web'), access.findSshKey('k1'), access.ageMs > 0]))
  away.comeBack(other)
  await until(() => access.ageMs === 0, 'it is fresh again')
  t.same(seen, [['bob', undefined, true]])
  t.equal(access.findRevocation('user', 'a/b'), undefined)
  t.equal(access.awayMs, 0)
})

t.test('is empty and not ready while the store has never answered', async (t) => {
  const away = createAwayStore(await storeFor(t))
  away.goAway()
  const { table } = await tableFor(t, away)
  t.equal(table.ready, false)
  t.equal(table.ageMs, Number.POSITIVE_INFINITY)
  t.equal(table.awayMs, Number.POSITIVE_INFINITY)
  t.same(table.listSigningKeys(), [])
})
