/** What users sign themselves counts as long as their key is there, and every credential is checked once. */

import t from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import {
  apiTokenOf,
  CLIENT,
  countSignatureChecks,
  gateKitFor,
  HOST,
  outcomeOf,
  rowFor,
  withToken,
} from '../gate/gate-kit.ts'
import { forge, makeSshKey, type SshKey } from './forge.ts'

const ALGORITHMS = { ed25519: 'EdDSA', nistp256: 'ES256', nistp384: 'ES384', nistp521: 'ES512' } as const

function selfSigned(key: SshKey, alg: string, claims: Readonly<Record<string, unknown>>): string {
  return forge({ alg, typ: 'landfall-self+jwt', kid: key.kid }, { aud: HOST, ...claims }, key.privateKey)
}

t.test('takes tokens signed by each type of SSH key, until the key is removed', async (t) => {
  const kit = await gateKitFor(t)
  const times = { iat: kit.nowS(), exp: kit.nowS() + 600 }
  for (const [curve, alg] of Object.entries(ALGORITHMS)) {
    const key = makeSshKey('ann', curve as keyof typeof ALGORITHMS)
    kit.table.sshKeys.set(key.row.id, key.row)
    kit.table.change()
    const credential = {
      text: selfSigned(key, alg, { ...times, sub: 'ann', ports: [80] }),
      scheme: 'bearer',
    } as const
    t.equal(kit.authenticator.find(credential, HOST), undefined)
    const identity = await kit.authenticator.verify(credential, HOST, CLIENT)
    t.match(
      identity,
      { kind: 'user', user: 'ann', keyId: key.row.id, method: 'self', limits: { ports: [80] } },
      curve,
    )
    t.equal(kit.authenticator.find(credential, HOST), identity)
    kit.table.sshKeys.set(key.row.id, { ...key.row, user: 'bob' })
    t.throws(() => kit.authenticator.check(identity), { code: 'auth_invalid' }, 'a key that changed hands')
    kit.table.sshKeys.delete(key.row.id)
    t.throws(() => kit.authenticator.find(credential, HOST), { code: 'auth_invalid' })
    await t.rejects(kit.authenticator.verify(credential, HOST, CLIENT), { code: 'auth_invalid' })
  }
  const key = makeSshKey('ann')
  kit.table.sshKeys.set(key.row.id, key.row)
  const modern = selfSigned(key, 'Ed25519', times)
  t.equal(
    await outcomeOf(kit, withToken(modern), rowFor('user', 'ann')),
    'passes as ann',
    'by its newer name',
  )
})

t.test('a key of ours that arrives late makes good what was refused for want of it', async (t) => {
  const kit = await gateKitFor(t)
  const token = await kit.sign('token', { sub: 'token:t1', jti: 't1' })
  const row = rowFor('token', 't1')
  kit.table.hiddenSigningKeys.add(kit.signingKey.kid)
  t.equal(await outcomeOf(kit, withToken(token), row), 'auth_invalid unknown-kid')
  kit.table.hiddenSigningKeys.clear()
  t.equal(await outcomeOf(kit, withToken(token), row), 'passes as token:t1')
})

t.test('verifies each token once for all who bring it, and anew for another host', async (t) => {
  const kit = await gateKitFor(t)
  const token = await kit.sign('token', { sub: 'token:t1', jti: 't1' })
  const checks = countSignatureChecks(t)
  const credential = { text: token, scheme: 'bearer' } as const
  const found = await Promise.all(
    Array.from({ length: 100 }, () => kit.authenticator.verify(credential, HOST, CLIENT)),
  )
  t.equal(new Set(found).size, 1)
  t.equal(checks.count, 1)
  await t.rejects(kit.authenticator.verify(credential, 'sibling.example.test', CLIENT), {
    code: 'auth_invalid',
  })
  await t.rejects(kit.authenticator.verify({ text: token, scheme: 'cookie' }, HOST, CLIENT), {
    code: 'auth_invalid',
  })
  t.equal(checks.count, 1)
})

t.test('what is revoked while it is verified does not count', async (t) => {
  const kit = await gateKitFor(t)
  const text = await kit.sign('cookie', { sub: 'ann', sid: 's1' })
  const verified = kit.authenticator.verify({ text, scheme: 'cookie' }, HOST, CLIENT)
  kit.table.revocations.set('session/s1', kit.clock.ms)
  const error: unknown = await verified.catch((thrown: unknown) => thrown)
  t.ok(error instanceof AuthError && error.reason === 'session-revoked')
})

t.test('a user who was revoked is back with what was issued later', async (t) => {
  const kit = await gateKitFor(t)
  const before = await kit.sign('cookie', { sub: 'ann', sid: 's1' })
  kit.table.revocations.set('user/ann', kit.clock.ms)
  kit.clock.ms += 1_000
  const after = await kit.sign('cookie', { sub: 'ann', sid: 's2' })
  const verify = (text: string) => kit.authenticator.verify({ text, scheme: 'cookie' }, HOST, CLIENT)
  await t.rejects(verify(before), { code: 'auth_invalid' })
  t.match(await verify(after), { user: 'ann' })
})

t.test('an API token is compared with what the table holds now', async (t) => {
  const kit = await gateKitFor(t)
  const [secret, id] = ['S'.repeat(43), 'AbCdEfGhIjKl']
  const credential = { text: `lf_${id}_${secret}`, scheme: 'bearer' } as const
  const expiresAt = new Date(kit.clock.ms + 1_000).toISOString()
  kit.table.apiTokens.set(id, apiTokenOf(id, secret, { expiresAt }))
  const identity = kit.authenticator.find(credential, HOST)
  t.match(identity, { kind: 'api', tokenId: id, expiresAt: Date.parse(expiresAt) })
  t.equal(kit.authenticator.find(credential, 'any.example.test'), identity, 'at any host')
  kit.table.apiTokens.set(id, apiTokenOf(id, 'other', { expiresAt }))
  t.throws(() => kit.authenticator.find(credential, HOST), { code: 'auth_invalid' })
  if (identity) t.throws(() => kit.authenticator.check(identity), { code: 'auth_invalid' })
  kit.table.apiTokens.set(id, apiTokenOf(id, secret, { expiresAt: 'whenever' }))
  t.throws(
    () => kit.authenticator.find(credential, HOST),
    { code: 'auth_invalid' },
    'an end that cannot be read',
  )
})
