/** Stored certificates: which one a server name gets, how it is replaced, and what is never served. */

import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { connect } from 'node:tls'
import t from 'tap'
import { createSealer } from '../../../lib/seal.ts'
import { until } from '../../helpers/until.ts'
import { CLIENT, DAY_MS, dial, servingFor, tlsPortFor } from './scene.ts'

t.test('answers at once with the stored certificate, and clients accept it', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  table.put(await factory.make('shop.example'))
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  t.notOk(serving.contextFor('shop.example', CLIENT) instanceof Promise)
  const port = await tlsPortFor(t, serving)
  for (const servername of ['shop.example', 'SHOP.example', 'fall.test', 'vm.fall.test']) {
    const socket = connect({ host: '127.0.0.1', port, servername, ca: factory.caPem })
    await once(socket, 'secureConnect')
    t.equal(socket.authorized, true, servername)
    socket.destroy()
  }
})

t.test('one context serves all names of a certificate', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const contexts = ['a.fall.test', 'b.fall.test', 'fall.test', 'stranger.example', undefined].map((name) =>
    serving.contextFor(name, CLIENT),
  )
  t.equal(new Set(contexts).size, 1)
  t.equal(serving.report().contexts, 1)
})

t.test('an exact name goes before a wildcard', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  table.put(await factory.make('own.fall.test', { source: 'upload' }))
  const port = await tlsPortFor(t, serving)
  t.equal((await dial(port, 'own.fall.test')).subjectaltname, 'DNS:own.fall.test')
  t.equal((await dial(port, 'other.fall.test')).subjectaltname, 'DNS:fall.test, DNS:*.fall.test')
})

t.test('a renewal is served from the next handshake on, and open connections go on', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  table.put(await factory.make('shop.example'))
  const port = await tlsPortFor(t, serving)
  const old = connect({ host: '127.0.0.1', port, servername: 'shop.example', ca: factory.caPem })
  await once(old, 'secureConnect')
  const before = await dial(port, 'shop.example')
  table.put(await factory.make('shop.example'))
  t.not((await dial(port, 'shop.example')).serialNumber, before.serialNumber)
  t.equal(old.getPeerCertificate().serialNumber, before.serialNumber)
  t.equal(old.destroyed, false)
  old.destroy()
})

t.test('EC for clients that take it, RSA for those that do not', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  table.put(await factory.make('shop.example', { keyType: 'rsa' }))
  table.put(await factory.make('shop.example'))
  const port = await tlsPortFor(t, serving)
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const old = { maxVersion, sigalgs: 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256', ca: factory.caPem }
    t.equal((await dial(port, 'shop.example', { maxVersion })).bits, 256, maxVersion)
    t.equal((await dial(port, 'shop.example', old)).bits, 2_048, `${maxVersion}, RSA only`)
  }
})

t.test('does not ask what the client takes where there is one certificate', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  table.put(await factory.make('shop.example'))
  const client = { takesEcdsa: () => t.fail('asked') }
  void serving.contextFor('shop.example', CLIENT, client)
  t.end()
})

t.test('what has expired, is not valid yet, or asks for stapling is never served', async (t) => {
  const { table, factory, serving, lines } = await servingFor(t)
  const nowMs = Date.now()
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const platform = serving.contextFor('fall.test', CLIENT)
  table.put(await factory.make('old.example', { notAfterMs: nowMs - 1_000 }))
  table.put(await factory.make('new.example', { notBeforeMs: nowMs + DAY_MS }))
  table.put(await factory.make('skewed.example', { notBeforeMs: nowMs + 1_800_000 }))
  t.equal(serving.contextFor('old.example', CLIENT), platform)
  t.equal(serving.contextFor('new.example', CLIENT), platform)
  t.not(serving.contextFor('skewed.example', CLIENT), platform, "half an hour is a clock's difference")
  const row = await factory.make('staple.example')
  const [leaf = ''] = row.chain
  const marked = Buffer.concat([Buffer.from(leaf, 'base64'), Buffer.from('06082b06010505070118', 'hex')])
  table.put({ ...row, chain: [marked.toString('base64')] })
  t.equal(serving.contextFor('staple.example', CLIENT), platform)
  t.same(lines, ['a certificate cannot be used here'])
})

t.test('a certificate that ends while its context is in memory gives way to the next', async (t) => {
  let nowMs = Date.now()
  const { table, factory, serving } = await servingFor(t, { now: () => nowMs })
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  table.put(await factory.make('vm.fall.test', { notAfterMs: nowMs + DAY_MS }))
  const own = serving.contextFor('vm.fall.test', CLIENT)
  t.not(own, serving.contextFor('fall.test', CLIENT))
  nowMs += DAY_MS
  t.equal(serving.contextFor('vm.fall.test', CLIENT), serving.contextFor('fall.test', CLIENT))
})

t.test('an expired certificate of the platform gives way to one of the local CA', async (t) => {
  const { table, factory, serving, localCa } = await servingFor(t)
  table.put(await factory.make('fall.test', { names: ['fall.test'], notAfterMs: Date.now() - 1_000 }))
  const port = await tlsPortFor(t, serving)
  const shown = await dial(port, 'fall.test', { ca: localCa.certPem, rejectUnauthorized: true })
  t.equal(shown.subjectaltname, 'DNS:fall.test, DNS:*.fall.test')
})

t.test('a key that cannot be opened here is said once, and the next certificate is served', async (t) => {
  const { table, factory, serving, lines } = await servingFor(t)
  const row = await factory.make('shop.example')
  const other = createSealer(Buffer.alloc(32, 9))
  table.put({ ...row, sealedKey: other.seal('x', 'certificate/shop.example/ec') })
  table.put(await factory.make('shop.example', { keyType: 'rsa' }))
  const port = await tlsPortFor(t, serving)
  for (let count = 0; count < 3; count += 1) t.equal((await dial(port, 'shop.example')).bits, 2_048)
  t.same(lines, ['a certificate cannot be used here'])
  table.put(row)
  t.equal((await dial(port, 'shop.example')).bits, 256, 'a new one is tried')
})

t.test('a key that was moved from another name is not used', async (t) => {
  const { table, factory, serving, lines } = await servingFor(t)
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const stolen = await factory.make('victim.example')
  table.put({ ...stolen, name: 'thief.example', names: ['thief.example'] })
  t.equal(serving.contextFor('thief.example', CLIENT), serving.contextFor('fall.test', CLIENT))
  t.same(lines, ['a certificate cannot be used here'])
})

t.test('a chain with a hundred names and a large key is read', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  const names = Array.from({ length: 100 }, (_, index) => `${'x'.repeat(50)}${index}.shop.example`)
  table.put(await factory.make('shop.example', { names: ['shop.example', ...names], keyType: 'rsa' }))
  const port = await tlsPortFor(t, serving)
  const shown = await dial(port, 'shop.example', { ca: factory.caPem, rejectUnauthorized: true })
  t.ok((shown.subjectaltname?.length ?? 0) > 5_000)
})

t.test('keeps no more contexts than it may', async (t) => {
  const { table, factory, serving } = await servingFor(t, { maxContexts: 3 })
  for (let index = 0; index < 10; index += 1) {
    table.put(await factory.make(`s${index}.example`))
    void serving.contextFor(`s${index}.example`, CLIENT)
  }
  t.equal(serving.report().contexts, 3)
})

t.test('names that somebody walks through do not push out those that are used', async (t) => {
  const { table, factory, serving } = await servingFor(t, { maxContexts: 10 })
  const row = await factory.make('hot.example')
  table.put(row)
  const hot = serving.contextFor('hot.example', CLIENT)
  void serving.contextFor('hot.example', CLIENT)
  for (let index = 0; index < 50; index += 1) {
    const name = `walk${index}.example`
    table.put(await factory.make(name))
    void serving.contextFor(name, CLIENT)
  }
  t.equal(serving.contextFor('hot.example', CLIENT), hot)
})

t.test('covers what the certificate that it serves covers', async (t) => {
  const { table, factory, serving } = await servingFor(t, { served: ['lack.example'] })
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  table.put(await factory.make('shop.example', { names: ['shop.example', '*.shop.example'] }))
  table.put(await factory.make('two.example', { names: ['two.example', 'other.example'] }))
  table.put(await factory.make('two.example', { keyType: 'rsa' }))
  table.put(await factory.make('old.example', { notAfterMs: Date.now() - 1 }))
  const cases: [string | undefined, string, boolean][] = [
    ['shop.example', 'shop.example', true],
    ['shop.example', 'A.shop.example.', true],
    ['shop.example', 'a.b.shop.example', false],
    ['shop.example', 'fall.test', false],
    ['a.shop.example', 'shop.example', true],
    ['vm.fall.test', 'other.fall.test', true],
    ['lack.example', 'lack.example', false],
    ['lack.example', 'vm.fall.test', true],
    ['stranger.example', 'stranger.example', false],
    [undefined, 'fall.test', true],
    ['two.example', 'two.example', true],
    ['two.example', 'other.example', false],
    ['old.example', 'old.example', false],
  ]
  for (const [serverName, hostname, expected] of cases)
    t.equal(serving.covers(serverName, hostname), expected, `${serverName} covers ${hostname}: ${expected}`)
})

t.test('gives PEM for clients without a server name, and says when there is another', async (t) => {
  const { table, factory, serving } = await servingFor(t)
  let rings = 0
  const stop = serving.onPlatform(() => {
    rings += 1
  })
  const local = await serving.defaultPem()
  table.put(await factory.make('shop.example'))
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const stored = await serving.defaultPem()
  t.not(local.certPem, stored.certPem)
  t.match(stored.keyPem, /BEGIN PRIVATE KEY/)
  t.equal(rings, 1)
  stop()
  table.put(await factory.make('fall.test', { names: ['fall.test', '*.fall.test'] }))
  t.equal(rings, 1)
})

t.test('says so from time to time as well: what the local CA makes ends without a change', async (t) => {
  const { serving } = await servingFor(t, { ringMs: 5 })
  let rings = 0
  const stop = serving.onPlatform(() => {
    rings += 1
  })
  await until(() => rings > 1, 'it rings')
  stop()
  const count = rings
  await setTimeout(30)
  t.equal(rings, count)
})

t.test('below a domain of one label every name gets a certificate that clients accept', async (t) => {
  for (const isLocal of [false, true]) {
    const served = ['admin.localhost', 'a.b.localhost', 'shop.example']
    const { serving, localCa, wants } = await servingFor(t, { domain: 'localhost', served, isLocal })
    const port = await tlsPortFor(t, serving)
    for (const name of ['admin.localhost', 'a.b.localhost', 'mistyped.localhost']) {
      await dial(port, name, { ca: localCa.certPem, rejectUnauthorized: true })
      t.ok(serving.covers(name, name))
      t.equal(serving.findLack(name), undefined)
    }
    t.notOk(serving.covers('deep.er.localhost', 'deep.er.localhost'), 'strangers cost nothing')
    t.same(wants.names, [], 'nobody could issue them')
  }
})

t.test('reports how many there are and when the first one ends', async (t) => {
  const nowMs = Date.now()
  const { table, factory, serving } = await servingFor(t, { served: ['a.example', 'b.example'] })
  table.put(await factory.make('fall.test', { names: ['fall.test'], notAfterMs: nowMs + 9 * DAY_MS }))
  table.put(await factory.make('a.example', { notAfterMs: nowMs + 8 * DAY_MS }))
  table.put(await factory.make('b.example', { notAfterMs: nowMs + 7 * DAY_MS }))
  table.put(await factory.make('gone.example', { notAfterMs: nowMs + 6 * DAY_MS }))
  const { known, notAfter, open, failed } = serving.report()
  t.same({ known, open, failed }, { known: 4, open: 0, failed: 0 })
  t.equal(notAfter.platform, Math.floor((nowMs + 9 * DAY_MS) / 1_000))
  t.equal(
    notAfter.custom,
    Math.floor((nowMs + 7 * DAY_MS) / 1_000),
    'of a name that is not served nobody cares',
  )
})

t.test('does not report for ever what is left to end beside a good certificate', async (t) => {
  const nowMs = Date.now()
  const { table, factory, serving } = await servingFor(t, { served: ['a.example'] })
  const inDays = (days: number) => nowMs + days * DAY_MS
  for (const name of ['fall.test', 'a.example']) {
    table.put(await factory.make(name, { notAfterMs: inDays(50) }))
    table.put(await factory.make(name, { keyType: 'rsa', notAfterMs: inDays(3) }))
  }
  const seconds = Math.floor(inDays(50) / 1_000)
  t.same(serving.report().notAfter, { platform: seconds, custom: seconds }, 'RSA is not ordered any more')
  const both = await servingFor(t, { keyTypes: ['ec', 'rsa'] })
  both.table.put(await factory.make('fall.test', { notAfterMs: inDays(50) }))
  both.table.put(await factory.make('fall.test', { keyType: 'rsa', notAfterMs: inDays(3) }))
  t.equal(both.serving.report().notAfter.platform, Math.floor(inDays(3) / 1_000))
  const gone = await servingFor(t, {})
  gone.table.put(await factory.make('fall.test', { notAfterMs: inDays(-1) }))
  t.equal(gone.serving.report().notAfter.platform, Math.floor(inDays(-1) / 1_000), 'nothing else is good')
})

t.test('leaves nothing behind when it ends', async (t) => {
  const { table, serving } = await servingFor(t)
  t.ok(table.listeners > 0)
  serving[Symbol.dispose]()
  t.equal(table.listeners, 0)
})
