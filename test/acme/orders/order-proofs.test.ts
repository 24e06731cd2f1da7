/** How names are proven when the first way does not do, when answers vanish, and when others write meanwhile. */

import t from 'tap'
import { putChallenges } from '../../helpers/challenge-writes.ts'
import { until } from '../../helpers/until.ts'
import { DOMAIN, demandOf, dieAt, killEdge, orderSceneFor } from './order-scene.ts'

const NAME = 'www.customer.example'
const HOUR_MS = 3_600_000

t.test('tries another way to prove a name after one that the authority did not accept', async (t) => {
  const tried: string[] = []
  const validate = ({ type }: { readonly type: string }) => {
    tried.push(type)
    return type === 'http-01' ? undefined : 'something answers port 443 before the edge'
  }
  const scene = await orderSceneFor(t, { cas: [{ validate }] })
  const edge = await scene.startEdge('one', { challengeTypes: ['tls-alpn-01', 'http-01'] })
  await edge.orders.want(demandOf(NAME))
  await scene.issued(edge, NAME)
  t.same(tried, ['tls-alpn-01', 'http-01'])
})

t.test('does not go on against the authority when answers do not stay', async (t) => {
  const scene = await orderSceneFor(t)
  const put = scene.store.commit.bind(scene.store)
  scene.store.commit = async (mutations) => {
    const done = await put(mutations)
    const gone = mutations.filter(({ key, value }) => value !== undefined && key.startsWith('challenge/'))
    if (gone.length > 0) await put(gone.map(({ key }) => ({ key, value: undefined })))
    return done
  }
  const edge = await scene.startEdge('one', { backOffMs: [HOUR_MS] })
  await edge.orders.want(demandOf(NAME))
  await until(() => edge.table.findOrder(NAME, 'ec')?.state === 'failed', 'it has failed')
  t.match(edge.table.findOrder(NAME, 'ec'), { failures: 0, lastError: { code: 'certificate_unconfirmed' } })
  t.ok((scene.cas[0]?.requests.filter((what) => what === 'order').length ?? 99) <= 3)
})

t.test('publishes answers anew that are about to run out', async (t) => {
  const scene = await orderSceneFor(t)
  await killEdge(scene, dieAt('published'), { demand: demandOf(NAME) })
  const order = await scene.books.orders.find(NAME, 'ec')
  const ids = order?.row.authorizations?.flatMap(({ challenge }) => challenge?.id ?? []) ?? []
  const rows = await scene.books.challenges.find(ids)
  const expiresAt = new Date(Date.now() + 3_000).toISOString()
  await putChallenges(
    scene.store,
    rows.map((row) => ({ ...row, expiresAt })),
  )
  const edge = await scene.startEdge('two')
  await scene.issued(edge, NAME)
  t.same(scene.states(NAME).filter((state) => state === 'published').length, 1, 'published again')
})

t.test('drops an order beside an upload of the other kind of key', async (t) => {
  const scene = await orderSceneFor(t, { cas: [{ pollsUntilDone: 1_000_000 }] })
  const other = await orderSceneFor(t)
  const first = await other.startEdge('one')
  await first.orders.want(demandOf(NAME, { keyType: 'rsa' }))
  await other.issued(first, NAME, 'rsa')
  const made = await other.books.certificates.find(NAME, 'rsa')
  if (made === undefined) throw new Error('no certificate')
  const edge = await scene.startEdge('one')
  await edge.orders.want(demandOf(NAME))
  await until(() => scene.states(NAME).includes('answered'), 'the authority thinks')
  await scene.books.certificates.put({ ...made.row, source: 'upload' }, undefined)
  const [ca] = scene.cas
  if (ca !== undefined) ca.options.pollsUntilDone = 0
  await until(() => scene.states(NAME).includes('dropped: a certificate was uploaded'), 'it is dropped')
  t.equal(await scene.books.certificates.find(NAME, 'ec'), undefined)
})

t.test('leaves no value in the DNS server, when an upload takes the order away', async (t) => {
  const scene = await orderSceneFor(t, { hasUpdater: true, cas: [{ pollsUntilDone: 1_000_000 }] })
  const edge = await scene.startEdge('one')
  await edge.orders.want({ name: DOMAIN, names: [DOMAIN, `*.${DOMAIN}`], keyType: 'ec', cause: 'platform' })
  await until(() => scene.states(DOMAIN).includes('answered'), 'the authority thinks')
  t.ok(
    [...scene.txt.values()].some((values) => values.size > 0),
    'the server has the values',
  )
  const order = await scene.books.orders.find(DOMAIN, 'ec')
  if (order === undefined) throw new Error('no order')
  await scene.books.orders.delete(order)
  const [ca] = scene.cas
  if (ca !== undefined) ca.options.pollsUntilDone = 0
  await until(() => [...scene.txt.values()].every((values) => values.size === 0), 'nothing is left there')
  t.equal(await scene.books.orders.find(DOMAIN, 'ec'), undefined)
})

t.test('says in the order what is in the DNS server before it is there', async (t) => {
  const scene = await orderSceneFor(t, { hasUpdater: true })
  await killEdge(scene, dieAt('published'), {
    demand: { name: DOMAIN, names: [DOMAIN], keyType: 'ec', cause: 'platform' },
  })
  t.same(
    [...scene.txt.values()].flatMap((values) => [...values]),
    [],
  )
  t.ok((await scene.books.orders.find(DOMAIN, 'ec'))?.row.authorizations)
})
