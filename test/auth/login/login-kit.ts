/** A login service over a memory store, with everything real but the route table, which a test writes itself. */

import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { findRole } from '../../../auth/gate/authorize.ts'
import type { LoginDeps, LoginRoute } from '../../../auth/login/context.ts'
import type { LinkOutcome, LinkState, LinkUse, LoginStore } from '../../../auth/login/login-store.ts'
import type { LoginMethod } from '../../../auth/login/methods/login-method.ts'
import { createPeopleLogin } from '../../../auth/login/methods/people-login.ts'
import { startLoginService } from '../../../auth/login/service.ts'
import { type SigningKeys, startSigningKeys } from '../../../auth/signing/signing-keys.ts'
import { createAuthenticator } from '../../../auth/tokens/authenticator.ts'
import { createProofs } from '../../../auth/tokens/proof.ts'
import { createSealer } from '../../../lib/seal.ts'
import { type AccessTable, startAccessTable } from '../../../routing/access/access-table.ts'
import { createSigningKeyBook } from '../../../routing/access/signing-key-book.ts'
import { createLoginBook } from '../../../routing/logins/login-book.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog, type Line } from '../../helpers/list-log.ts'
import { type Answer, pipedTransport, TestBrowser } from './browser.ts'

export const LOGIN_HOST = 'auth.example.test'
export const LOGIN = `https://${LOGIN_HOST}`
export const HOST = 'web.example.test'
export const WEB = `https://${HOST}`
export const ADA = 'ada@example.test'
export const BOB = 'bob@example.test'
export const PAGE_KEY = Buffer.alloc(32, 3)

export interface KitOptions {
  /** Shared with other kits; the test's own to dispose. */
  readonly store?: Store
  readonly clock?: { ms: number }
  readonly methods?: readonly LoginMethod[]
  readonly failuresPerSecond?: number
  /** Those of its keys unless given. */
  readonly jwks?: LoginDeps['jwks']
}

export interface LoginKit {
  readonly browser: () => TestBrowser
  readonly routes: Map<string, LoginRoute>
  readonly keys: SigningKeys
  readonly access: AccessTable
  readonly logins: { -readonly [Name in keyof LoginStore]: LoginStore[Name] }
  readonly lines: readonly Line[]
  readonly clock: { ms: number }
  /** What findLink and useLink answer, and what the latter was asked. */
  readonly links: { state: LinkState; outcome: LinkOutcome; readonly uses: LinkUse[] }
}

export async function loginKitFor(t: Test, options: KitOptions = {}): Promise<LoginKit> {
  const { clock = { ms: Date.now() }, methods = [createPeopleLogin([ADA, BOB])] } = options
  const store = options.store ?? (await storeFor(t))
  const now = () => clock.ms
  const { lines, ...log } = createListLog()
  const access = await startAccessTable({ store, log }, { wallClock: now })
  const keyDeps = {
    access,
    book: createSigningKeyBook(store),
    sealer: createSealer(Buffer.alloc(32, 7)),
    log,
  }
  const keys = await startSigningKeys(keyDeps, { issuer: LOGIN, keyDays: 42, tokenDays: 365, now })
  const authenticator = createAuthenticator(
    { access, verifier: keys, isOperator: () => false, now },
    { issuer: LOGIN, failuresPerSecond: options.failuresPerSecond ?? 1_000 },
  )
  const routes = new Map<string, LoginRoute>([[HOST, routeOf()]])
  const links: LoginKit['links'] = { state: 'open', outcome: 'let-in', uses: [] }
  const logins = toScripted(createLoginBook({ store, log, now: () => new Date(clock.ms) }), links)
  const service = await startLoginService(
    {
      ...{
        log,
        access,
        authenticator,
        proofs: createProofs({ now }),
        signer: keys,
        verifier: keys,
        now,
        routes: { find: (name) => routes.get(name) },
      },
      store: logins,
      sealer: createSealer(PAGE_KEY),
      findRole: (identity, route) => findRole(identity, route, { access, nowMs: now() }),
      jwks: options.jwks ?? (() => keys.jwks()),
    },
    {
      loginHost: LOGIN_HOST,
      urlOf: (name) => `https://${name}/`,
      methods,
      sessionDays: 30,
      cookieHours: 168,
    },
  )
  t.teardown(async () => {
    await service[Symbol.asyncDispose]()
    await keys[Symbol.asyncDispose]()
    await access[Symbol.asyncDispose]()
  })
  const browser = () => new TestBrowser(pipedTransport(() => service.connect()))
  return { browser, routes, keys, access, logins, lines, clock, links }
}

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

/** Links need a VM's records in the store; here a test says what comes of them. */
function toScripted(book: LoginStore, links: LoginKit['links']): LoginStore {
  return {
    putSession: (session) => book.putSession(session),
    hasSession: (id) => book.hasSession(id),
    endSession: (id) => book.endSession(id),
    revokeCredential: (id, expiresAt) => book.revokeCredential(id, expiresAt),
    putCode: (digest, code) => book.putCode(digest, code),
    takeCode: (digest) => book.takeCode(digest),
    putMailLogin: (digest, login) => book.putMailLogin(digest, login),
    findMailLogin: (digest) => book.findMailLogin(digest),
    takeMailLogin: (digest) => book.takeMailLogin(digest),
    findLink: async () => links.state,
    useLink: async (use) => {
      links.uses.push(use)
      return links.outcome
    },
  }
}

/** A private port that nobody is let in at. */
export function routeOf(other: Partial<LoginRoute> = {}): LoginRoute {
  return { hostname: HOST, visibility: 'private', vm: 'web', port: 8000, pool: 'pool', grants: [], ...other }
}

export function grantTo(kind: string, value: string): NonNullable<LoginRoute['grants']>[number] {
  return { id: randomBytes(9).toString('base64url'), to: { kind, value }, role: 'viewer' }
}

/** From a VM host to the page that asks who it is, and on as `email`. */
export async function logInAs(browser: TestBrowser, email: string, to = '/'): Promise<Answer> {
  const page = await browser.visit(`${WEB}/.landfall/login?${new URLSearchParams({ to })}`)
  return browser.submit(page, { email })
}

/** Of the cookies that the browser has for a host. */
export function namesOf(browser: TestBrowser, host: string): string[] {
  return [...(browser.jar.get(host)?.keys() ?? [])]
}

/** A share link to HOST, signed; its grant has to be put into the row. */
export function signLink(kit: LoginKit, id: string, claims: Record<string, unknown> = {}): Promise<string> {
  const expiresAt = Math.floor(kit.clock.ms / 1_000) + 3_600
  const all = { vm: 'web', login: true, ...claims }
  return kit.keys.sign({ kind: 'link', audience: HOST, subject: `link:${id}`, id, expiresAt, claims: all })
}
