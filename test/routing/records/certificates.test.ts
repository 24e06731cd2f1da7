/** Records of certificates: what is accepted, and which field is named when it is not. */

import { createHash } from 'node:crypto'
import t from 'tap'
import {
  ACME_ACCOUNTS,
  ACME_BUDGETS,
  CERTIFICATES,
  CHALLENGES,
  type Kind,
  ORDERS,
  RENEWALS,
  SIGHTINGS,
  TICKET_KEYS,
} from '../../../routing/records/record-kinds.ts'
import {
  accountOf,
  CA,
  certificateOf,
  challengeOf,
  FAR,
  NOW,
  orderOf,
  renewalOf,
  ticketKeyOf,
} from '../../helpers/certificate-rows.ts'

const CERTIFICATE = certificateOf('app.example')
const SIGHTING = { challenge: 'c1', edge: 'edge-1.a', expiresAt: FAR }
const BUDGET = { limit: 'domain', subject: 'a/b', fullAt: NOW }

t.test('each has a key of its own', async (t) => {
  const sound: readonly [Kind<never>, object, string][] = [
    [CERTIFICATES, CERTIFICATE, 'certificate/app.example/ec'],
    [RENEWALS, renewalOf(CERTIFICATE), 'renewal/app.example/ec'],
    [ORDERS, orderOf('app.example', { keyType: 'rsa' }), 'order/app.example/rsa'],
    [CHALLENGES, challengeOf('c1'), 'challenge/c1'],
    [SIGHTINGS, SIGHTING, 'sighting/c1/edge-1.a'],
    [ACME_ACCOUNTS, accountOf(CA), `acme-account/${createHash('sha256').update(CA).digest('base64url')}`],
    [ACME_BUDGETS, BUDGET, 'acme-budget/domain/a/b'],
    [TICKET_KEYS, ticketKeyOf('k1'), 'ticket-key/k1'],
  ] as unknown as readonly [Kind<never>, object, string][]
  for (const [kind, record, key] of sound) {
    const parsed = kind.parse(record)
    t.strictSame({ ...(parsed as object) }, record)
    t.equal(kind.keyOf(parsed), key)
    t.throws(() => kind.parse(record, `${kind.prefix}other`), { code: 'api_record_invalid' })
  }
})

t.test('names the field of a certificate that is wrong', async (t) => {
  const half = Buffer.alloc(33_000).toString('base64')
  const cases: readonly [field: string, change: object][] = [
    ['/name', { name: 'App.example' }],
    ['/name', { name: '*.example' }],
    ['/name', { name: '10.0.0.1' }],
    ['/name', { name: '../x' }],
    ['/keyType', { keyType: 'dsa' }],
    ['/names', { names: [] }],
    ['/names', { names: Array.from({ length: 101 }, (_, n) => `n${n}.example`) }],
    ['/names/0', { names: ['a.*.example'] }],
    ['/names/0', { names: ['a.example\n*.example'] }],
    ['/source', { source: 'found' }],
    ['/chain', { chain: [] }],
    ['/chain', { chain: Array.from({ length: 11 }, () => 'AAAA') }],
    ['/chain', { chain: [half, half] }],
    ['/chain/0', { chain: ['-----BEGIN CERTIFICATE-----'] }],
    ['/chain/0', { chain: ['A'.repeat(90_000)] }],
    ['/sealedKey/data', { sealedKey: { sealed: 'v1', keyId: 'abcdefgh', data: 'A'.repeat(20_000) } }],
    ['/sealedKey/sealed', { sealedKey: { sealed: 'v2', keyId: 'abcdefgh', data: 'AAAA' } }],
    ['/sealedKey', { sealedKey: 'MIIB' }],
    ['/notAfter', { notAfter: 'soon' }],
    ['/notAfter', { notAfter: '2020-01-01T00:00:00Z' }],
    ['/ca', { ca: 'ftp://ca.example/' }],
    ['/ca', { ca: `https://ca.example/${'a'.repeat(3_000)}` }],
    ['/profile', { profile: 'a b' }],
  ]
  for (const [field, change] of cases) {
    t.throws(
      () => CERTIFICATES.parse({ ...CERTIFICATE, ...change }),
      { code: 'api_record_invalid', field },
      `${field}`,
    )
  }
})

t.test('names the field of the others that is wrong', async (t) => {
  const { token: _token, ...tokenless } = challengeOf('c1')
  const cases: readonly [kind: Kind<never>, field: string, record: object][] = [
    [RENEWALS, '/of', renewalOf(CERTIFICATE, { of: NOW })],
    [ORDERS, '/state', { ...orderOf('app.example'), state: 'begun' }],
    [ORDERS, '/failures', orderOf('app.example', { failures: -1 })],
    [ORDERS, '/url', orderOf('app.example', { url: 'javascript:1' })],
    [CHALLENGES, '/token', tokenless],
    [CHALLENGES, '/token', challengeOf('c1', { token: '../..' })],
    [CHALLENGES, '/value', challengeOf('c1', { value: 'a\r\nb' })],
    [CHALLENGES, '/id', { ...challengeOf('c1'), id: 'a/b' }],
    [SIGHTINGS, '/edge', { ...SIGHTING, edge: 'a/b' }],
    [ACME_BUDGETS, '/subject', { ...BUDGET, subject: 'a b' }],
    [TICKET_KEYS, '/id', { ...ticketKeyOf('k1'), id: '' }],
  ] as unknown as readonly [Kind<never>, string, object][]
  for (const [kind, field, record] of cases) {
    t.throws(() => kind.parse(record), { code: 'api_record_invalid', field }, `${kind.prefix} ${field}`)
  }
  t.ok(CHALLENGES.parse({ ...tokenless, type: 'dns-01', name: '_acme-challenge.app.example' }))
})
