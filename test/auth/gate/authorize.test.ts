/** Nobody gets in without ownership, a scope or a live grant of that very port. */

import fc from 'fast-check'
import t from 'tap'
import type { ApiTokenRow } from '../../../auth/access.ts'
import { findRight, findRole, type RouteGrant } from '../../../auth/gate/authorize.ts'
import type { Identity } from '../../../auth/identity.ts'

const NOW = Date.parse('2026-03-01T00:00:00Z')
const LATER = '2026-03-02T00:00:00Z'

function contextOf(other: { owners?: Record<string, string>; tokens?: ApiTokenRow[]; nowMs?: number } = {}) {
  const { owners = {}, tokens = [], nowMs = NOW } = other
  return {
    access: {
      findOwner: (pool: string) => owners[pool],
      findApiToken: (id: string) => tokens.find((token) => token.id === id),
    },
    nowMs,
  }
}

const times = { issuedAt: NOW, expiresAt: NOW + 1_000 }
const ANN: Identity = { kind: 'user', user: 'ann', email: 'ann@example.test', ...times }
const TOKEN: Identity = { kind: 'token', credentialId: 'tok', grantId: 'tok', ...times }
const LINK: Identity = { kind: 'link', credentialId: 'cookie-1', grantId: 'lnk', ...times }
const API: Identity = { kind: 'api', tokenId: 'api', ...times }

function roleFor(identity: Identity, kind: string, value: string, other: Partial<RouteGrant> = {}) {
  const grants = [{ to: { kind, value }, role: 'viewer', ...other }]
  return findRole(identity, { pool: 'web', grants }, contextOf())
}

t.test('meets each identity with its own kinds of grantees alone', async (t) => {
  const fits: [Identity, string, string][] = [
    [ANN, 'user', 'ann'],
    [ANN, 'email', 'ann@example.test'],
    [ANN, 'domain', 'example.test'],
    [TOKEN, 'token', 'tok'],
    [API, 'token', 'api'],
    [LINK, 'link', 'lnk'],
  ]
  const values = [...fits.map(([, , value]) => value), 'cookie-1', 'test', '', 'EXAMPLE.TEST', 'undefined']
  const kinds = ['user', 'email', 'domain', 'token', 'link', 'vm', 'api', 'User', '']
  for (const identity of [ANN, TOKEN, LINK, API]) {
    for (const kind of kinds) {
      for (const value of values) {
        const isFit = fits.some(([who, k, v]) => who === identity && k === kind && v === value)
        t.equal(
          roleFor(identity, kind, value),
          isFit ? 'viewer' : undefined,
          `${identity.kind} ${kind} ${value}`,
        )
      }
    }
  }
})

t.test('the domain is all that stands behind the last @, and no part of it', async (t) => {
  const roles = (email: string, value: string) => roleFor({ ...ANN, email }, 'domain', value)
  t.equal(roles('a@b@example.test', 'example.test'), 'viewer')
  t.equal(roles('a@b@example.test', 'b@example.test'), undefined)
  t.equal(roles('ann@sub.example.test', 'example.test'), undefined)
  t.equal(roles('ann@evil-example.test', 'example.test'), undefined)
  t.equal(roles('ann@example.test.evil', 'example.test'), undefined)
})

t.test('a grant ends at its moment, and one that cannot be read never began', async (t) => {
  t.equal(roleFor(ANN, 'user', 'ann', { expiresAt: LATER }), 'viewer')
  t.equal(roleFor(ANN, 'user', 'ann', { expiresAt: '2026-03-01T00:00:00Z' }), undefined)
  t.equal(roleFor(ANN, 'user', 'ann', { expiresAt: 'soon' }), undefined)
  t.equal(roleFor(ANN, 'user', 'ann', { role: 'owner' }), undefined)
  const grants = [
    { to: { kind: 'user', value: 'ann' }, role: 'root', expiresAt: LATER },
    { to: { kind: 'email', value: 'ann@example.test' }, role: 'viewer' },
  ]
  t.strictSame(findRight(ANN, { grants }, contextOf()), { role: 'root', endsAt: Date.parse(LATER) })
  t.strictSame(findRight(ANN, { grants }, contextOf({ nowMs: Date.parse(LATER) })), {
    role: 'viewer',
    endsAt: Number.POSITIVE_INFINITY,
  })
})

t.test('the owner of the pool may do everything, and nobody who is called the same', async (t) => {
  const context = contextOf({ owners: { web: 'ann' } })
  t.equal(findRole(ANN, { pool: 'web' }, context), 'root')
  t.equal(findRole(ANN, { pool: 'other' }, context), undefined)
  t.equal(findRole(ANN, {}, context), undefined)
  for (const kind of ['token', 'link', 'api'] as const) {
    t.equal(findRole({ ...ANN, kind, grantId: 'ann', tokenId: 'ann' }, { pool: 'web' }, context), undefined)
  }
  t.equal(
    findRole({ kind: 'user', ...times }, { pool: 'nobodys' }, contextOf()),
    undefined,
    'two unknowns are not equal',
  )
})

t.test('scopes of an API token: who may administer or share is root, who may read sees', async (t) => {
  const roleOf = (pool: string, ...verbs: string[]) =>
    findRole(
      API,
      { pool: 'web' },
      contextOf({ tokens: [{ id: 'api', digest: '', scopes: [{ pool, verbs }] }] }),
    )
  t.equal(roleOf('web', 'admin'), 'root')
  t.equal(roleOf('*', 'read', 'share'), 'root')
  t.equal(roleOf('web', 'read'), 'viewer')
  t.equal(roleOf('*', 'write'), 'viewer')
  t.equal(roleOf('web2', 'admin'), undefined)
  t.equal(roleOf('web'), undefined)
  t.equal(roleOf('web', 'Admin'), undefined)
  t.equal(
    findRole(
      { ...API, kind: 'token' },
      { pool: 'web' },
      contextOf({ tokens: [{ id: 'api', digest: '', scopes: [{ pool: '*', verbs: ['admin'] }] }] }),
    ),
    undefined,
  )
})

t.test('what belongs to no pool is reached by a scope over all pools, and by nobody else', async (t) => {
  const scopesOf = (pool: string) =>
    contextOf({ tokens: [{ id: 'api', digest: '', scopes: [{ pool, verbs: ['admin'] }] }] })
  t.equal(findRole(API, {}, scopesOf('*')), 'root')
  t.equal(findRole(API, {}, scopesOf('web')), undefined)
  t.equal(findRole({ ...API, tokenId: 'bootstrap' }, {}, contextOf()), 'root')
  t.equal(findRole(ANN, {}, contextOf({ owners: { undefined: 'ann' } })), undefined)
})

const name = fc.constantFrom('ann', 'bob', 'tok', 'lnk', 'api', 'example.test', 'ann@example.test')
const anyGrant = fc.record({
  id: fc.string(),
  to: fc.record({ kind: fc.constantFrom('user', 'email', 'domain', 'token', 'link', 'vm'), value: name }),
  role: fc.constantFrom('viewer', 'root'),
  expiresAt: fc.constantFrom(LATER, '2026-02-01T00:00:00Z'),
  ports: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { minLength: 1 }), { nil: undefined }),
})
const anyIdentity = fc.constantFrom(ANN, TOKEN, LINK, API)

/** What routing does when it writes the rows: a row has the grants of its port, and 1 is the default port. */
function rowOfPort(grants: readonly { ports?: number[] | undefined }[], port: number) {
  return {
    pool: 'web',
    port,
    grants: grants.filter(({ ports }) => (ports ?? [1]).includes(port)) as RouteGrant[],
  }
}

t.test('without a grant and without ownership nobody is ever let in', async () => {
  fc.assert(
    fc.property(anyIdentity, fc.array(name), (identity, owners) => {
      const others = Object.fromEntries(
        owners.filter((owner) => owner !== 'ann').map((owner) => ['web', owner]),
      )
      return findRole(identity, { pool: 'web', grants: [] }, contextOf({ owners: others })) === undefined
    }),
  )
})

t.test('grants of one port never let into another', async () => {
  fc.assert(
    fc.property(anyIdentity, fc.array(anyGrant), fc.integer({ min: 1, max: 4 }), (identity, grants, port) => {
      const elsewhere = grants.filter(({ ports }) => !(ports ?? [1]).includes(port))
      return findRole(identity, rowOfPort(elsewhere, port), contextOf()) === undefined
    }),
  )
})

t.test('more grants never take a role away, and root is never less than viewer', async () => {
  const rank = (role: string | undefined) => ['viewer', 'root'].indexOf(role ?? '')
  fc.assert(
    fc.property(anyIdentity, fc.array(anyGrant), fc.array(anyGrant), (identity, some, more) => {
      const few = findRole(identity, rowOfPort(some, 1), contextOf())
      const many = findRole(identity, rowOfPort([...more, ...some], 1), contextOf())
      const owned = findRole(identity, rowOfPort(some, 1), contextOf({ owners: { web: 'ann' } }))
      return rank(many) >= rank(few) && rank(owned) >= rank(few)
    }),
  )
})
