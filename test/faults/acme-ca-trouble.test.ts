/** Authorities that refuse, fall silent, die with what they knew, or come back: clients are served in the end, and owners told why not yet. */

import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { problem, type SmallFault, smallCaFor } from '../helpers/small-ca.ts'
import { until } from '../helpers/until.ts'
import { type TroubleScene, troubleSceneFor, type View } from './acme-trouble-scene.ts'
import { faultTimeFor } from './fault-time.ts'

const HOST = 'www.shop.test'
const OTHER = 'www.other.test'
const TWO_HOURS_S = 7_200
/** Of a request that hangs, or of a pause, with much to spare. */
const LIMIT_MS = 120_000
/** What takes a minute is for the long form. */
const isShort = faultTimeFor(t, { seconds: 0 }) === 0
/** Within three questions, which are asked for three seconds. */
const SHORT_MS = 2_000
/** Of the first pause in a row: a minute, and a fifth of it to either side. */
const PAUSE_MS = { least: 48_000, most: 72_000 }

t.setTimeout(isShort ? LIMIT_MS : 3 * LIMIT_MS)

t.test('an authority that says "too many" is left alone for as long as it wants', async (t) => {
  const small = await smallCaFor(t)
  const scene = await sceneOf(t, small.directory)
  small.fail('newOrder', problem(429, 'rateLimited', 'too many new orders', String(TWO_HOURS_S)))
  t.notOk(await scene.isServed(HOST, small.rootPem))
  const view = await scene.untilWaiting(HOST)
  t.match(view.lastError, { code: 'ca_limited', detail: /too many new orders/ })
  t.ok(inMs(view.nextTryAt) > (TWO_HOURS_S - 60) * 1_000, 'not before its Retry-After')
  t.match(orderStep(view), { state: 'wrong', detail: /too many new orders.*tried again at/ })
  await showsPage(t, scene, /It is tried again at/)
  await scene.renew(HOST)
  const isPutOff = async () => inMs((await scene.view(HOST)).nextTryAt) > (TWO_HOURS_S - 60) * 1_000
  await until(isPutOff, 'an operator cannot hurry it')
  t.same((await scene.view(HOST)).lastError, view.lastError, 'its words stay')
  t.equal(count(small.requests, 'newOrder'), 1, 'it was not asked again')
  await t.resolves(scene.visitFirst(OTHER, small.rootPem), 'what it did not refuse goes on')
})

t.test('an order that an authority keeps through its maintenance is carried on', async (t) => {
  const small = await smallCaFor(t)
  const scene = await sceneOf(t, small.directory)
  small.fail('finalize', problem(503, 'serverInternal', 'down for maintenance', '1'))
  t.notOk(await scene.isServed(HOST, small.rootPem))
  const view = await scene.untilWaiting(HOST)
  t.match(view.lastError, { code: 'ca_limited', detail: /down for maintenance/ })
  t.ok(isPause(view), 'the first pause')
  await scene.renew(HOST)
  await scene.untilServed(HOST, small.rootPem)
  t.equal(small.orders.length, 1)
  t.equal((await scene.view(HOST)).state, 'served')
})

const REFUSALS: Readonly<Record<string, SmallFault>> = {
  '429 with Retry-After': problem(429, 'rateLimited', 'too many', '3600'),
  '503 with Retry-After': problem(503, 'serverInternal', 'maintenance', '3600'),
  '503 without a word': { status: 503 },
  'a closed connection': 'drop',
}

t.test('the next authority takes over at once', async (t) => {
  for (const [what, fault] of Object.entries(REFUSALS)) {
    await t.test(`after ${what}`, async (t) => {
      const small = await smallCaFor(t)
      const authorities = (pebbles: readonly string[]) => [small.directory, ...pebbles]
      const scene = await troubleSceneFor(t, { authorities, hostnames: [HOST] })
      const [pebble] = scene.pebbles
      small.fail('newOrder', fault, Number.POSITIVE_INFINITY)
      const root = (await pebble?.readRoot()) ?? ''
      await t.resolves(scene.visitFirst(HOST, root), 'the first visitor did not notice')
      t.equal(count(small.requests, 'newOrder'), 1)
      const { state, certificates } = await scene.view(HOST)
      t.match({ state, certificates }, { state: 'served', certificates: [{ ca: pebble?.directory }] })
    })
  }
})

t.test('an authority that dies in the middle of an order for good is followed by the next', async (t) => {
  const scene = await troubleSceneFor(t, { pebbles: 2, hostnames: [HOST] })
  const [first, second] = scene.pebbles
  const visit = scene.isServed(HOST, (await second?.readRoot()) ?? '')
  await scene.untilState(HOST, ['published', 'confirmed', 'answered'])
  await first?.stop()
  await visit
  await scene.untilServed(HOST, (await second?.readRoot()) ?? '')
  t.match((await scene.view(HOST)).certificates, [{ ca: second?.directory }])
  t.same((await scene.edge.store.list('challenge/')).documents, [], 'nothing of the first is left')
})

t.test('an authority that comes back without its memory gets a new order, account and all', async (t) => {
  const scene = await troubleSceneFor(t, { hostnames: [HOST, OTHER] })
  const [pebble] = scene.pebbles
  const visit = scene.isServed(HOST, '')
  await scene.untilState(HOST, ['published', 'confirmed', 'answered'])
  await pebble?.stop()
  await visit
  const view = await scene.untilWaiting(HOST)
  t.match(view.lastError, { code: 'ca_unreachable', detail: /ECONNREFUSED/ })
  t.ok(isPause(view), 'the first pause')
  await pebble?.start()
  await scene.renew(HOST)
  const root = (await pebble?.readRoot()) ?? ''
  await scene.untilServed(HOST, root)
  t.equal((await scene.view(HOST)).state, 'served')

  const other = scene.isServed(OTHER, root)
  await scene.untilState(OTHER, ['published', 'confirmed', 'answered'])
  const goneAt = performance.now()
  await pebble?.stop()
  await pebble?.start()
  const goneMs = performance.now() - goneAt
  await other
  if (goneMs > SHORT_MS) {
    t.comment(`it was away for ${goneMs} ms, which is not short`)
    await scene.renew(OTHER)
  }
  await scene.untilServed(OTHER, (await pebble?.readRoot()) ?? '')
  const failures = scene.edge.logged.filter(({ message }) => message === 'certificate order failed')
  const hasFailed = failures.some(({ name }) => name === OTHER)
  t.ok(!hasFailed || goneMs > SHORT_MS, 'a short absence costs no pause')
})

t.test('an authority that hangs keeps nobody waiting but the order', { skip: isShort }, async (t) => {
  const small = await smallCaFor(t)
  const authorities = (pebbles: readonly string[]) => [small.directory, ...pebbles]
  const scene = await troubleSceneFor(t, { authorities, hostnames: [HOST] })
  const root = (await scene.pebbles[0]?.readRoot()) ?? ''
  small.fail('newOrder', 'hang', Number.POSITIVE_INFINITY)
  t.notOk(await scene.isServed(HOST, root))
  const view = await scene.view(HOST)
  t.match({ state: view.state, step: orderStep(view) }, { state: 'pending', step: { state: 'waiting' } })
  await until(() => scene.isServed(HOST, root), 'the next authority takes over', LIMIT_MS)
})

t.test('a pause ends by itself', { skip: isShort }, async (t) => {
  const small = await smallCaFor(t)
  const scene = await sceneOf(t, small.directory)
  await small.stop()
  t.notOk(await scene.isServed(HOST, small.rootPem))
  t.match((await scene.untilWaiting(HOST)).lastError, { code: 'ca_unreachable' })
  await small.start()
  await until(() => scene.isServed(HOST, small.rootPem), 'it is served without a word', LIMIT_MS)
})

async function sceneOf(t: Test, directory: string): Promise<TroubleScene> {
  return troubleSceneFor(t, { authorities: () => [directory], hostnames: [HOST, OTHER] })
}

/** Over the plain port, where nobody has to click a warning away. */
async function showsPage(t: Test, { edge }: TroubleScene, text: RegExp): Promise<void> {
  const asked = get({ host: '127.0.0.1', port: edge.httpPort, headers: { host: HOST } })
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  t.equal(response.statusCode, 503)
  t.ok(Number(response.headers['retry-after']) > TWO_HOURS_S - 60, 'its visitors are told when')
  t.match(await readText(response), text)
}

function orderStep({ steps }: View) {
  return steps.find(({ step }) => step === 'order')
}

function isPause({ nextTryAt }: View): boolean {
  const leftMs = inMs(nextTryAt)
  return leftMs > PAUSE_MS.least - 10_000 && leftMs < PAUSE_MS.most
}

function inMs(moment = ''): number {
  return Date.parse(moment) - Date.now()
}

function count(requests: readonly string[], wanted: string): number {
  return requests.filter((one) => one === wanted).length
}
