/** Puts authentication together: signing keys, the gate of the hot path, and the login service. */

import type { Duplex } from 'node:stream'
import type { Log } from '../lib/log.ts'
import type { Sealer } from '../lib/seal.ts'
import type { Access } from './access.ts'
import { AuthError } from './errors.ts'
import { startAssertions } from './gate/assertions.ts'
import { findRole } from './gate/authorize.ts'
import { createFreshness } from './gate/freshness.ts'
import { createGate, type Gate, type GateRoute } from './gate/gate.ts'
import type { LoginRoute } from './login/context.ts'
import type { LoginStore } from './login/login-store.ts'
import { createLoginMethods, type LoginMethodSettings } from './login/methods/login-methods.ts'
import { startLoginService } from './login/service.ts'
import { SELF_TYPE, type Signer } from './signing/signing.ts'
import type { SigningKeyBook } from './signing/signing-key-book.ts'
import { startSigningKeys } from './signing/signing-keys.ts'
import { type Authenticator, createAuthenticator } from './tokens/authenticator.ts'
import { createProofs } from './tokens/proof.ts'
import { findType } from './tokens/token-shape.ts'

export interface AuthDeps {
  readonly access: Access
  readonly signingKeyBook: SigningKeyBook
  readonly loginStore: LoginStore
  readonly routes: {
    find(hostname: string): (GateRoute & LoginRoute) | undefined
    ageMs(): number
    awayMs(): number
  }
  /** Seals private keys. */
  readonly keySealer: Sealer
  /** Seals what browsers keep for us between two pages; as often as anybody asks, so its key is for that alone. */
  readonly pageSealer: Sealer
  /** True for the token that may do everything; there is none in a fleet. */
  readonly isOperator: (token: string) => boolean
  readonly log: Log
}

export interface AuthSettings extends LoginMethodSettings {
  /** The platform's: logins are at `auth.<domain>`. */
  readonly domain: string
  /** The public HTTPS address of a host name, with the port where it is not 443. */
  readonly urlOf: (hostname: string) => string
  readonly sessionDays: number
  readonly cookieHours: number
  readonly signingKeyDays: number
  /** The longest life of anything that lets somebody in. */
  readonly longestDays: number
  readonly revocationAgeSeconds: number
  readonly revocationAwaySeconds: number
  /** Credentials that do not count, from one client. */
  readonly failuresPerSecond: number
}

export interface Auth {
  readonly gate: Gate
  readonly signer: Signer
  /** Whose self-signed token for the admin API it is; undefined when it is no such token. Rejects with AuthError. */
  findUser(token: string, address: string | undefined): Promise<ApiUser | undefined>
  /** The login service: its own pages on every host. */
  connect(): Duplex
}

export interface ApiUser {
  readonly user: string
  /** ISO 8601. */
  readonly expiresAt: string
}

const MS_PER_S = 1_000

/** @throws LandfallError when a file that a setting names cannot be read */
export async function startAuth(deps: AuthDeps, settings: AuthSettings): Promise<Auth & AsyncDisposable> {
  await using started = new AsyncDisposableStack()
  const { access, log, routes } = deps
  const { domain } = settings
  const loginHost = `auth.${domain}`
  const issuer = `https://${loginHost}`
  const keys = started.use(await startSigningKeys(toKeyDeps(deps), { issuer, ...toKeySettings(settings) }))
  const authenticator = createAuthenticator(
    { access, verifier: keys, isOperator: deps.isOperator },
    { issuer, failuresPerSecond: settings.failuresPerSecond },
  )
  const assertions = started.use(await startAssertions({ signer: keys, log }))
  const ageLimits = toAgeLimits(settings)
  const fresh = createFreshness({ access, routes }, ageLimits)
  const proofs = createProofs()
  const gate = createGate(
    {
      ...{ access, routes, authenticator, assertions, proofs },
      vmOf: (hostname) => routes.find(hostname)?.vm,
    },
    ageLimits,
  )
  const methods = await createLoginMethods(settings, { log, store: deps.loginStore })
  for (const method of methods) started.use(toDisposable(method))
  const service = started.use(
    await startLoginService(
      {
        ...{ log, access, authenticator, proofs, routes, store: deps.loginStore, sealer: deps.pageSealer },
        ...{ signer: keys, verifier: keys, jwks: () => keys.jwks() },
        findRole: (identity, route) => findRole(identity, route, { access, nowMs: Date.now() }),
      },
      { ...settings, loginHost, methods },
    ),
  )
  const running = started.move()
  return {
    gate,
    signer: keys,
    findUser: async (token, address) => {
      if (findType(token) !== SELF_TYPE) return undefined
      if (!fresh.isFresh(Date.now())) throw new AuthError('auth_stale', 'table-too-old')
      return findUser(authenticator, { token, address, audience: `admin.${domain}` })
    },
    connect: () => service.connect(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** Some hold connections. */
function toDisposable(method: Partial<AsyncDisposable>): AsyncDisposable {
  return { [Symbol.asyncDispose]: async () => method[Symbol.asyncDispose]?.() }
}

function toKeyDeps({ access, signingKeyBook, keySealer, log }: AuthDeps) {
  return { access, book: signingKeyBook, sealer: keySealer, log }
}

function toAgeLimits({ revocationAgeSeconds, revocationAwaySeconds }: AuthSettings) {
  return { ageLimitMs: revocationAgeSeconds * MS_PER_S, awayLimitMs: revocationAwaySeconds * MS_PER_S }
}

/** A key is known for as long as anything lives that it signed. */
function toKeySettings({ signingKeyDays, longestDays }: AuthSettings) {
  return { keyDays: signingKeyDays, tokenDays: longestDays }
}

interface Presented {
  readonly token: string
  readonly address: string | undefined
  readonly audience: string
}

/** The API knows neither ports nor proofs, so a token that is narrowed to something does not count there. */
async function findUser(authenticator: Authenticator, { token, address = '', audience }: Presented) {
  const credential = { text: token, scheme: 'bearer' } as const
  const identity =
    authenticator.find(credential, audience) ?? (await authenticator.verify(credential, audience, address))
  const { user, limits, proofThumbprint, expiresAt } = identity
  if (limits !== undefined || proofThumbprint !== undefined) throw new AuthError('auth_invalid', 'narrowed')
  if (user === undefined) return undefined
  return { user, expiresAt: new Date(expiresAt).toISOString() }
}
