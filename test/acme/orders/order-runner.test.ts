/** Orders from the demand to the certificate, over the books, the table and a small CA. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import t from 'tap'
import { CHALLENGE_TYPES } from '../../../acme/rows.ts'
import { SEALER } from '../../helpers/sealer.ts'
import { until } from '../../helpers/until.ts'
import { DOMAIN, demandOf, orderSceneFor } from './order-scene.ts'

/** Several looks of an edge at what is to be done. */
async function sweepsPass(): Promise<void> {
  const sinceMs = performance.now()
  await until(() => performance.now() - sinceMs > 300, 'sweeps have passed')
}

for (const type of CHALLENGE_TYPES) {
  t.test(`proves a custom name by ${type}`, async (t) => {
    const scene = await orderSceneFor(t)
    const edge = await scene.startEdge('one', { challengeTypes: [type] })
    await edge.orders.want(demandOf('www.customer.example'))
    await scene.issued(edge, 'www.customer.example')
    t.match(scene.cas[0]?.orders, [{ names: ['www.customer.example'], status: 'valid' }])
    t.same(edge.orders.counts(), new Map([[`127.0.0.1:${scene.cas[0]?.port},issued`, 1]]))
    await until(() => [...edge.table.listOrders()].length === 0, 'the order is gone')
  })
}

t.test('writes a certificate that fits its key, and when it is renewed', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example', { keyType: 'rsa' }))
  await scene.issued(edge, 'www.customer.example', 'rsa')
  const kept = await scene.books.certificates.find('www.customer.example', 'rsa')
  const [leaf = '', ...rest] = kept?.row.chain ?? []
  const der = SEALER.open(kept?.row.sealedKey, 'certificate/www.customer.example/rsa')
  const certificate = new X509Certificate(Buffer.from(leaf, 'base64'))
  t.ok(certificate.checkPrivateKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })))
  t.equal(certificate.publicKey.asymmetricKeyType, 'rsa')
  t.equal(rest.length, 1)
  await until(
    () => edge.table.get('www.customer.example', 'rsa')?.renewal !== undefined,
    'the renewal is known',
  )
  const days =
    (Number(edge.table.get('www.customer.example', 'rsa')?.renewal?.renewAtMs) - Date.now()) / 86_400_000
  t.ok(days > 55 && days < 65, `renewed after ${days} days`)
})

t.test('proves the platform and its wildcard by dns-01, through our own zone', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  const names = [DOMAIN, `*.${DOMAIN}`]
  await edge.orders.want({ name: DOMAIN, names, keyType: 'ec', cause: 'platform' })
  await scene.issued(edge, DOMAIN)
  t.same(scene.cas[0]?.issued[0]?.names, names)
  t.same(scene.demands[0]?.types, ['dns-01'])
})

t.test('proves the platform through a DNS server that takes updates, and leaves nothing there', async (t) => {
  const scene = await orderSceneFor(t, { hasUpdater: true })
  const edge = await scene.startEdge('one')
  await edge.orders.want({ name: DOMAIN, names: [DOMAIN, `*.${DOMAIN}`], keyType: 'ec', cause: 'platform' })
  await scene.issued(edge, DOMAIN)
  t.same([...scene.txt], [[`_acme-challenge.${DOMAIN}`, new Set()]])
})

t.test('leaves no answers to challenges behind', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  t.same((await scene.store.list('challenge/')).documents, [])
  t.same((await scene.store.list('order/')).documents, [])
})

t.test('says each state once, with name, cause, authority and time', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  t.same(scene.states('www.customer.example'), [
    'ordered',
    'published',
    'confirmed',
    'answered',
    'ready',
    'keyed',
    'finalized',
    'issued',
  ])
  const line = scene.lines.find(({ state }) => state === 'ordered')
  t.match(line, {
    level: 'info',
    ...{ ca: `127.0.0.1:${scene.cas[0]?.port}`, cause: 'demand', ms: Number },
  })
})

t.test('asks for the first profile that the authority offers', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ profiles: { classic: 90, shortlived: 6 } }] })
  const edge = await scene.startEdge('one', { profiles: ['tlsserver', 'shortlived'] })
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  const kept = await scene.books.certificates.find('www.customer.example', 'ec')
  t.equal(kept?.row.profile, 'shortlived')
})

t.test('skips challenges where the authority knows the name already', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ reusesAuthorizations: true }] })
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  await edge.orders.want(demandOf('www.customer.example', { keyType: 'rsa' }))
  await scene.issued(edge, 'www.customer.example', 'rsa')
  t.equal(scene.cas[0]?.requests.filter((what) => what === 'challenge').length, 1)
})

t.test('waits while the authority thinks', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ pollsUntilDone: 3 }] })
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('orders once for a name that is wanted many times by two edges', async (t) => {
  const scene = await orderSceneFor(t)
  const one = await scene.startEdge('one')
  const two = await scene.startEdge('two')
  await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      (index % 2 === 0 ? one : two).orders.want(demandOf('www.customer.example')),
    ),
  )
  await scene.issued(one, 'www.customer.example')
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('drops a demand of an edge that had not heard of the certificate yet', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  const late = { ...demandOf('www.customer.example'), createdAt: '2026-01-31T12:00:00.000Z' }
  await scene.books.orders.put({ ...late, state: 'wanted', failures: 0 }, 0)
  await until(
    async () => (await scene.books.orders.find('www.customer.example', 'ec')) === undefined,
    'the order is dropped',
  )
  t.equal(scene.cas[0]?.orders.length, 1)
})

t.test('orders each of 50 names once with two edges racing for them', async (t) => {
  const scene = await orderSceneFor(t)
  const edges = [await scene.startEdge('one'), await scene.startEdge('two')]
  const names = Array.from({ length: 50 }, (_, index) => `www.customer-${index}.example`)
  await Promise.all(edges.flatMap(({ orders }) => names.map((name) => orders.want(demandOf(name)))))
  await Promise.all(edges.flatMap((edge) => names.map((name) => scene.issued(edge, name))))
  t.equal(scene.cas[0]?.orders.length, 50)
  t.same([...new Set(scene.cas[0]?.orders.map((order) => order.names[0]))].sort(), [...names].sort())
  t.equal(scene.cas[0]?.accounts().length, 1)
})

t.test('carries out no more than so many at once', async (t) => {
  const asked: string[] = []
  const verdict = Promise.withResolvers<undefined>()
  const validate = ({ name }: { readonly name: string }) => {
    asked.push(name)
    return verdict.promise
  }
  const scene = await orderSceneFor(t, { cas: [{ validate }] })
  const edge = await scene.startEdge('one', { atOnce: 3 })
  const names = Array.from({ length: 12 }, (_, index) => `www.customer-${index}.example`)
  // Renewals may have every place.
  await Promise.all(names.map((name) => edge.orders.want(demandOf(name, { cause: 'renewal' }))))
  await until(() => asked.length >= 3, 'every place is taken')
  await sweepsPass()
  t.equal(asked.length, 3)
  verdict.resolve(undefined)
  await Promise.all(names.map((name) => scene.issued(edge, name)))
})

t.test('never orders for a name with an uploaded certificate', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  const kept = await scene.books.certificates.find('www.customer.example', 'ec')
  if (kept === undefined) throw new Error('no certificate')
  await scene.books.certificates.put({ ...kept.row, source: 'upload' }, undefined)
  await until(() => edge.table.get('www.customer.example', 'ec')?.source === 'upload', 'the upload is known')
  await edge.orders.want(demandOf('www.customer.example', { cause: 'operator' }))
  await edge.orders.want(demandOf('www.customer.example', { keyType: 'rsa', cause: 'demand' }))
  t.same((await scene.store.list('order/')).documents, [])
})

t.test('drops orders for names that are not served any more', async (t) => {
  const scene = await orderSceneFor(t)
  scene.unwanted.add('www.customer.example')
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await until(() => scene.lines.some(({ state }) => /^dropped/.test(String(state))), 'it is dropped')
  t.same(scene.cas[0]?.orders, [])
})

t.test('carries nothing out before the edge is open', async (t) => {
  const scene = await orderSceneFor(t, { isClosed: true })
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await until(() => edge.table.findOrder('www.customer.example', 'ec') !== undefined, 'it is wanted')
  await sweepsPass()
  t.same(scene.cas[0]?.requests, [])
  edge.orders.open()
  await scene.issued(edge, 'www.customer.example')
})

t.test('orders nothing on demand where a good certificate is there', async (t) => {
  const scene = await orderSceneFor(t)
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf('www.customer.example'))
  await scene.issued(edge, 'www.customer.example')
  await until(() => edge.table.findOrder('www.customer.example', 'ec') === undefined, 'the order is gone')
  await edge.orders.want(demandOf('www.customer.example'))
  t.same((await scene.store.list('order/')).documents, [])
})
