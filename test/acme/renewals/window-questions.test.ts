/** What questions for windows do to a CA that is busy, silent or odd, and what else the office still does. */

import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { KnownCertificate } from '../../../acme/books.ts'
import type { Ca } from '../../../acme/ca/ca.ts'
import { withDefaults } from '../../../acme/renewals/renewal-settings.ts'
import { createWindowQuestions } from '../../../acme/renewals/window-questions.ts'
import { GO } from '../../helpers/ca-scene.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { problem } from '../../helpers/small-ca.ts'
import { until } from '../../helpers/until.ts'
import { DAY_MS, DOMAIN, HOUR_MS, renewalSceneFor, START_MS, sweepsOf } from './renewal-scene.ts'

const NAMES = Array.from({ length: 20 }, (_, index) => `www.customer-${index}.example`)

t.test('leaves an authority alone that says "too many", with all certificates', async (t) => {
  const scene = await renewalSceneFor(t, { hasRenewalInfo: true })
  await scene.addPlatform()
  await Promise.all(NAMES.map((name) => scene.add(name)))
  scene.small.fail('renewal-info', problem(429, 'rateLimited', 'too many', '7200'), Number.POSITIVE_INFINITY)
  scene.start()
  await until(() => scene.asked() > 0, 'it is asked')
  for (const _ of [1, 2, 3]) await sweepsOf(scene)
  t.ok(scene.asked() <= 4, `${scene.asked()} questions: no more than were under way`)
  t.equal(scene.warnings.filter(({ ca }) => ca === scene.small.directory).length, 1, 'said once')
  scene.clock.nowMs += 2 * HOUR_MS
  scene.small.heal()
  const before = scene.asked()
  await until(() => scene.asked() > before, 'it is asked again after its Retry-After')
})

t.test(
  'says nothing of certificates that the authority does not know, and asks half a day later',
  async (t) => {
    const scene = await renewalSceneFor(t, { hasRenewalInfo: true })
    await scene.addPlatform()
    scene.small.fail('renewal-info', { status: 404 }, Number.POSITIVE_INFINITY)
    scene.start({ random: () => 0.5 })
    await until(() => scene.renewalOf(DOMAIN)?.askAtMs !== START_MS, 'it was asked')
    t.equal(scene.renewalOf(DOMAIN)?.askAtMs, START_MS + 12 * HOUR_MS)
    t.same(scene.warnings, [])
  },
)

t.test('goes on behind an explanation and a row that no book takes', async (t) => {
  const scene = await renewalSceneFor(t, { hasRenewalInfo: true })
  await scene.addPlatform()
  for (const name of NAMES.slice(0, 3)) await scene.add(name)
  const window = { start: '2026-04-01T00:00:00Z', end: '2026-04-02T00:00:00Z' }
  const body = { suggestedWindow: window, explanationURL: 'https://ca.example/why is that?' }
  scene.small.fail('renewal-info', { status: 200, body: JSON.stringify(body) }, Number.POSITIVE_INFINITY)
  const { certificates } = scene.books
  const put = certificates.putRenewal.bind(certificates)
  const odd = {
    ...certificates,
    putRenewal: async (row: Parameters<typeof put>[0]) => {
      if (row.name === NAMES[1]) throw new Error('the row is not sound')
      await put(row)
    },
  }
  scene.start({ questionsAtOnce: 1 }, { books: { ...scene.books, certificates: odd } })
  const others = [DOMAIN, NAMES[0] ?? '', NAMES[2] ?? '']
  await until(
    () => others.every((name) => scene.renewalOf(name)?.windowStartMs === Date.parse(window.start)),
    'the others have their windows',
  )
  await sweepsOf(scene)
  t.equal(scene.warnings.filter(({ name }) => name === NAMES[1]).length, 1, 'it rests for an hour')
})

/** Questions about certificates whose CA the settings do not name, into a book of the test's own. */
function questionsFor(count: number, putRenewal: (row: { readonly name: string }) => Promise<void>) {
  const read = (name: string) => () => ({
    ...{ name, keyType: 'ec', names: [name], source: 'acme', chain: [], sealedKey: '' },
    notBefore: new Date(START_MS).toISOString(),
    notAfter: new Date(START_MS + 90 * DAY_MS).toISOString(),
    createdAt: new Date(START_MS).toISOString(),
  })
  const all = Array.from({ length: count }, (_, index) => ({
    read: read(`${index}.example`),
    renewal: undefined,
  }))
  const deps = {
    cas: [{ directory: 'https://ca.example/' } as Ca],
    log: QUIET_LOG,
    books: { certificates: { putRenewal } },
  }
  const questions = createWindowQuestions(
    deps as unknown as Parameters<typeof createWindowQuestions>[0],
    withDefaults({ domain: DOMAIN, keyTypes: ['ec'], now: () => START_MS }),
  )
  return { questions, all: all as unknown as KnownCertificate[] }
}

t.test('asks a part at a time, so that what is due or hurried is not kept waiting', async (t) => {
  const asked: string[] = []
  const { questions, all } = questionsFor(300, async ({ name }) => void asked.push(name))
  t.equal(await questions.ask(all, GO), true)
  t.ok(asked.length >= 200 && asked.length < 210, `${asked.length} at first`)
  t.equal(await questions.ask(all.slice(200), GO), false)
})

t.test('has nothing under way any more when it gives up because the store is away', async (t) => {
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
  let refused = 0
  const { questions, all } = questionsFor(20, async ({ name }) => {
    if (name === '0.example') return answered
    refused += 1
    throw new Error('the store is away')
  })
  let isOver = false
  const given = t.rejects(questions.ask(all, GO), /away/).finally(() => {
    isOver = true
  })
  await until(() => refused > 3, 'the others give up')
  await turn()
  t.notOk(isOver, 'one is under way')
  answer()
  await given
})

t.test('wants the key types that a name has not, and none beside an upload', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.addPlatform()
  await scene.add('www.customer.example')
  await scene.add('mine.customer.example')
  await scene.add('mine.customer.example', { keyType: 'rsa', source: 'upload' })
  scene.clock.nowMs = START_MS + 80 * DAY_MS
  scene.start({ keyTypes: ['ec', 'rsa'] })
  await until(() => scene.wanted.some(({ keyType }) => keyType === 'rsa'), 'the second type is wanted')
  await sweepsOf(scene)
  const wanted = scene.wanted.filter(({ cause }) => cause === 'renewal')
  t.same(
    new Set(wanted.map(({ name, keyType }) => `${name} ${keyType}`)),
    new Set([`${DOMAIN} ec`, 'www.customer.example ec', 'www.customer.example rsa']),
  )
})

t.test('warns of uploads without any authority, and does nothing else', async (t) => {
  const scene = await renewalSceneFor(t)
  await scene.add('www.customer.example')
  await scene.add('mine.customer.example', { source: 'upload' })
  scene.clock.nowMs = START_MS + 80 * DAY_MS
  scene.start({}, { cas: [], orders: undefined })
  await until(() => scene.warnings.some(({ days }) => days === 14), 'it is warned of')
  t.same(scene.wanted, [])
  t.equal(await scene.store.findLease('hold/renewals'), undefined)
})
