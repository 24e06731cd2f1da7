/** A token that is bound to a key passes with a proof for each request, and never from memory. */

import { hash } from 'node:crypto'
import t from 'tap'
import { createHolder, holder, type ProofParts, proofOf } from '../tokens/proof-maker.ts'
import { type GateKit, gateKitFor, HOST, outcomeOf, pass, requestOf, rowFor } from './gate-kit.ts'

const ROW = rowFor('token', 't1')

async function bound(kit: GateKit) {
  const cnf = { jkt: holder.thumbprint }
  const token = await kit.sign('token', { sub: 'token:t1', jti: 't1', cnf })
  const ath = hash('sha256', token, 'base64url')
  const prove = (parts: ProofParts = {}) =>
    proofOf({ ...parts, claims: { htu: `https://${HOST}/a`, iat: kit.nowS(), ath, ...parts.claims } })
  return { token, prove }
}

t.test('each proof lets one request in', async (t) => {
  const kit = await gateKitFor(t)
  const { token, prove } = await bound(kit)
  const client = { lastPassage: undefined }
  const ask = (proof: string) =>
    requestOf({ ownAuthorization: `DPoP ${token}`, proof, client, target: '/a?b' })
  const first = ask(await prove())
  const passage = await pass(kit, first, ROW)
  t.match(passage, { subject: 'token:t1', takes: { authorization: false, proof: true } })
  t.equal(kit.gate.find(first, ROW), undefined, 'not even the same one again')
  t.equal(await outcomeOf(kit, first, ROW), 'auth_invalid proof-replayed')
  t.equal(await outcomeOf(kit, ask(await prove()), ROW), 'passes as token:t1')
  t.doesNotThrow(() => kit.gate.recheck(passage, first, ROW), 'what is open needs no other one')
  const fields = { authorization: `DPoP ${token}`, proof: await prove(), target: '/a' }
  t.strictSame((await pass(kit, requestOf(fields), ROW)).takes, { authorization: true, proof: true })
})

t.test('refuses proofs of another key, request or token, and none', async (t) => {
  const kit = await gateKitFor(t)
  const { token, prove } = await bound(kit)
  const ask = async (proof: Promise<string> | string, scheme = 'DPoP') =>
    outcomeOf(
      kit,
      requestOf({ ownAuthorization: `${scheme} ${token}`, proof: await proof, target: '/a' }),
      ROW,
    )
  t.equal(await ask(prove({ signer: await createHolder('ES256') })), 'auth_invalid proof-key')
  t.equal(await ask(prove({ claims: { htm: 'POST' } })), 'auth_invalid proof-htm')
  t.equal(await ask(prove({ claims: { htu: 'https://sibling.example.test/a' } })), 'auth_invalid proof-htu')
  t.equal(await ask(prove({ claims: { ath: 'x' } })), 'auth_invalid proof-ath')
  t.equal(await ask(prove(), 'Bearer'), 'auth_invalid proof-required')
  const without = requestOf({ ownAuthorization: `DPoP ${token}`, target: '/a' })
  t.equal(await outcomeOf(kit, without, ROW), 'auth_invalid no-proof')
})

t.test('forged proofs are charged to the client that sends them', async (t) => {
  const kit = await gateKitFor(t)
  const { token, prove } = await bound(kit)
  const outcomes = new Map<string, number>()
  for (let index = 0; index < 130; index += 1) {
    const proof = `${(await prove()).slice(0, -86)}${'A'.repeat(86)}`
    const request = requestOf({ ownAuthorization: `DPoP ${token}`, proof, target: '/a' })
    const outcome = await outcomeOf(kit, request, ROW)
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  t.equal(outcomes.get('auth_invalid proof-signature'), 100)
  t.equal(outcomes.get('auth_busy client-failed-too-often'), 30)
})
