/** The cookie that a VM host knows its visitor by: a JWT for that host alone, which never reaches the VM. */

import type { FastifyReply } from 'fastify'
import { COOKIE_NAME } from '../gate/credentials.ts'
import type { LoginContext } from './context.ts'
import { toSetCookie } from './cookies.ts'
import type { Session } from './login-store.ts'

const HOUR_MS = 3_600_000

interface Demand {
  readonly hostname: string
  readonly subject: string
  /** Unix milliseconds; it ends earlier where the setting says so. */
  readonly endsAt: number
  readonly claims: Readonly<Record<string, unknown>>
}

/** For somebody who logged in: no longer than the login. */
export function setPersonCookie(
  reply: FastifyReply,
  { hostname, session }: { readonly hostname: string; readonly session: Session },
  context: LoginContext,
): Promise<void> {
  const { id, user, email, name, createdAt, expiresAt } = session
  const claims = {
    ...(email !== undefined && { email }),
    ...(name !== undefined && { name }),
    sid: id,
    // A cookie that is made while everything of its user is ended is dated later than that; the login is not.
    auth_time: Math.floor(Date.parse(createdAt) / 1_000),
  }
  return setVmCookie(reply, { hostname, subject: user, endsAt: Date.parse(expiresAt), claims }, context)
}

/** For whoever has a link that needs no login: no longer than the link. */
export function setLinkCookie(
  reply: FastifyReply,
  { hostname, id, endsAt }: { readonly hostname: string; readonly id: string; readonly endsAt: number },
  context: LoginContext,
): Promise<void> {
  return setVmCookie(reply, { hostname, subject: `link:${id}`, endsAt, claims: {} }, context)
}

async function setVmCookie(
  reply: FastifyReply,
  { hostname, subject, endsAt, claims }: Demand,
  { signer, now, cookieHours, routes }: LoginContext,
): Promise<void> {
  // The gate holds them against the row: another VM of that name is not told who comes with this cookie.
  const { vm, pool } = routes.find(hostname) ?? {}
  const place = { ...(vm !== undefined && { vm }), ...(pool !== undefined && { pool }) }
  const until = Math.min(endsAt, now() + cookieHours * HOUR_MS)
  const expiresAt = Math.floor(until / 1_000)
  const value = await signer.sign({
    kind: 'cookie',
    audience: hostname,
    subject,
    expiresAt,
    claims: { ...claims, ...place },
  })
  reply.header('set-cookie', toSetCookie({ name: COOKIE_NAME, value, lifeMs: until - now() }))
}

export function clearVmCookie(reply: FastifyReply): void {
  reply.header('set-cookie', toSetCookie({ name: COOKIE_NAME, value: '', lifeMs: 0 }))
}
