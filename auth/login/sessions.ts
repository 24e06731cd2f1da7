/** Who the login host's visitor is: its session cookie, and the session in the store that the cookie names. */

import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../errors.ts'
import type { Identity } from '../identity.ts'
import type { Claims } from '../signing/signing.ts'
import type { LoginContext } from './context.ts'
import { findCookie, LOGGED_OUT_COOKIE, SESSION_COOKIE, toSetCookie } from './cookies.ts'
import type { LoginMethodName, Person, Session } from './login-store.ts'

const DAY_MS = 86_400_000
const SESSION_ID_BYTES = 16
const MAX_TEXT = 200
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\0-\x1f\x7f]/g

/** Undefined without a cookie that counts. Rejects with LandfallError `store_unreachable`, `auth_busy`. */
export async function findSession(
  request: FastifyRequest,
  context: LoginContext,
): Promise<Session | undefined> {
  const text = findCookie(request.headers.cookie, SESSION_COOKIE)
  if (text === undefined) return undefined
  const claims = await findClaims(text, request, context)
  if (claims === undefined) return undefined
  const session = toSession(claims)
  return (await isLive(session, context)) ? session : undefined
}

/** By memory and by the store: neither knows all that the other does. Rejects with LandfallError `store_unreachable`. */
export async function isLive(session: Session, context: LoginContext): Promise<boolean> {
  return !isRevoked(session, context) && (await context.store.hasSession(session.id))
}

async function findClaims(
  text: string,
  { ip }: FastifyRequest,
  { verifier, loginHost, authenticator, seenSessions }: LoginContext,
): Promise<Claims | undefined> {
  const seen = seenSessions.find(text)
  if (seen !== undefined) return seen
  try {
    const claims = await authenticator.spend(ip, () =>
      verifier.verify(text, { kind: 'session', audience: loginHost }),
    )
    seenSessions.add(text, claims)
    return claims
  } catch (error) {
    if (error instanceof AuthError && error.code === 'auth_invalid') return undefined
    throw error
  }
}

/** Seen before the store's deletion of the session is, and true of a person whose every session was ended. */
function isRevoked({ id, user, createdAt }: Session, { access }: Pick<LoginContext, 'access'>): boolean {
  const at = access.findRevocation('user', user)
  return (
    access.findRevocation('session', id) !== undefined || (at !== undefined && Date.parse(createdAt) <= at)
  )
}

function toSession(claims: Claims): Session {
  const { jti, sub, iat, exp, email, name, method } = claims
  return {
    id: jti,
    user: sub,
    ...(typeof email === 'string' && { email }),
    ...(typeof name === 'string' && { name }),
    method: method as LoginMethodName,
    createdAt: new Date(iat * 1_000).toISOString(),
    expiresAt: new Date(exp * 1_000).toISOString(),
  }
}

export interface NewLogin {
  readonly person: Person
  readonly method: LoginMethodName
}

/**
 * The session that the browser has goes on when it is this very person's: several tabs may ask for the login at once,
 * and what one of them has open must not end by another. Else it gets a new one with a new id, and the one before is
 * over, with the cookies that came of it: they are somebody else's.
 */
export async function startSession(
  reply: FastifyReply,
  { person, method }: NewLogin,
  context: LoginContext,
): Promise<Session> {
  const { request } = reply
  const before = await findSession(request, context)
  clearLoggedOut(reply)
  if (before !== undefined && isSamePerson(before, person)) return before
  context.limits.spendSession(person.user)
  const session = createSession(request, { person, method }, context)
  await context.store.putSession(session)
  await setSessionCookie(reply, session, context)
  if (before !== undefined) await context.store.endSession(before.id)
  return session
}

function isSamePerson(before: Person, { user, email }: Person): boolean {
  return before.user === user && before.email === email
}

function clearLoggedOut(reply: FastifyReply): void {
  if (findCookie(reply.request.headers.cookie, LOGGED_OUT_COOKIE) === undefined) return
  reply.header('set-cookie', toSetCookie({ name: LOGGED_OUT_COOKIE, value: '', lifeMs: 0 }))
}

function createSession(
  { headers }: FastifyRequest,
  { person, method }: NewLogin,
  { now, sessionDays }: LoginContext,
): Session {
  const { user, email, name } = person
  const userAgent = (headers['user-agent'] ?? '').replace(CONTROL, '').slice(0, MAX_TEXT)
  return {
    id: randomBytes(SESSION_ID_BYTES).toString('base64url'),
    user,
    ...(email !== undefined && { email }),
    ...(name !== undefined && { name: name.replace(CONTROL, '').slice(0, MAX_TEXT) }),
    method,
    createdAt: new Date(now()).toISOString(),
    expiresAt: new Date(now() + sessionDays * DAY_MS).toISOString(),
    ...(userAgent !== '' && { userAgent }),
  }
}

async function setSessionCookie(
  reply: FastifyReply,
  { id, user, email, name, method, expiresAt }: Session,
  { signer, loginHost, now }: LoginContext,
): Promise<void> {
  const endsAt = Date.parse(expiresAt)
  const value = await signer.sign({
    kind: 'session',
    audience: loginHost,
    subject: user,
    id,
    expiresAt: Math.floor(endsAt / 1_000),
    claims: { ...(email !== undefined && { email }), ...(name !== undefined && { name }), method },
  })
  reply.header('set-cookie', toSetCookie({ name: SESSION_COOKIE, value, lifeMs: endsAt - now() }))
}

/** As the person would be at a VM host. */
export function identityOf(session: Session): Identity {
  const { user, email, id, createdAt, expiresAt } = session
  return {
    kind: 'user',
    user,
    ...(email !== undefined && { email }),
    sessionId: id,
    issuedAt: Date.parse(createdAt),
    expiresAt: Date.parse(expiresAt),
  }
}

/** What a person is called on pages. */
export function displayName({ email, name, user }: Person): string {
  return email ?? name ?? user
}
