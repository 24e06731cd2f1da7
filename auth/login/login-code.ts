/** The code that takes a login from the login host to one VM host: short-lived, for one use and for one browser. */

import { randomBytes } from 'node:crypto'
import { digestOf } from '../../lib/digest.ts'
import type { LoginContext } from './context.ts'
import type { LoginCode, Session } from './login-store.ts'
import { isLive } from './sessions.ts'

const CODE_BYTES = 32
const LIFE_MS = 60_000
const CODE = /^[A-Za-z0-9_-]{43}$/

export interface CodeTarget {
  readonly hostname: string
  readonly challenge: string
}

/** The URL at the VM host that takes the new code. Rejects with LandfallError `store_…`, `login_too_often`. */
export async function makeCallbackUrl(
  { hostname, challenge }: CodeTarget,
  session: Session,
  { store, now, urlOf, limits }: LoginContext,
): Promise<string> {
  limits.spendCode(session.id)
  const code = randomBytes(CODE_BYTES).toString('base64url')
  const expiresAt = new Date(now() + LIFE_MS).toISOString()
  await store.putCode(digestOf(code), { hostname, challenge, session, expiresAt })
  return `${urlOf(hostname)}.landfall/callback?code=${code}`
}

/** Once, whatever comes of it. Undefined for a code of another host, and when its time or its session is over. */
export async function takeLiveCode(
  code: string | undefined,
  hostname: string,
  context: LoginContext,
): Promise<LoginCode | undefined> {
  if (code === undefined || !CODE.test(code)) return undefined
  const taken = await context.store.takeCode(digestOf(code))
  if (taken === undefined || taken.hostname !== hostname || Date.parse(taken.expiresAt) <= context.now()) {
    return undefined
  }
  return (await isLive(taken.session, context)) ? taken : undefined
}
