/** The pages of a VM host: to the login and back, out again, and who one is. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { LandfallError } from '../../lib/errors.ts'
import { escapeHtml } from '../../lib/html.ts'
import type { Identity } from '../identity.ts'
import { mayEnter } from './access-of-person.ts'
import { ActionableError, type AddPath, leave, sendPage, wantsHtml } from './answers.ts'
import type { LoginContext, LoginRoute } from './context.ts'
import { LoginError, type LoginFaultCode } from './errors.ts'
import { addJwks } from './jwks.ts'
import { toLocalPath } from './local-path.ts'
import { takeLiveCode } from './login-code.ts'
import type { LoginCode } from './login-store.ts'
import { checkSameOrigin, hostnameOf } from './request-origin.ts'
import { addShare, redeemForPerson } from './share.ts'
import { findCookieOwner, findCookieVisitor, findVisitor } from './visitor.ts'
import { clearVmCookie, setPersonCookie } from './vm-cookie.ts'
import { endFlow, findFlow, findLatestFlow, type VmFlow } from './vm-flows.ts'
import { findParameter, getRoute, goToLogin } from './vm-login.ts'

const LOGIN_PATH = '/.landfall/login'
const FAILED_PATH = '/.landfall/login-failed'
/** What the page about a login that failed tells of. */
const FAILURES = {
  browser: 'login_cookies_missing',
  time: 'login_expired',
  store: 'login_interrupted',
} as const satisfies Record<string, LoginFaultCode>

type Failure = keyof typeof FAILURES

export function addVmHost(addPath: AddPath, context: LoginContext): void {
  addJwks(addPath, context)
  addPath(LOGIN_PATH, { GET: (request, reply) => beginLogin(request, reply, context) })
  addPath('/.landfall/callback', { GET: (request, reply) => endLogin(request, reply, context) })
  addPath(FAILED_PATH, { GET: (request) => explainFailure(request, context) })
  addPath('/.landfall/logout', { POST: (request, reply) => logOut(request, reply, context) })
  addPath('/.landfall/whoami', {
    GET: (request, reply) => sendVisitor(request, reply, context),
    HEAD: (request, reply) => sendVisitor(request, reply, context),
  })
  addShare(addPath, context)
}

function beginLogin(request: FastifyRequest, reply: FastifyReply, context: LoginContext): FastifyReply {
  const route = getRoute(request, context)
  const to = toLocalPath(findParameter(request, 'to'))
  const extra = findParameter(request, 'switch') === '1' ? { switch: '1' } : {}
  return goToLogin(reply, { route, to, extra }, context)
}

/**
 * The code is taken whoever brings it, and no answer of ours leaves it in the address bar alive: the host's own scripts
 * can read it there, and the secret that it needs may be in the browser of somebody who began this login for another.
 */
async function endLogin(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<FastifyReply> {
  const route = getRoute(request, context)
  const code = await takeCode(request, route, context)
  if (code === 'time' || code === 'store') return leaveFailed(reply, { route, failure: code }, context)
  const flow = findFlow(request, code.challenge, context.texts)
  if (flow === undefined) return leaveFailed(reply, { route, failure: 'browser' }, context)
  endFlow(reply, flow)
  await letIn(reply, { route, flow, code }, context)
  return leave(reply, flow.to)
}

async function takeCode(
  request: FastifyRequest,
  { hostname }: LoginRoute,
  context: LoginContext,
): Promise<LoginCode | 'time' | 'store'> {
  try {
    return (await takeLiveCode(findParameter(request, 'code'), hostname, context)) ?? 'time'
  } catch (error) {
    if (!(error instanceof LandfallError)) throw error
    context.log.warn(
      { err: error, code: error.code, requestId: request.id },
      'a login code could not be taken',
    )
    return 'store'
  }
}

interface Failed {
  readonly route: LoginRoute
  readonly failure: Failure
}

/** Who is in already went back, or logged in twice: there is nothing to tell them. */
async function leaveFailed(
  reply: FastifyReply,
  { route, failure }: Failed,
  context: LoginContext,
): Promise<FastifyReply> {
  const visitor = await findCookieVisitor(reply.request, route, context).catch(() => undefined)
  if (visitor !== undefined && mayEnter(visitor, route, context)) return leave(reply, '/')
  return leave(reply, `${FAILED_PATH}?${new URLSearchParams({ why: failure })}`)
}

/** @throws ActionableError always, with a way to start again */
function explainFailure(request: FastifyRequest, { texts }: LoginContext): never {
  const why = findParameter(request, 'why') ?? ''
  const code = Object.hasOwn(FAILURES, why) ? FAILURES[why as Failure] : FAILURES.time
  const to = findLatestFlow(request, texts)?.to ?? '/'
  const href = `${LOGIN_PATH}?${new URLSearchParams({ to })}`
  throw new ActionableError(new LoginError(code), [{ href, text: 'Start again' }])
}

interface Arrival {
  readonly route: LoginRoute
  readonly flow: VmFlow
  readonly code: LoginCode
}

async function letIn(
  reply: FastifyReply,
  { route, flow, code: { session } }: Arrival,
  context: LoginContext,
): Promise<void> {
  if (flow.link !== undefined) await redeemForPerson({ route, link: flow.link, session }, context)
  await setPersonCookie(reply, { hostname: route.hostname, session }, context)
}

/** The browser forgets the cookie, and a copy of it is of no use to a thief. @throws LoginError `login_origin` */
async function logOut(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<FastifyReply> {
  checkSameOrigin(request)
  const hostname = hostnameOf(request.headers.host)
  clearVmCookie(reply)
  const visitor = await findCookieOwner(request, hostname, context)
  if (visitor?.credentialId !== undefined) {
    const expiresAt = new Date(visitor.expiresAt).toISOString()
    await context.store.revokeCredential(visitor.credentialId, expiresAt)
  }
  if (!wantsHtml(request)) return reply.code(204).send()
  return sendPage(reply, { title: `Logged out of ${hostname}`, body: loggedOutBody(context) })
}

function loggedOutBody({ urlOf, loginHost }: LoginContext): string {
  return `<p>You may still be logged in at <a href="${escapeHtml(urlOf(loginHost))}">${escapeHtml(loginHost)}</a>;
there you can log out of all hosts at once.</p><div class="choices"><a class="button" href="${LOGIN_PATH}">Log in again</a></div>`
}

async function sendVisitor(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<FastifyReply> {
  const route = getRoute(request, context)
  const visitor = await findVisitor(request, route, context)
  return reply
    .header('cross-origin-resource-policy', 'same-origin')
    .type('application/json')
    .send(JSON.stringify({ host: route.hostname, ...(visitor && toView(visitor, route, context)) }))
}

function toView(visitor: Identity, route: LoginRoute, { findRole }: LoginContext): object {
  const { kind, user, email, grantId, tokenId, ctx, expiresAt } = visitor
  const id = grantId ?? tokenId
  const role = findRole(visitor, route)
  return {
    kind,
    ...(user !== undefined && { user }),
    ...(email !== undefined && { email }),
    ...(id !== undefined && { id }),
    ...(ctx !== undefined && { ctx }),
    ...(role !== undefined && { role }),
    ...(Number.isFinite(expiresAt) && { expiresAt: new Date(expiresAt).toISOString() }),
  }
}
