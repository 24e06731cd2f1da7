/** On demand: what starts an order, what a stranger costs, who waits, and what a page is told. */

import t from 'tap'
import { mintRow } from '../../helpers/minted-rows.ts'
import { CLIENT, DAY_MS, servingFor } from './scene.ts'

t.test('the first handshake orders the certificate once, waits, and gets it', async (t) => {
  const { put, putOrder, serving, wants } = await servingFor(t, { served: ['shop.example'] })
  const waiting = Array.from({ length: 20 }, () => serving.contextFor('shop.example', CLIENT))
  t.ok(waiting.every((it) => it instanceof Promise))
  t.same(wants.names, ['shop.example/ec'])
  await putOrder('shop.example')
  const row = await mintRow('shop.example')
  await put(row)
  const contexts = new Set(await Promise.all(waiting.map((it) => Promise.resolve(it))))
  t.same([...contexts], [serving.contextFor('shop.example', CLIENT)])
})

t.test('nothing is lacking before anybody has asked, and looking asks for nothing', async (t) => {
  const { serving, wants } = await servingFor(t, { served: ['shop.example', 'a.localhost'] })
  t.equal(serving.findLack('shop.example'), undefined, 'the redirect leads to the handshake that orders')
  t.match(serving.findLack('a.localhost'), { code: 'certificate_refused' }, 'no handshake would')
  t.same(wants.names, [])
})

t.test('an order that came and went leaves nothing that keeps the next one away', async (t) => {
  const { put, putOrder, remove, serving, wants } = await servingFor(t, {
    served: ['shop.example', 'store.example'],
    demand: { waitMs: 60_000 },
  })
  const first = serving.contextFor('shop.example', CLIENT)
  await put(await mintRow('shop.example'))
  await first
  await remove('shop.example')
  void serving.contextFor('shop.example', CLIENT)
  t.same(wants.names, ['shop.example/ec', 'shop.example/ec'])
  void serving.contextFor('store.example', CLIENT)
  await putOrder('store.example')
  await remove('store.example')
  void serving.contextFor('store.example', CLIENT)
  t.equal(wants.names.filter((name) => name === 'store.example/ec').length, 2)
})

t.test('all key types that are set are ordered', async (t) => {
  const { serving, wants } = await servingFor(t, {
    served: ['shop.example'],
    keyTypes: ['ec', 'rsa'],
    demand: { waitMs: 5 },
  })
  await serving.contextFor('shop.example', CLIENT)
  t.same(wants.names, ['shop.example/ec', 'shop.example/rsa'])
})

t.test(
  'who has waited long enough gets the certificate of the platform, and a page that says so',
  async (t) => {
    const { put, serving } = await servingFor(t, {
      served: ['shop.example'],
      demand: { waitMs: 20 },
    })
    await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
    const context = await serving.contextFor('shop.example', CLIENT)
    t.equal(context, serving.contextFor('fall.test', CLIENT))
    t.match(serving.findLack('shop.example'), { code: 'certificate_pending' })
  },
)

t.test('a stranger costs one look-up of the route, and nothing else', async (t) => {
  const { counts, put, serving, wants, asked } = await servingFor(t, { served: ['shop.example'] })
  await put(await mintRow('fall.test', { names: ['fall.test', '*.fall.test'] }))
  const platform = serving.contextFor('fall.test', CLIENT)
  counts.finds = 0
  for (let index = 0; index < 1_000; index += 1)
    t.equal(serving.contextFor(`x${index}.stranger.example`, CLIENT), platform) || t.bailout()
  t.equal(asked.length, 1_000)
  t.equal(counts.finds, 2_000, 'its own name and that of the platform')
  t.same(wants.names, [])
  t.equal(serving.report().contexts, 1)
  t.equal(serving.findLack('x1.stranger.example'), undefined)
})

t.test('orders nothing for what is no name of a customer', async (t) => {
  const hostile = [
    '127.0.0.1',
    '::1',
    'localhost',
    'a.localhost',
    'com',
    'co.uk',
    '*.shop.example',
    'a_b.example',
  ]
  const deep = `${'a.'.repeat(10)}shop.example`
  const platform = ['fall.test', 'vm.fall.test', 'a.b.fall.test']
  const names = [...hostile, deep, ...platform, `${'a'.repeat(64)}.example`, '']
  const { serving, wants } = await servingFor(t, { served: names, demand: { waitMs: 5 } })
  for (const name of names) await serving.contextFor(name, CLIENT)
  t.same(wants.names, [])
  t.match(serving.findLack(deep), { code: 'certificate_refused' })
  t.equal(serving.findLack('vm.fall.test'), undefined)
})

t.test('an order that waits after a failure is not waited for, and its reason is told', async (t) => {
  const { putOrder, serving, wants } = await servingFor(t, { served: ['shop.example'] })
  const nextTryAt = '2099-01-01T00:00:00.000Z'
  const at = new Date().toISOString()
  const lastError = { code: 'certificate_dns', detail: 'DNS leads elsewhere.', step: 'wanted', at } as const
  await putOrder('shop.example', { state: 'failed', failures: 1, nextTryAt, lastError })
  const fallback = await serving.contextFor('shop.example', CLIENT)
  t.equal(serving.contextFor('fall.test', CLIENT), fallback)
  t.same(wants.names, [])
  t.match(serving.findLack('shop.example'), {
    code: 'certificate_refused',
    detail: `DNS leads elsewhere. It is tried again at ${nextTryAt}`,
    context: { reason: 'certificate_dns', retryAtMs: Date.parse(nextTryAt) },
  })
})

t.test('strangers are not told what is for the owner: servers, accounts, edges', async (t) => {
  const { putOrder, serving } = await servingFor(t, { served: ['shop.example'] })
  const nextTryAt = '2099-01-01T00:00:00.000Z'
  const inner = ['certificate_dns_update', 'certificate_unconfirmed', 'ca_account', 'ca_unreachable']
  for (const code of [...inner, 'ca_unauthorized'] as const) {
    const detail = 'the server 10.0.0.5 cannot be updated: ECONNREFUSED'
    const lastError = { code, detail, step: 'published', at: new Date().toISOString() } as const
    await putOrder('shop.example', { state: 'failed', failures: 1, nextTryAt, lastError })
    const lack = serving.findLack('shop.example')
    t.equal(lack?.detail, `It is tried again at ${nextTryAt}`)
    t.equal(lack?.context.reason, code)
  }
})

t.test('those who wait go on as soon as the order fails', async (t) => {
  const { putOrder, serving } = await servingFor(t, { served: ['shop.example'], demand: { waitMs: 60_000 } })
  await serving.defaultPem()
  const waiting = serving.contextFor('shop.example', CLIENT)
  await putOrder('shop.example', { state: 'failed', failures: 1 })
  t.equal(await waiting, serving.contextFor('fall.test', CLIENT))
})

t.test('an order that takes longer than a handshake may is not waited for any more', async (t) => {
  const { putOrder, serving } = await servingFor(t, { served: ['shop.example'] })
  await serving.defaultPem()
  const createdAt = new Date(Date.now() - 60_000).toISOString()
  await putOrder('shop.example', { state: 'answered', createdAt })
  t.notOk(serving.contextFor('shop.example', CLIENT) instanceof Promise)
  t.match(serving.findLack('shop.example'), { code: 'certificate_pending' })
})

t.test('no more than so many wait at once', async (t) => {
  const { put, serving } = await servingFor(t, {
    served: ['www.shop.example', 'a.shop.example', 'b.shop.example', 'c.example', 'd.example', 'e.example'],
    demand: { maxWaiting: 10, waitMs: 60_000 },
  })
  await serving.defaultPem()
  const visit = (name: string) => Array.from({ length: 4 }, () => serving.contextFor(name, CLIENT))
  const countWaiting = (name: string) => visit(name).filter((it) => it instanceof Promise).length
  const first = visit('www.shop.example')
  t.same(
    first.map((it) => it instanceof Promise),
    [true, true, false, false],
    'a fifth of them for one name',
  )
  t.same(['a.shop.example', 'b.shop.example'].map(countWaiting), [2, 1], 'half of them for one domain')
  t.same(['c.example', 'd.example', 'e.example'].map(countWaiting), [2, 2, 1])
  await put(await mintRow('www.shop.example'))
  t.equal(await first[0], serving.contextFor('www.shop.example', CLIENT))
  t.same(
    ['e.example', 'a.shop.example', 'b.shop.example'].map(countWaiting),
    [1, 0, 1],
    'two places are free',
  )
})

t.test('one client starts so many orders an hour, and does not stand in the way of others', async (t) => {
  let nowMs = Date.now()
  const served = ['a.example', 'b.example', 'c.example', 'd.example']
  const { serving, wants } = await servingFor(t, {
    served,
    now: () => nowMs,
    demand: { clientPerHour: 2, waitMs: 5 },
  })
  for (const name of ['a.example', 'b.example', 'c.example']) await serving.contextFor(name, '2001:db8::1')
  await serving.contextFor('c.example', '2001:db8::ffff')
  t.same(wants.names, ['a.example/ec', 'b.example/ec'], 'a /64 is one client')
  t.match(serving.findLack('c.example'), { code: 'certificate_busy' })
  await serving.contextFor('c.example', '2001:db8:0:1::1')
  t.same(wants.names.at(-1), 'c.example/ec')
  nowMs += 1_800_000
  await serving.contextFor('d.example', '2001:db8::1')
  t.same(wants.names.at(-1), 'd.example/ec', 'there is one again after half an hour')
})

t.test('names of one registered domain share a budget', async (t) => {
  const served = ['a.shop.co.uk', 'b.shop.co.uk', 'c.shop.co.uk', 'other.co.uk']
  const { serving, wants } = await servingFor(t, { served, demand: { domainPerHour: 2, waitMs: 5 } })
  for (const [index, name] of served.entries()) await serving.contextFor(name, `198.51.100.${index}`)
  t.same(wants.names, ['a.shop.co.uk/ec', 'b.shop.co.uk/ec', 'other.co.uk/ec'])
})

t.test('while the store is away it is not asked at each handshake', async (t) => {
  let nowMs = Date.now()
  const { said, serving, wants } = await servingFor(t, {
    served: ['shop.example'],
    now: () => nowMs,
    demand: { waitMs: 60_000 },
  })
  wants.failing = true
  for (let count = 0; count < 5; count += 1) await serving.contextFor('shop.example', CLIENT)
  t.same(wants.names, ['shop.example/ec'])
  t.same(said(), ['a certificate could not be asked for'])
  t.match(serving.findLack('shop.example'), { code: 'certificate_failed' })
  nowMs += 10_000
  await serving.contextFor('shop.example', CLIENT)
  t.equal(wants.names.length, 2)
})

t.test('an order that was lost is asked for again', async (t) => {
  let nowMs = Date.now()
  const { serving, wants } = await servingFor(t, {
    served: ['shop.example'],
    now: () => nowMs,
    demand: { waitMs: 5 },
  })
  for (let count = 0; count < 3; count += 1) await serving.contextFor('shop.example', CLIENT)
  nowMs += 30_000
  await serving.contextFor('shop.example', CLIENT)
  t.equal(wants.names.length, 2)
})

t.test('an expired certificate is ordered anew, but not an uploaded or an early one', async (t) => {
  const nowMs = Date.now()
  const served = ['old.example', 'up.example', 'early.example']
  const { put, serving, wants } = await servingFor(t, { served, demand: { waitMs: 5 } })
  await put(await mintRow('old.example', { notAfterMs: nowMs - 1_000 }))
  await put(await mintRow('up.example', { notAfterMs: nowMs - 1_000, source: 'upload' }))
  await put(await mintRow('early.example', { notBeforeMs: nowMs + DAY_MS }))
  for (const name of served) await serving.contextFor(name, CLIENT)
  t.same(wants.names, ['old.example/ec'])
  t.match(serving.findLack('up.example'), { code: 'certificate_failed' })
  t.match(serving.findLack('early.example'), { code: 'certificate_failed' })
})
