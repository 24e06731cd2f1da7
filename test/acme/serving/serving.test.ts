/** Stored certificates: which one a server name gets, how it is replaced, and what is never served. */

import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { connect } from 'node:tls'
import t from 'tap'
import { createSealer } from '../../../lib/seal.ts'
import { MINT_ROOT, mintRow } from '../../helpers/minted-rows.ts'
import { until } from '../../helpers/until.ts'
import { CLIENT, checkCovers, DAY_MS, dial, servingFor, tlsPortFor } from './scene.ts'

t.test('answers at once with the stored certificate, and clients accept it', async (t) => {
  const { put, serving } = await servingFor(t)
  await put(await mintRow('shop.example'))
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  t.notOk(serving.contextFor('shop.example', CLIENT) instanceof Promise)
  const port = await tlsPortFor(t, serving)
  for (const servername of ['shop.example', 'SHOP.example', 'fall.test', 'vm.fall.test']) {
    const socket = connect({ host: '127.0.0.1', port, servername, ca: MINT_ROOT.pem })
    await once(socket, 'secureConnect')
    t.equal(socket.authorized, true, servername)
    socket.destroy()
  }
})

t.test('one context serves all names of a certificate', async (t) => {
  const { put, serving } = await servingFor(t)
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const contexts = ['a.fall.test', 'b.fall.test', 'fall.test', 'stranger.example', undefined].map((name) =>
    serving.contextFor(name, CLIENT),
  )
  t.equal(new Set(contexts).size, 1)
  t.equal(serving.report().contexts, 1)
})

t.test('an exact name goes before a wildcard', async (t) => {
  const { put, serving } = await servingFor(t)
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  await put(await mintRow('own.fall.test', { source: 'upload' }))
  const port = await tlsPortFor(t, serving)
  t.equal((await dial(port, 'own.fall.test')).subjectaltname, 'DNS:own.fall.test')
  t.equal((await dial(port, 'other.fall.test')).subjectaltname, 'DNS:fall.test, DNS:*.fall.test')
})

t.test('a renewal is served from the next handshake on, and open connections go on', async (t) => {
  const { put, serving } = await servingFor(t)
  await put(await mintRow('shop.example'))
  const port = await tlsPortFor(t, serving)
  const old = connect({ host: '127.0.0.1', port, servername: 'shop.example', ca: MINT_ROOT.pem })
  await once(old, 'secureConnect')
  const before = await dial(port, 'shop.example')
  await put(await mintRow('shop.example'))
  t.not((await dial(port, 'shop.example')).serialNumber, before.serialNumber)
  t.equal(old.getPeerCertificate().serialNumber, before.serialNumber)
  t.equal(old.destroyed, false)
  old.destroy()
})

t.test('EC for clients that take it, RSA for those that do not', async (t) => {
  const { put, serving } = await servingFor(t)
  await put(await mintRow('shop.example', { keyType: 'rsa' }))
  await put(await mintRow('shop.example'))
  const port = await tlsPortFor(t, serving)
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const old = { maxVersion, sigalgs: 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256', ca: MINT_ROOT.pem }
    t.equal((await dial(port, 'shop.example', { maxVersion })).bits, 256, maxVersion)
    t.equal((await dial(port, 'shop.example', old)).bits, 2_048, `${maxVersion}, RSA only`)
  }
})

t.test('does not ask what the client takes where there is one certificate', async (t) => {
  const { put, serving } = await servingFor(t)
  await put(await mintRow('shop.example'))
  const client = { takesEcdsa: () => t.fail('asked') }
  void serving.contextFor('shop.example', CLIENT, client)
  t.end()
})

t.test('what has expired, is not valid yet, or asks for stapling is never served', async (t) => {
  const { put, said, serving } = await servingFor(t)
  const nowMs = Date.now()
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const platform = serving.contextFor('fall.test', CLIENT)
  await put(await mintRow('old.example', { notAfterMs: nowMs - 1_000 }))
  await put(await mintRow('new.example', { notBeforeMs: nowMs + DAY_MS }))
  await put(await mintRow('skewed.example', { notBeforeMs: nowMs + 1_800_000 }))
  t.equal(serving.contextFor('old.example', CLIENT), platform)
  t.equal(serving.contextFor('new.example', CLIENT), platform)
  t.not(serving.contextFor('skewed.example', CLIENT), platform, "half an hour is a clock's difference")
  const row = await mintRow('staple.example')
  const [leaf = ''] = row.chain
  const marked = Buffer.concat([Buffer.from(leaf, 'base64'), Buffer.from('06082b06010505070118', 'hex')])
  await put({ ...row, chain: [marked.toString('base64')] })
  t.equal(serving.contextFor('staple.example', CLIENT), platform)
  t.same(said(), ['a certificate cannot be used here'])
})

t.test('a certificate that ends while its context is in memory gives way to the next', async (t) => {
  let nowMs = Date.now()
  const { put, serving } = await servingFor(t, { now: () => nowMs })
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  await put(await mintRow('vm.fall.test', { notAfterMs: nowMs + DAY_MS }))
  const own = serving.contextFor('vm.fall.test', CLIENT)
  t.not(own, serving.contextFor('fall.test', CLIENT))
  nowMs += DAY_MS
  t.equal(serving.contextFor('vm.fall.test', CLIENT), serving.contextFor('fall.test', CLIENT))
})

t.test('an expired certificate of the platform gives way to one of the local CA', async (t) => {
  const { put, serving, localCa } = await servingFor(t)
  await put(await mintRow('fall.test', { names: ['fall.test'], notAfterMs: Date.now() - 1_000 }))
  const port = await tlsPortFor(t, serving)
  const shown = await dial(port, 'fall.test', { ca: localCa.certPem, rejectUnauthorized: true })
  t.equal(shown.subjectaltname, 'DNS:fall.test, DNS:*.fall.test')
})

t.test('a key that cannot be opened here is said once, and the next certificate is served', async (t) => {
  const { put, said, serving } = await servingFor(t)
  const row = await mintRow('shop.example')
  const other = createSealer(Buffer.alloc(32, 9))
  await put({ ...row, sealedKey: other.seal('x', 'certificate/shop.example/ec') })
  await put(await mintRow('shop.example', { keyType: 'rsa' }))
  const port = await tlsPortFor(t, serving)
  for (let count = 0; count < 3; count += 1) t.equal((await dial(port, 'shop.example')).bits, 2_048)
  t.same(said(), ['a certificate cannot be used here'])
  await put(row)
  t.equal((await dial(port, 'shop.example')).bits, 256, 'a new one is tried')
})

t.test('a key that was moved from another name is not used', async (t) => {
  const { put, said, serving } = await servingFor(t)
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const stolen = await mintRow('victim.example')
  await put({ ...stolen, name: 'thief.example', names: ['thief.example'] })
  t.equal(serving.contextFor('thief.example', CLIENT), serving.contextFor('fall.test', CLIENT))
  t.same(said(), ['a certificate cannot be used here'])
})

t.test('a chain with a hundred names and a large key is read', async (t) => {
  const { put, serving } = await servingFor(t)
  const names = Array.from({ length: 99 }, (_, index) => `${'x'.repeat(50)}${index}.shop.example`)
  await put(await mintRow('shop.example', { names: ['shop.example', ...names], keyType: 'rsa' }))
  const port = await tlsPortFor(t, serving)
  const shown = await dial(port, 'shop.example', { ca: MINT_ROOT.pem, rejectUnauthorized: true })
  t.ok((shown.subjectaltname?.length ?? 0) > 5_000)
})

t.test('a certificate that was taken away leaves no context behind', async (t) => {
  const { put, remove, serving } = await servingFor(t)
  await put(await mintRow('shop.example'))
  void serving.contextFor('shop.example', CLIENT)
  await remove('shop.example')
  t.equal(serving.report().contexts, 0)
})

t.test('keeps no more contexts than it may', async (t) => {
  const { put, serving } = await servingFor(t, { maxContexts: 3 })
  const names = Array.from({ length: 10 }, (_, index) => `s${index}.example`)
  await put(...(await Promise.all(names.map((name) => mintRow(name)))))
  for (const name of names) void serving.contextFor(name, CLIENT)
  t.equal(serving.report().contexts, 3)
})

t.test('names that somebody walks through do not push out those that are used', async (t) => {
  const { put, serving } = await servingFor(t, { maxContexts: 10 })
  const row = await mintRow('hot.example')
  await put(row)
  const hot = serving.contextFor('hot.example', CLIENT)
  void serving.contextFor('hot.example', CLIENT)
  const names = Array.from({ length: 50 }, (_, index) => `walk${index}.example`)
  await put(...(await Promise.all(names.map((name) => mintRow(name)))))
  for (const name of names) void serving.contextFor(name, CLIENT)
  t.equal(serving.contextFor('hot.example', CLIENT), hot)
})

t.test('covers what the certificate that it serves covers', async (t) => {
  const { put, serving } = await servingFor(t, { served: ['lack.example'] })
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  await put(await mintRow('shop.example', { names: ['shop.example', '*.shop.example'] }))
  await put(await mintRow('two.example', { names: ['two.example', 'other.example'] }))
  await put(await mintRow('two.example', { keyType: 'rsa' }))
  await put(await mintRow('old.example', { notAfterMs: Date.now() - 1 }))
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
  checkCovers(t, serving, cases)
})

t.test('gives PEM for clients without a server name, and says when there is another', async (t) => {
  const { put, serving } = await servingFor(t)
  let rings = 0
  const stop = serving.onPlatform(() => {
    rings += 1
  })
  const local = await serving.defaultPem()
  await put(await mintRow('shop.example'))
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const stored = await serving.defaultPem()
  t.not(local.certPem, stored.certPem)
  t.match(stored.keyPem, /BEGIN PRIVATE KEY/)
  t.equal(rings, 1)
  stop()
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
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
  const { put, serving } = await servingFor(t, { served: ['a.example', 'b.example'] })
  await put(await mintRow('fall.test', { names: ['fall.test'], notAfterMs: nowMs + 9 * DAY_MS }))
  await put(await mintRow('a.example', { notAfterMs: nowMs + 8 * DAY_MS }))
  await put(await mintRow('b.example', { notAfterMs: nowMs + 7 * DAY_MS }))
  await put(await mintRow('gone.example', { notAfterMs: nowMs + 6 * DAY_MS }))
  const { known, notAfter, open, failed } = serving.report()
  t.same({ known, open, failed }, { known: 4, open: 0, failed: 0 })
  t.equal(notAfter.platform, Math.floor((nowMs + 9 * DAY_MS) / 1_000))
  t.equal(
    notAfter.custom,
    Math.floor((nowMs + 7 * DAY_MS) / 1_000),
    'of a name that is not served nobody cares',
  )
})

t.test('reports no upload of a name below the domain as the platform', async (t) => {
  const inDays = (days: number) => Date.now() + days * DAY_MS
  const { put, serving } = await servingFor(t, { served: ['mine.fall.test'] })
  await put(await mintRow('fall.test', { notAfterMs: inDays(60) }))
  await put(await mintRow('mine.fall.test', { source: 'upload', notAfterMs: inDays(20) }))
  await put(await mintRow('gone.fall.test', { source: 'upload', notAfterMs: inDays(-30) }))
  const { platform = 0, custom = 0 } = serving.report().notAfter
  t.ok(platform * 1_000 > inDays(59))
  t.ok(custom * 1_000 > inDays(19), 'of one without a route nobody cares')
})

t.test('does not report for ever what is left to end beside a good certificate', async (t) => {
  const nowMs = Date.now()
  const { put, serving } = await servingFor(t, { served: ['a.example'] })
  const inDays = (days: number) => nowMs + days * DAY_MS
  for (const name of ['fall.test', 'a.example']) {
    await put(await mintRow(name, { notAfterMs: inDays(50) }))
    await put(await mintRow(name, { keyType: 'rsa', notAfterMs: inDays(3) }))
  }
  const seconds = Math.floor(inDays(50) / 1_000)
  t.same(serving.report().notAfter, { platform: seconds, custom: seconds }, 'RSA is not ordered any more')
  const both = await servingFor(t, { keyTypes: ['ec', 'rsa'] })
  await both.put(await mintRow('fall.test', { notAfterMs: inDays(50) }))
  await both.put(await mintRow('fall.test', { keyType: 'rsa', notAfterMs: inDays(3) }))
  t.equal(both.serving.report().notAfter.platform, Math.floor(inDays(3) / 1_000))
  const gone = await servingFor(t, {})
  await gone.put(await mintRow('fall.test', { notAfterMs: inDays(-1) }))
  t.equal(gone.serving.report().notAfter.platform, Math.floor(inDays(-1) / 1_000), 'nothing else is good')
})

t.test('leaves nothing behind when it ends', async (t) => {
  const { counts, serving } = await servingFor(t)
  t.ok(counts.listeners() > 0)
  serving[Symbol.dispose]()
  t.equal(counts.listeners(), 0)
})
