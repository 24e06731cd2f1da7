/** Pebble in strict mode: whole issuances, with nonces refused and authorizations used again as it likes, and as it likes not. */

import { createHash, X509Certificate } from 'node:crypto'
import t from 'tap'
import type { Ca, CaChallenge } from '../../../acme/ca/ca.ts'
import { CaProblem } from '../../../acme/ca/ca-problem.ts'
import { caFor, failureOf, GO, issue, prove } from '../../helpers/ca-scene.ts'
import { type Pebble, type PebbleOptions, pebbleFor } from '../../helpers/pebble.ts'

const HMAC_KEY = Buffer.alloc(32, 9).toString('base64url')
const NAMES = ['a.example', '*.a.example']

function answerBy(
  ca: Ca,
  { dns }: Pebble,
): (challenges: readonly CaChallenge[], name: string) => Promise<CaChallenge> {
  return async (challenges, name) => {
    const challenge = challenges.find(({ type }) => type === 'dns-01')
    if (!challenge) throw new Error('there is no dns-01')
    const keyAuthorization = `${challenge.token}.${await ca.getThumbprint()}`
    // With a sixth value Pebble's client finds the answer too long (512 bytes without EDNS).
    await dns.clearTxt(`_acme-challenge.${name}`)
    await dns.addTxt(
      `_acme-challenge.${name}`,
      createHash('sha256').update(keyAuthorization).digest('base64url'),
    )
    return challenge
  }
}

const cases: Readonly<Record<string, PebbleOptions>> = {
  'as it is': {},
  'with half of the nonces refused and half of the authorizations used again': {
    nonceReject: 50,
    authzReuse: 50,
  },
  'with neither': { nonceReject: 0, authzReuse: 0 },
}

for (const [name, options] of Object.entries(cases)) {
  t.test(`issues certificates ${name}`, async (t) => {
    const pebble = await pebbleFor(t, options)
    const ca = caFor(t, { ...pebble, trustedPem: pebble.serverRootPem })
    for (const round of [1, 2, 3]) {
      const [leaf, intermediate] = await issue(ca, { names: NAMES }, answerBy(ca, pebble))
      t.match(new X509Certificate(leaf ?? '').subjectAltName, /DNS:\*\.a\.example/, `round ${round}`)
      const root = new X509Certificate(await pebble.readRoot())
      t.ok(new X509Certificate(intermediate ?? '').verify(root.publicKey))
    }
  })
}

t.test('binds its account to an external one', async (t) => {
  const pebble = await pebbleFor(t, { externalAccounts: { mine: HMAC_KEY }, isAlwaysValid: true })
  const settings = { ...pebble, trustedPem: pebble.serverRootPem }
  t.equal((await failureOf(caFor(t, settings).getAccount(GO), CaProblem)).code, 'ca_account')
  t.ok(await caFor(t, { ...settings, externalAccount: { kid: 'mine', hmacKey: HMAC_KEY } }).getAccount(GO))
})

t.test('goes on with the same key when Pebble has forgotten everything', async (t) => {
  const pebble = await pebbleFor(t, { isAlwaysValid: true })
  const ca = caFor(t, { ...pebble, trustedPem: pebble.serverRootPem })
  const before = await prove(ca, { names: ['a.example'] })
  const thumbprint = await ca.getThumbprint()
  await pebble.stop()
  t.equal((await failureOf(ca.getOrder(before.url, GO), CaProblem)).code, 'ca_unreachable')
  await pebble.start()
  t.equal((await prove(ca, { names: ['a.example'] })).status, 'ready')
  t.equal(await ca.getThumbprint(), thumbprint)
  t.equal((await failureOf(ca.getOrder(before.url, GO), CaProblem)).problem.status, 404)
})

t.test('says in its words what Pebble does not like', async (t) => {
  const pebble = await pebbleFor(t)
  const ca = caFor(t, { ...pebble, trustedPem: pebble.serverRootPem })
  const refused = await failureOf(ca.createOrder({ names: ['under_score.example'] }, GO), CaProblem)
  t.match(refused.problem, { type: 'malformed', status: 400, detail: /illegal character/ })
  const { authorizations } = await ca.createOrder({ names: ['b.example'] }, GO)
  const [url = ''] = authorizations
  const { challenges } = await ca.getAuthorization(url, GO)
  await ca.answerChallenge(challenges.find(({ type }) => type === 'http-01')?.url ?? '', GO)
  let authorization = await ca.getAuthorization(url, GO)
  while (authorization.status === 'pending') authorization = await ca.getAuthorization(url, GO)
  t.equal(authorization.status, 'invalid')
  const told = authorization.challenges.find(({ problem }) => problem)?.problem
  t.equal(told && new CaProblem(told).code, 'ca_unauthorized')
})
