/** Logins that are on their way through the provider: the browser carries each of them, sealed, in a cookie of its own. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { listCookies } from '../cookies.ts'
import { LoginError } from '../errors.ts'
import { addFlowCookie, flowCookieName } from '../flow-cookies.ts'
import type { LoginFlow, LoginMethodContext } from './login-method.ts'

const COOKIE = '__Host-landfall-oidc'
const PURPOSE = 'flow'
const FLOW_MS = 15 * 60_000

export interface OidcFlow {
  /** RFC 6749 section 10.12. */
  readonly state: string
  readonly nonce: string
  /** RFC 7636 section 4.1. */
  readonly verifier: string
  readonly flow: LoginFlow
}

/** The oldest ones give way when there are too many. */
export function addFlow(
  context: LoginMethodContext,
  { reply, flow }: { reply: FastifyReply; flow: OidcFlow },
): void {
  const value = context.seal(flow, PURPOSE, FLOW_MS)
  addFlowCookie(reply, { prefix: COOKIE, id: flow.state, value, lifeMs: FLOW_MS })
}

/**
 * Once: the answer spends it, however the login ends.
 * @throws LoginError `login_cookies_missing`, `login_expired`
 */
export function takeFlow(
  context: LoginMethodContext,
  { request, reply, state }: { request: FastifyRequest; reply: FastifyReply; state: string | undefined },
): OidcFlow {
  const name = flowCookieName(COOKIE, state ?? '')
  const flow = context.open(context.findCookie(request, name), PURPOSE) as OidcFlow | null | undefined
  if (!flow || flow.state !== state) throw refusalOf(request)
  // Who comes back a second time is told that this step is over, not to allow cookies.
  context.setCookie(reply, { name, value: context.seal(null, PURPOSE, FLOW_MS), lifeMs: FLOW_MS })
  return flow
}

function refusalOf({ headers }: FastifyRequest): LoginError {
  const isStranger = listCookies(headers.cookie, `${COOKIE}-`).length === 0
  return new LoginError(isStranger ? 'login_cookies_missing' : 'login_expired', {
    context: { reason: isStranger ? 'no-cookie' : 'unknown-state' },
  })
}
