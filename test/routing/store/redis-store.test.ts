/** The store in one Redis server: the promises of a store, foreign hands in its data, logins, encryption. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { generateKey } from '../../../acme/keys.ts'
import { createAuthorityCertificate, createServerCertificate } from '../../../acme/x509.ts'
import { compareKeys } from '../../../routing/store/key-order.ts'
import { startRedisStore } from '../../../routing/store/redis-store.ts'
import { testStore } from '../../contracts/store.ts'
import { folderFor } from '../../helpers/folder.ts'
import { findFreePort } from '../../helpers/free-port.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { redisFor } from '../../helpers/redis.ts'
import { loggedStoreFor, watchFor } from '../../helpers/redis-store.ts'
import { until } from '../../helpers/until.ts'

/** What docs/wire.md tells operators to give the user, but for the prefix; INFO tells a master from a replica. */
const ACL_RULE =
  'resetkeys ~{test-*}:* resetchannels -@all +eval +evalsha +hget +hmget +hset +hdel +zadd +zrem +zrangebylex +xadd +xtrim +xrange +xrevrange +xread +time +info'
const PASSWORD = 'p@ss/w:rd#é'

const redis = await redisFor(t)
const url = `redis://127.0.0.1:${redis.port}`

t.test('keeps the promises of a store', (t) =>
  testStore(t, async (t, settings) => (await loggedStoreFor(t, { url, ...settings })).store),
)

t.test('hands out what another hand wrote as documents that say so', async (t) => {
  const { store, prefix } = await loggedStoreFor(t, { url })
  const key = (name: string) => `{${prefix}}:${name}`
  const long = `{"n": ${'9'.repeat(200)}`
  const rows = {
    broken: `1:${long}`,
    array: '1:[1]',
    number: '9:{"n":5}',
    bare: 'text',
    huge: '99999999999999999:{}',
  }
  const first = await store.put('a', { n: 1 })
  await redis.admin.hset(key('docs'), rows)
  await redis.admin.zadd(key('keys'), ...Object.keys(rows).flatMap((name) => [0, name]))
  await redis.admin.zadd(key('keys'), 0, 'without a row')
  const page = await store.list('')
  t.strictSame(page.documents, [
    { key: 'a', value: { n: 1 }, revision: first },
    { key: 'array', value: { unreadable: '[1]' }, revision: 1 },
    { key: 'bare', value: { unreadable: 'text' }, revision: 0 },
    { key: 'broken', value: { unreadable: long.slice(0, 100) }, revision: 1 },
    { key: 'huge', value: { unreadable: '99999999999999999:{}' }, revision: 0 },
    { key: 'number', value: { unreadable: '9:{"n":5}' }, revision: 0 },
  ])
  t.strictSame(await store.get('bare'), { key: 'bare', value: { unreadable: 'text' }, revision: 0 })
  const mended = await store.put('broken', { n: 2 }, { ifRevision: 1 })
  t.strictSame((await store.get('broken'))?.value, { n: 2 })
  t.ok((await store.delete('bare')) === mended + 1, 'a row without a revision can be deleted')
})

t.test('goes on past entries that another hand added to the feed', async (t) => {
  const { store, prefix } = await loggedStoreFor(t, { url })
  const feed = `{${prefix}}:feed`
  await store.put('a', { n: 1 })
  const { revision, mark } = await store.list('')
  const [marked, bare] = [watchFor(t, store, { revision, mark }), watchFor(t, store, { revision: 0 })]
  await until(() => bare.events.length === 1, 'the watcher is there')
  await redis.admin.xadd(feed, '2-0', 'x', 'y')
  await redis.admin.xadd(feed, '3-0', 'k', 'b')
  await redis.admin.xadd(feed, '4-0', 'k', 'c', 'v', '{"half":')
  await redis.admin.xadd(feed, '4-5', 'v', '{}')
  const next = await store.put('d', { n: 2 })
  t.ok(next > 4)
  await until(
    () => marked.numbers().at(-1) === 2 && bare.numbers().at(-1) === 2,
    'both were told the next put',
  )
  const told = marked.events.flatMap((event) => (event.kind === 'changes' ? event.changes : []))
  t.strictSame(told, [
    { revision: 3, key: 'b', value: { unreadable: '' } },
    { revision: 4, key: 'c', value: { unreadable: '{"half":' } },
    { revision: next, key: 'd', value: { n: 2 } },
  ])
  const late = watchFor(t, store, { revision, mark })
  await until(() => late.numbers().at(-1) === 2, 'so is one that comes later')
})

t.test('lists to the end when a key is no UTF-8', async (t) => {
  const { store, prefix } = await loggedStoreFor(t, { url })
  const broken = ['b\xff', 'b\x80'].map((text) => Buffer.from(text, 'latin1'))
  for (const key of broken) {
    await redis.admin.zadd(`{${prefix}}:keys`, 0, key)
    await redis.admin.hset(`{${prefix}}:docs`, key, '1:{}')
  }
  const keys = ['a', 'b', 'bé', 'c', 'd'].sort(compareKeys)
  for (const key of keys) await store.put(key, {})
  for (const limit of [2, 3, 4]) {
    const listed = new Set<string>()
    let after: string | undefined
    for (let pages = 0; pages < 20; pages += 1) {
      const page = await store.list('', { limit, ...(after !== undefined && { after }) })
      for (const { key } of page.documents) listed.add(key)
      after = page.next
      if (after === undefined) break
    }
    t.equal(after, undefined, 'it came to an end')
    t.strictSame(
      keys.filter((key) => !listed.has(key)),
      [],
    )
  }
})

t.test('keeps stores with other prefixes and databases apart', async (t) => {
  const { store, prefix } = await loggedStoreFor(t, { url })
  const { store: other } = await loggedStoreFor(t, { url: `${url}/3`, prefix })
  await store.put('a', {})
  t.equal((await other.list('')).revision, 0)
  t.ok(await redis.admin.exists(`{${prefix}}:docs`))
})

t.test('is never in another database than the one that was asked for', async (t) => {
  const { store, lines } = await loggedStoreFor(t, { url: `${url}/99` })
  await t.rejects(store.put('a', {}), { code: 'store_unreachable' })
  t.match(
    lines.find(({ message }) => message === 'Redis is away'),
    { reason: 'Redis answered ERR' },
  )
})

t.test('keeps leases and deletes when the server has no memory left', async (t) => {
  const full = await redisFor(t)
  const { store } = await loggedStoreFor(t, { url: `redis://127.0.0.1:${full.port}` })
  await store.put('a', {})
  const lease = await store.acquireLease('x', 'me', 60_000)
  await full.admin.config('SET', 'maxmemory', '1')
  await t.rejects(store.put('b', {}), { code: 'store_refused', detail: 'Redis answered OOM.' })
  t.match(lease && (await store.renewLease(lease, 60_000)), { token: 1 })
  t.type(await store.delete('a'), 'number')
})

t.test('repeats no password, also where Redis does', async (t) => {
  const shy = await redisFor(t, {
    settings: ['--rename-command', 'AUTH', 'hidden'],
  })
  const { store, lines } = await loggedStoreFor(t, { url: `redis://me:${'s3cret'}@127.0.0.1:${shy.port}` })
  await t.rejects(store.put('a', {}), { code: 'store_unreachable' })
  const told =
    inspect(lines, { depth: 9 }) + inspect(await store.put('a', {}).catch((error) => error), { depth: 9 })
  t.notMatch(told, /s3cret/)
})

t.test('says so when the revision is one that nobody can have written', async (t) => {
  const { store, prefix } = await loggedStoreFor(t, { url })
  await store.put('a', {})
  await redis.admin.xadd(`{${prefix}}:feed`, '18446744073709551614-0', 'k', 'a')
  await t.rejects(store.put('b', {}), { code: 'store_refused' })
  await t.rejects(store.list(''), { code: 'store_refused' })
})

t.test('needs no more than the rule that is documented', async (t) => {
  const users = [`edge on >${PASSWORD} ${ACL_RULE}`, 'default off', 'admin on >admin ~* &* +@all']
  const settings = users.flatMap((user) => ['--user', ...user.split(' ')])
  const guarded = await redisFor(t, { settings, login: { username: 'admin', password: 'admin' } })
  const bare = `redis://127.0.0.1:${guarded.port}`
  const full = `redis://edge:${encodeURIComponent(PASSWORD)}@127.0.0.1:${guarded.port}`
  await t.test('with user and password in the URL', (t) =>
    testStore(t, async (t, options) => (await loggedStoreFor(t, { ...options, url: full })).store),
  )
  const byUrl = await loggedStoreFor(t, { url: full })
  const bySettings = await loggedStoreFor(t, { url: bare, username: 'edge', password: PASSWORD })
  await byUrl.store.put('a', {})
  await bySettings.store.put('a', {})
  const foreign = await loggedStoreFor(t, { url: full, prefix: 'other' })
  await t.rejects(foreign.store.put('a', {}), { code: 'store_refused', detail: 'Redis answered NOPERM.' })
  const wrong = await loggedStoreFor(t, { url: bare, username: 'edge', password: `not ${PASSWORD}` })
  await t.rejects(wrong.store.put('a', {}), { code: 'store_unreachable' })
  await t.rejects(foreign.store.get('a'), { code: 'store_refused' })
  t.match(
    wrong.lines.map(({ level, message }) => [level, message]),
    [['warn', 'Redis is away']],
  )
  t.match(wrong.lines[0]?.reason, /WRONGPASS/)
})

t.test('writes no password to the log or into an error, however it fails', async (t) => {
  const settings = ['--requirepass', PASSWORD]
  const guarded = await redisFor(t, { settings, login: { password: PASSWORD } })
  const address = `127.0.0.1:${guarded.port}`
  const right = `redis://:${encodeURIComponent(PASSWORD)}@${address}`
  const wrong = `redis://:${encodeURIComponent(`not ${PASSWORD}`)}@${address}`
  const stores = [await loggedStoreFor(t, { url: right }), await loggedStoreFor(t, { url: wrong })]
  const errors: unknown[] = []
  for (const { store } of stores)
    await store.put('a', { secret: PASSWORD }).catch((error) => errors.push(error))
  await guarded.admin.config('SET', 'maxmemory', '1')
  for (const { store } of stores)
    await store.put('a', { secret: PASSWORD }).catch((error) => errors.push(error))
  await guarded.kill()
  await until(() => stores[0]?.lines.at(-1)?.level === 'warn', 'the loss is logged')
  for (const { store } of stores) await store.get('a').catch((error) => errors.push(error))
  const broken = startRedisStore({ url: `redis://:${PASSWORD}@host:0` }, { log: createListLog() })
  await broken.catch((error) => errors.push(error))
  t.equal(errors.length, 6)
  t.match(
    errors.find((error) => (error as { detail?: string }).detail === 'Redis answered OOM.'),
    Error,
  )
  const said = inspect([errors, stores.map(({ lines }) => lines)], { depth: 20, showHidden: true })
  t.notMatch(said, PASSWORD)
  t.notMatch(said, encodeURIComponent(PASSWORD))
})

t.test('speaks TLS, with the authorities of a file only', async (t) => {
  const folder = folderFor(t)
  const files = await writeCertificates(folder)
  const [port, plain] = [await findFreePort(), await findFreePort()]
  const settings = ['--tls-port', String(port), '--tls-auth-clients', 'no', ...files]
  await redisFor(t, { port: plain, settings })
  const caFile = join(folder, 'ca.pem')
  const trusted = await loggedStoreFor(t, { url: `rediss://localhost:${port}`, caFile })
  const told = watchFor(t, trusted.store, { revision: 0 })
  await trusted.store.put('a', { n: 1 })
  await until(() => told.events.length === 1, 'the watcher is told')
  const untrusted = await loggedStoreFor(t, { url: `rediss://localhost:${port}` })
  await t.rejects(untrusted.store.get('a'), { code: 'store_unreachable' })
  t.match(untrusted.lines, [{ level: 'warn', reason: /self-signed certificate|unable to verify/ }])
  const misnamed = await loggedStoreFor(t, { url: `rediss://127.0.0.1:${port}`, caFile })
  t.match(misnamed.lines, [{ level: 'warn', reason: /IP: 127.0.0.1 is not in the cert's list/ }])
  const missing = startRedisStore(
    { url: `rediss://localhost:${port}`, caFile: join(folder, 'none') },
    { log: createListLog() },
  )
  await t.rejects(missing, { code: 'store_unusable' })
})

/** An authority, and a server's certificate for `localhost`. Answers Redis's settings for them. */
async function writeCertificates(folder: string): Promise<string[]> {
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) }
  const signer = { key: await generateKey('ec'), subject: 'CN=Test authority' }
  const key = await generateKey('ec')
  const contents = {
    'ca.pem': await createAuthorityCertificate(signer, validity),
    'server.pem': await createServerCertificate(signer, { names: ['localhost'], key, validity }),
    'server.key': key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
  for (const [name, content] of Object.entries(contents)) writeFileSync(join(folder, name), content)
  const [ca, certificate, keyFile] = Object.keys(contents).map((name) => join(folder, name))
  return ['--tls-ca-cert-file', `${ca}`, '--tls-cert-file', `${certificate}`, '--tls-key-file', `${keyFile}`]
}
