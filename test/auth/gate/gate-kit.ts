/** A gate over a table that a test writes as it likes, with real keys, a clock that it turns, and a count of signature checks. */

import { createPrivateKey, hash, type KeyObject } from 'node:crypto'
import type { Test } from 'tap'
import type { Access, ApiTokenRow, RevokedKind, SshKeyRow } from '../../../auth/access.ts'
import { AuthError } from '../../../auth/errors.ts'
import { startAssertions } from '../../../auth/gate/assertions.ts'
import {
  createGate,
  type Gate,
  type GatePassage,
  type GateRequest,
  type GateRoute,
} from '../../../auth/gate/gate.ts'
import type { TokenKind } from '../../../auth/signing/signing.ts'
import type { SigningKeys } from '../../../auth/signing/signing-keys.ts'
import { type Authenticator, createAuthenticator } from '../../../auth/tokens/authenticator.ts'
import { createProofs } from '../../../auth/tokens/proof.ts'
import { createSealer } from '../../../lib/seal.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { createClock, edgeFor, ISSUER, SECRET, storeFor, type TestClock } from '../signing/edges.ts'

export { ISSUER, type TestClock }

export const HOST = 'web.example.test'
export const CLIENT = '192.0.2.7'
export const RATE = 20

/** What the scripted table holds; `change` makes edits known. */
export interface ScriptedTable {
  readonly owners: Map<string, string>
  readonly sshKeys: Map<string, SshKeyRow>
  readonly apiTokens: Map<string, ApiTokenRow>
  /** `kind/value` to Unix milliseconds. */
  readonly revocations: Map<string, number>
  readonly vms: Map<string, string>
  readonly hiddenSigningKeys: Set<string>
  ageMs: number
  awayMs: number
  routesAgeMs: number
  routesAwayMs: number
  change(): void
}

export interface GateKit {
  readonly gate: Gate
  readonly authenticator: Authenticator
  readonly table: ScriptedTable
  readonly clock: TestClock
  readonly keys: SigningKeys
  /** The private half of the key that signs now, and its `kid`. */
  readonly signingKey: { readonly key: KeyObject; readonly kid: string }
  readonly operator: string
  /** Signed as the API and the login service do. */
  sign(kind: TokenKind, claims?: Readonly<Record<string, unknown>>, host?: string): Promise<string>
  nowS(): number
}

export async function gateKitFor(t: Test): Promise<GateKit> {
  const clock = createClock()
  const now = () => clock.ms
  const { keys, access: signing } = await edgeFor(t, { store: await storeFor(t), clock })
  const { table, access } = createTable(signing)
  const operator = 'o'.repeat(43)
  const authenticator = createAuthenticator(
    { access, verifier: keys, isOperator: (text) => text === operator, now },
    { issuer: ISSUER, failuresPerSecond: RATE },
  )
  const assertions = await startAssertions({ signer: keys, log: createListLog() }, { now })
  t.teardown(() => assertions[Symbol.asyncDispose]())
  const routes = { ageMs: () => table.routesAgeMs, awayMs: () => table.routesAwayMs }
  const gate = createGate(
    {
      ...{ access, routes, authenticator, assertions, now },
      proofs: createProofs({ now }),
      vmOf: (hostname) => table.vms.get(hostname),
    },
    { ageLimitMs: 60_000, awayLimitMs: 3_600_000 },
  )
  const [row] = signing.listSigningKeys()
  if (row === undefined) throw new Error('no signing key')
  const jwk = createSealer(SECRET).open(row.sealedKey, `signing-key/${row.id}`).toString()
  const key = createPrivateKey({ key: JSON.parse(jwk), format: 'jwk' })
  const nowS = () => Math.floor(clock.ms / 1_000)
  return {
    ...{ gate, authenticator, table, clock, keys, operator, nowS },
    signingKey: { key, kid: row.id },
    sign: (kind, { sub = 'ann', jti, exp = nowS() + 3_600, ...claims } = {}, host = HOST) =>
      keys.sign({
        kind,
        audience: host,
        subject: String(sub),
        expiresAt: Number(exp),
        ...(jti !== undefined && { id: String(jti) }),
        // A cookie says what its host led to, as the rows of `rowOf` do.
        claims: kind === 'cookie' ? { ...PLACE, ...claims } : claims,
      }),
  }
}

type Signing = Pick<Access, 'findSigningKey' | 'listSigningKeys'>

function createTable(signing: Signing): { readonly table: ScriptedTable; readonly access: Access } {
  const rings = new Set<() => void>()
  let version = 1
  const table: ScriptedTable = {
    owners: new Map([['web', 'olga']]),
    sshKeys: new Map(),
    apiTokens: new Map(),
    revocations: new Map(),
    vms: new Map([
      [HOST, 'web'],
      [`8000--${HOST}`, 'web'],
      ['sibling.example.test', 'sibling'],
    ]),
    hiddenSigningKeys: new Set(),
    ...{ ageMs: 0, awayMs: 0, routesAgeMs: 0, routesAwayMs: 0 },
    change() {
      version += 1
      for (const ring of rings) ring()
    },
  }
  const access: Access = {
    get version() {
      return version
    },
    get ageMs() {
      return table.ageMs
    },
    get awayMs() {
      return table.awayMs
    },
    findSigningKey: (id) => (table.hiddenSigningKeys.has(id) ? undefined : signing.findSigningKey(id)),
    listSigningKeys: () => signing.listSigningKeys(),
    findSshKey: (id) => table.sshKeys.get(id),
    findApiToken: (id) => table.apiTokens.get(id),
    findOwner: (pool) => table.owners.get(pool),
    poolsOf: (user) => [...table.owners].filter(([, owner]) => owner === user).map(([pool]) => pool),
    findRevocation: (kind: RevokedKind, value) => table.revocations.get(`${kind}/${value}`),
    onChange(ring) {
      rings.add(ring)
      return () => rings.delete(ring)
    },
  }
  return { table, access }
}

export type Grants = NonNullable<GateRoute['grants']>

/** Of rows, and of cookies for them. */
export const PLACE = { vm: 'web', pool: 'web' } as const

export function rowOf(other: Partial<GateRoute> = {}): GateRoute {
  return Object.freeze({ visibility: 'private', port: 80, ...PLACE, ...other })
}

/** A row that lets in one grantee. */
export function rowFor(
  kind: string,
  value: string,
  other: Partial<GateRoute> & { role?: string } = {},
): GateRoute {
  const { role = 'viewer', ...rest } = other
  return rowOf({ grants: [{ to: { kind, value }, role }], ...rest })
}

type Fields = GateRequest['fields']

export interface RequestDemand extends Partial<Fields> {
  readonly method?: string
  readonly target?: string
  readonly host?: string
  readonly port?: number
  readonly isUpgrade?: boolean
  readonly isConnect?: boolean
  /** The connection; a new one by default. */
  readonly client?: GateRequest['client']
}

/** Counts follow from the values unless they are given. */
export function requestOf(demand: RequestDemand = {}): GateRequest {
  const {
    method = 'GET',
    target = '/',
    host = HOST,
    port,
    isUpgrade = false,
    isConnect = false,
    ...rest
  } = demand
  const { client = { lastPassage: undefined }, ...fields } = rest
  const countOf = (value: string | undefined) => (value === undefined ? 0 : 1)
  return {
    ...{ method, target, isUpgrade, isConnect, client },
    authority: { host, text: port === undefined ? host : `${host}:${port}` },
    fields: {
      ...{
        cookie: '',
        authorization: '',
        ownAuthorization: '',
        proof: '',
        origin: '',
        fetchSite: '',
        fetchMode: '',
        fetchDest: '',
      },
      authorizationCount: countOf(fields.authorization),
      ownAuthorizationCount: countOf(fields.ownAuthorization),
      proofCount: countOf(fields.proof),
      ...fields,
    },
  }
}

export function withCookie(text: string, other: RequestDemand = {}): GateRequest {
  return requestOf({ cookie: `__Host-landfall=${text}`, ...other })
}

export function withToken(text: string, other: RequestDemand = {}): GateRequest {
  return requestOf({ ownAuthorization: `Bearer ${text}`, ...other })
}

/** As the relay does it: from memory, or else at the client's expense. */
export async function pass(
  { gate }: Pick<GateKit, 'gate'>,
  request: GateRequest,
  route: GateRoute,
  address = CLIENT,
): Promise<GatePassage> {
  return gate.find(request, route) ?? (await gate.decide(request, route, address))
}

/** `code reason` of the refusal; the subject of what passes. */
export async function outcomeOf(
  kit: Pick<GateKit, 'gate'>,
  request: GateRequest,
  route: GateRoute,
  address = CLIENT,
): Promise<string> {
  try {
    const passage = await pass(kit, request, route, address)
    return `passes as ${passage.subject ?? 'stranger'}`
  } catch (error) {
    if (error instanceof AuthError) return `${error.code} ${error.reason}`
    throw error
  }
}

export function apiTokenOf(id: string, secret: string, other: Partial<ApiTokenRow> = {}): ApiTokenRow {
  const scopes = [{ pool: 'nowhere', verbs: ['read'] }]
  return { id, digest: hash('sha256', secret, 'base64url'), scopes, ...other }
}

/** How often jose verifies a signature from now on, in this process. */
export function countSignatureChecks(t: Test): { count: number } {
  const checks = { count: 0 }
  const { subtle } = globalThis.crypto
  const verify = subtle.verify.bind(subtle)
  subtle.verify = (...given: Parameters<typeof verify>) => {
    checks.count += 1
    return verify(...given)
  }
  t.teardown(() => {
    subtle.verify = verify
  })
  return checks
}
