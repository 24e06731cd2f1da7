/** Assertions: signed once for each caller and host, renewed before they grow old, and never used when they are. */

import t, { type Test } from 'tap'
import { startAssertions } from '../../../auth/gate/assertions.ts'
import type { Identity } from '../../../auth/identity.ts'
import type { SignDemand } from '../../../auth/signing/signing.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'

const HOST = 'web.example.test'
const NOW_MS = 1_800_000_000_000
const ADA: Identity = {
  kind: 'user',
  user: 'ada',
  email: 'ada@example.test',
  sessionId: 's1',
  issuedAt: 0,
  expiresAt: Infinity,
}

/** Signs nothing: the demand and a number are its text. */
function createScene() {
  const clock = { ms: NOW_MS }
  const demands: SignDemand[] = []
  const scene = {
    clock,
    demands,
    log: createListLog(),
    isAway: false,
    /** What signing waits for. */
    gate: Promise.resolve(),
    sign: async (demand: SignDemand) => {
      demands.push(demand)
      const text = `${demand.subject} ${demand.audience} ${demands.length}`
      await scene.gate
      if (scene.isAway) throw new Error('away')
      return text
    },
  }
  return scene
}

async function sceneFor(t: Test, maxKept?: number) {
  const scene = createScene()
  const settings = { now: () => scene.clock.ms, ...(maxKept !== undefined && { maxKept }) }
  const assertions = await startAssertions({ signer: { sign: scene.sign }, log: scene.log }, settings)
  t.teardown(() => assertions[Symbol.asyncDispose]())
  return { scene, assertions }
}

t.test('says who calls, for one host and five minutes', async (t) => {
  const { scene, assertions } = await sceneFor(t)
  const times = { issuedAt: 0, expiresAt: Infinity }
  const callers: readonly (readonly [Identity, string, Readonly<Record<string, unknown>>])[] = [
    [ADA, 'ada', { kind: 'user', email: 'ada@example.test', sid: 's1' }],
    [{ kind: 'user', user: 'oidc:1|2', keyId: 'k', ...times }, 'oidc:1|2', { kind: 'user' }],
    [
      { kind: 'token', grantId: 'g1', credentialId: 'g1', ctx: '{"a":1}', ...times },
      'token:g1',
      { kind: 'token', ctx: '{"a":1}' },
    ],
    [{ kind: 'link', grantId: 'g2', credentialId: 'c', ...times }, 'link:g2', { kind: 'link' }],
    [{ kind: 'api', tokenId: 'a1', ...times }, 'api:a1', { kind: 'api' }],
  ]
  for (const [identity, subject, claims] of callers) {
    await assertions.sign(identity, HOST)
    const expiresAt = NOW_MS / 1_000 + 300
    t.same(scene.demands.at(-1), { kind: 'assertion', audience: HOST, subject, expiresAt, claims })
  }
  await t.rejects(assertions.sign({ kind: 'user', ...times }, HOST), {
    code: 'auth_invalid',
    reason: 'no-subject',
  })
  t.equal(scene.demands.length, callers.length)
})

t.test('keeps one for each caller and host; equal callers share it', async (t) => {
  const { scene, assertions } = await sceneFor(t)
  t.equal(assertions.find(ADA, HOST), undefined)
  const text = await assertions.sign(ADA, HOST)
  t.equal(assertions.find(ADA, HOST), text)
  t.equal(assertions.find({ ...ADA, issuedAt: 5, expiresAt: 6 }, HOST), text)
  t.equal(await assertions.sign(ADA, HOST), text)
  t.equal(scene.demands.length, 1)
  const others: readonly Identity[] = [
    { ...ADA, user: 'bob' },
    { ...ADA, sessionId: 's2' },
    { ...ADA, email: 'bob@example.test' },
    { ...ADA, ctx: 'x' },
    { ...ADA, kind: 'token', grantId: 'g' },
    { ...ADA, kind: 'link', grantId: 'g' },
  ]
  for (const other of others) {
    t.equal(assertions.find(other, HOST), undefined, JSON.stringify(other))
    t.not(await assertions.sign(other, HOST), text)
  }
  t.equal(assertions.find(ADA, 'other.example.test'), undefined)
  t.equal(assertions.find(ADA, HOST), text)
})

t.test('many requests at once sign one', async (t) => {
  const { scene, assertions } = await sceneFor(t)
  const texts = await Promise.all(Array.from({ length: 50 }, () => assertions.sign(ADA, HOST)))
  t.equal(new Set(texts).size, 1)
  t.equal(scene.demands.length, 1)
})

t.test('is renewed behind after two minutes, and never used after four', async (t) => {
  const { scene, assertions } = await sceneFor(t)
  const first = await assertions.sign(ADA, HOST)
  scene.clock.ms = NOW_MS + 119_999
  t.equal(assertions.find(ADA, HOST), first)
  t.equal(scene.demands.length, 1)
  scene.clock.ms = NOW_MS + 120_000
  for (let count = 0; count < 10; count += 1)
    t.equal(assertions.find(ADA, HOST), first, 'the old one meanwhile')
  await until(() => assertions.find(ADA, HOST) !== first, 'the new one')
  t.equal(scene.demands.length, 2)
  t.equal(scene.demands[1]?.expiresAt, NOW_MS / 1_000 + 120 + 300)
  scene.clock.ms = NOW_MS + 120_000 + 239_999
  const second = assertions.find(ADA, HOST)
  t.ok(second)
  await until(() => assertions.find(ADA, HOST) !== second, 'renewed again')
  scene.clock.ms += 240_000
  t.equal(assertions.find(ADA, HOST), undefined)
  t.match(await assertions.sign(ADA, HOST), / 4$/)
})

t.test('is not used when the clock was set back before it was signed', async (t) => {
  const { scene, assertions } = await sceneFor(t)
  await assertions.sign(ADA, HOST)
  scene.clock.ms -= 60_000
  t.equal(assertions.find(ADA, HOST), undefined)
  t.match(await assertions.sign(ADA, HOST), / 2$/)
})

t.test(
  'while no key can sign, the old one serves until it is too old; the log hears of it once',
  async (t) => {
    const { scene, assertions } = await sceneFor(t)
    const first = await assertions.sign(ADA, HOST)
    scene.isAway = true
    for (let second = 120; second < 240; second += 1) {
      scene.clock.ms = NOW_MS + second * 1_000
      t.equal(assertions.find(ADA, HOST), first)
      await new Promise(setImmediate)
    }
    t.equal(scene.demands.length, 13, 'tried every ten seconds')
    t.match(scene.log.lines, [{ level: 'warn', message: /cannot be renewed/ }])
    scene.clock.ms = NOW_MS + 240_000
    t.equal(assertions.find(ADA, HOST), undefined)
    await t.rejects(assertions.sign(ADA, HOST), { message: 'away' })
    scene.isAway = false
    t.ok(await assertions.sign(ADA, HOST))
  },
)

t.test('the oldest goes when there are too many', async (t) => {
  const { assertions } = await sceneFor(t, 3)
  const hosts = ['a', 'b', 'c', 'd', 'e']
  for (const host of hosts) await assertions.sign(ADA, host)
  t.same(
    hosts.filter((host) => assertions.find(ADA, host) !== undefined),
    ['c', 'd', 'e'],
  )
})

t.test('its end waits for what is being signed, and starts nothing more', async (t) => {
  const scene = createScene()
  const deps = { signer: { sign: scene.sign }, log: scene.log }
  const assertions = await startAssertions(deps, { now: () => scene.clock.ms })
  await assertions.sign(ADA, HOST)
  const { promise, resolve } = Promise.withResolvers<void>()
  scene.gate = promise
  scene.clock.ms += 120_000
  assertions.find(ADA, HOST)
  let isEnded = false
  const end = assertions[Symbol.asyncDispose]().then(() => {
    isEnded = true
  })
  await new Promise(setImmediate)
  t.notOk(isEnded)
  resolve()
  await end
  scene.clock.ms += 120_000
  assertions.find(ADA, HOST)
  t.equal(scene.demands.length, 2)
})
