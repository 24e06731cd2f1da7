/** Forged, altered, misused and outlived credentials: each is refused, for the right reason, and at little cost. */

import t from 'tap'
import { AuthError } from '../../auth/errors.ts'
import type { GateRequest, GateRoute } from '../../auth/gate/gate.ts'
import { problemOf } from '../../lib/problem.ts'
import {
  countSignatureChecks,
  gateKitFor,
  outcomeOf,
  pass,
  RATE,
  requestOf,
  rowOf,
  withToken,
} from '../auth/gate/gate-kit.ts'
import { createForger, type Forger, goodOnes, type Hostile, TOKEN_ID } from '../auth/tokens/forger.ts'
import { listHostileClaims } from '../auth/tokens/hostile-claims.ts'
import { listHostileForms } from '../auth/tokens/hostile-forms.ts'
import { listHostileUses } from '../auth/tokens/hostile-uses.ts'

const ROW: GateRoute = rowOf({
  grants: [
    { to: { kind: 'token', value: TOKEN_ID }, role: 'viewer' },
    { to: { kind: 'user', value: 'ann' }, role: 'viewer' },
  ],
})

const listHostile = (forger: Forger) => [
  ...listHostileForms(forger),
  ...listHostileClaims(forger),
  ...listHostileUses(forger),
]

function toRequest(hostile: Hostile): GateRequest {
  if ('own' in hostile) return withToken(hostile.own)
  if ('bearer' in hostile) return requestOf({ authorization: `Bearer ${hostile.bearer}` })
  if ('cookie' in hostile) return requestOf({ cookie: `theme=dark; __Host-landfall=${hostile.cookie}` })
  const { fields } = hostile
  const named: Record<string, string> = {}
  for (const [name, value] of Object.entries(fields)) {
    const key = NAMES[name]
    if (key !== undefined) named[key] = value
  }
  return requestOf(named)
}

const NAMES: Readonly<Record<string, string>> = {
  'X-Landfall-Authorization': 'ownAuthorization',
  Authorization: 'authorization',
  Cookie: 'cookie',
  Origin: 'origin',
  'Sec-Fetch-Site': 'fetchSite',
  'Sec-Fetch-Mode': 'fetchMode',
}

t.test('lets the good ones in that the hostile ones are made of', async (t) => {
  const kit = await gateKitFor(t)
  for (const good of goodOnes(createForger(kit))) {
    t.match(await outcomeOf(kit, toRequest(good), ROW), /^passes as (ann|token:)/)
  }
})

t.test('refuses each hostile one for its own reason, and checks no signature that it need not', async (t) => {
  const kit = await gateKitFor(t)
  const forger = createForger(kit)
  goodOnes(forger)
  const cases = listHostile(forger)
  t.ok(cases.length >= 60, `${cases.length} cases`)
  const counter = countSignatureChecks(t)
  let client = 0
  for (const { name, hostile, refusal, checks = 0 } of cases) {
    client += 1
    counter.count = 0
    t.equal(await outcomeOf(kit, toRequest(hostile), ROW, `192.0.2.${client % 250}`), refusal, name)
    t.equal(counter.count, checks, `signature checks for ${name}`)
  }
})

t.test('gives one answer for all tokens that do not count', async (t) => {
  const kit = await gateKitFor(t)
  const forger = createForger(kit)
  goodOnes(forger)
  const answers = new Map<string, Set<string>>()
  for (const { hostile } of listHostile(forger)) {
    const error: unknown = await pass(kit, toRequest(hostile), ROW).catch((thrown: unknown) => thrown)
    if (!(error instanceof AuthError)) throw new Error('it passed')
    const told = answers.get(error.code) ?? new Set()
    answers.set(error.code, told.add(JSON.stringify(problemOf(error, 'id'))))
  }
  for (const [code, told] of answers) t.equal(told.size, 1, code)
  for (const told of [...answers.values()].flatMap((texts) => [...texts])) {
    t.notMatch(told, /signature|kid\b|expired|wrong-|audience|secret/)
  }
})

t.test('a storm of forgeries from one client costs what its budget allows', async (t) => {
  const kit = await gateKitFor(t)
  const { token } = createForger(kit)
  const counter = countSignatureChecks(t)
  const good = token({ jti: TOKEN_ID })
  let busy = 0
  for (let index = 0; index < 300; index += 1) {
    const forged = `${token({ ctx: String(index) }).slice(0, -86)}${'A'.repeat(86)}`
    const outcome = await outcomeOf(kit, withToken(forged), ROW)
    if (outcome.startsWith('auth_busy')) busy += 1
    else t.equal(outcome, 'auth_invalid bad-signature')
  }
  t.equal(counter.count, 5 * RATE, 'signature checks')
  t.equal(busy, 300 - 5 * RATE)
  t.equal(
    await outcomeOf(kit, withToken(good), ROW, '198.51.100.1'),
    `passes as token:${TOKEN_ID}`,
    'others come in',
  )
  t.equal(
    await outcomeOf(kit, withToken(good), ROW),
    `passes as token:${TOKEN_ID}`,
    'and who was seen before, from there too',
  )
  kit.clock.ms += 1_000
  counter.count = 0
  for (let index = 0; index < 100; index += 1) {
    await outcomeOf(kit, withToken(`${token({ ctx: `x${index}` }).slice(0, -86)}${'A'.repeat(86)}`), ROW)
  }
  t.equal(counter.count, RATE, 'a second later')
})

t.test('a storm of unknown keys costs no check and no budget', async (t) => {
  const kit = await gateKitFor(t)
  const { token } = createForger(kit)
  const counter = countSignatureChecks(t)
  for (let index = 0; index < 1_000; index += 1) {
    const kid = String(index).padStart(43, 'k')
    t.equal(await outcomeOf(kit, withToken(token({}, { kid })), ROW), 'auth_invalid unknown-kid')
  }
  t.equal(counter.count, 0)
  t.equal(await outcomeOf(kit, withToken(token()), ROW), `passes as token:${TOKEN_ID}`)
})

t.test('the same forgery again and again is checked once', async (t) => {
  const kit = await gateKitFor(t)
  const { token } = createForger(kit)
  const forged = `${token().slice(0, -86)}${'A'.repeat(86)}`
  const counter = countSignatureChecks(t)
  for (let index = 0; index < 500; index += 1) {
    t.equal(
      await outcomeOf(kit, withToken(forged), ROW, `192.0.2.${index % 200}`),
      'auth_invalid bad-signature',
    )
  }
  t.equal(counter.count, 1)
})

t.test('high s is another spelling of a signature that counts, and of the same token', async (t) => {
  const kit = await gateKitFor(t)
  const { token } = createForger(kit)
  const [head, body, signature = ''] = token().split('.')
  const bytes = Buffer.from(signature, 'base64url')
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const s = order - BigInt(`0x${bytes.toString('hex', 32)}`)
  const other = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')])
  const text = `${head}.${body}.${other.toString('base64url')}`
  t.equal(await outcomeOf(kit, withToken(text), ROW), `passes as token:${TOKEN_ID}`)
  kit.table.revocations.set(`credential/${TOKEN_ID}`, kit.clock.ms)
  kit.table.change()
  t.equal(await outcomeOf(kit, withToken(text), ROW), 'auth_invalid credential-revoked', 'and goes with it')
})
