/** Share links: a look at one changes nothing; a button, or a login that asks, redeems it. */

import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { escapeHtml } from '../../lib/html.ts'
import { AuthError } from '../errors.ts'
import type { Claims } from '../signing/signing.ts'
import { readShape } from '../tokens/token-shape.ts'
import { mayEnter } from './access-of-person.ts'
import { ActionableError, type AddPath, leave, sendPage } from './answers.ts'
import type { LoginContext, LoginRoute } from './context.ts'
import { LoginError, type LoginFaultCode } from './errors.ts'
import { formOf } from './form.ts'
import type { LinkOutcome, Session } from './login-store.ts'
import { checkSameOrigin } from './request-origin.ts'
import { identityOf } from './sessions.ts'
import { findCookieVisitor } from './visitor.ts'
import { setLinkCookie } from './vm-cookie.ts'
import { findParameter, getRoute, goToLogin } from './vm-login.ts'

const SHARE_PATH = '/.landfall/share'
/** How long a grant may take from the store to this edge's memory. */
const GRANT_WAIT_MS = 2_000
const GRANT_POLL_MS = 20

export function addShare(addPath: AddPath, context: LoginContext): void {
  addPath(SHARE_PATH, {
    GET: (request, reply) => showLink(request, reply, context),
    POST: (request, reply) => redeem(request, reply, context),
  })
}

/** With login the browser goes there; the login host asks before anything is redeemed. */
async function showLink(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<FastifyReply> {
  const route = getRoute(request, context)
  const text = findParameter(request, 'link') ?? ''
  const claims = await getLink(text, { route, clientAddress: request.ip }, context)
  if (await isLetInAlready(request, route, context)) return leave(reply, '/')
  await checkOpen(claims.jti, route, context)
  if (needsLogin(claims)) {
    return goToLogin(reply, { route, to: '/', link: claims.jti, extra: { link: text } }, context)
  }
  const body = `<p>Somebody shared <strong>${escapeHtml(route.hostname)}</strong> with you.</p>
<form method="post" action="${SHARE_PATH}"><input type="hidden" name="link" value="${escapeHtml(text)}"><button>Open it</button></form>`
  return sendPage(reply, { title: 'A link for you', body })
}

/** @throws LoginError `login_origin`, `login_link_…`: a link that another site sends would replace the visitor's own cookie */
async function redeem(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<FastifyReply> {
  checkSameOrigin(request)
  const route = getRoute(request, context)
  const text = formOf(request).get('link') ?? ''
  const claims = await getLink(text, { route, clientAddress: request.ip }, context)
  if (await isLetInAlready(request, route, context)) return leave(reply, '/')
  if (needsLogin(claims)) {
    const step = { route, to: '/', link: claims.jti, extra: { link: text } }
    return goToLogin(reply, step, context)
  }
  context.limits.spendLink(request.ip)
  checkOutcome(await context.store.useLink({ vm: vmOf(route), id: claims.jti }))
  const hostname = route.hostname
  await setLinkCookie(reply, { hostname, id: claims.jti, endsAt: claims.exp * 1_000 }, context)
  return leave(reply, '/')
}

/** A use of the link, and a cookie that tells less, are saved for those who do not need them. */
async function isLetInAlready(
  request: FastifyRequest,
  route: LoginRoute,
  context: LoginContext,
): Promise<boolean> {
  const visitor = await findCookieVisitor(request, route, context)
  return visitor !== undefined && mayEnter(visitor, route, context)
}

export interface Redemption {
  readonly route: LoginRoute
  /** Its id. */
  readonly link: string
  readonly session: Session
}

/** Lets the person in for good, unless they may come in already. @throws LoginError `login_link_…` */
export async function redeemForPerson(
  { route, link, session }: Redemption,
  context: LoginContext,
): Promise<void> {
  const identity = identityOf(session)
  if (mayEnter(identity, route, context)) return
  const { user, email, name } = session
  const person = { user, ...(email !== undefined && { email }), ...(name !== undefined && { name }) }
  checkOutcome(await context.store.useLink({ vm: vmOf(route), id: link, person }))
  // The page that comes next is decided by this edge's memory.
  for (let waited = 0; waited < GRANT_WAIT_MS; waited += GRANT_POLL_MS) {
    const now = context.routes.find(route.hostname)
    if (now === undefined || mayEnter(identity, now, context)) return
    await pause(GRANT_POLL_MS)
  }
}

export interface LinkPlace {
  readonly route: LoginRoute
  readonly clientAddress: string
}

/** What a link says that lets in at this host now. @throws LoginError `login_link_gone`; AuthError `auth_busy`, `auth_stale` */
export async function getLink(
  text: string,
  { route, clientAddress }: LinkPlace,
  { verifier, authenticator, now }: LoginContext,
): Promise<Claims> {
  try {
    // The id is a secret as good as the signature, and costs less to look up.
    const { jti } = readShape(text).claims
    if (typeof jti !== 'string' || !hasGrant(route, jti, now())) throw new LoginError('login_link_gone')
    const claims = await authenticator.spend(clientAddress, () =>
      verifier.verify(text, { kind: 'link', audience: route.hostname }),
    )
    if (claims.vm !== route.vm) throw new LoginError('login_link_gone')
    return claims
  } catch (cause) {
    if (cause instanceof AuthError && cause.code === 'auth_invalid') {
      throw new LoginError('login_link_gone', { cause, context: { reason: cause.reason } })
    }
    throw cause
  }
}

function hasGrant({ grants }: LoginRoute, id: string, nowMs: number): boolean {
  return (grants ?? []).some(
    ({ to, expiresAt }) =>
      to.kind === 'link' && to.value === id && (expiresAt === undefined || Date.parse(expiresAt) > nowMs),
  )
}

/**
 * Before anybody goes through a login for it. Who came by it before is let in by a grant of their own.
 * @throws ActionableError for LoginError `login_link_…`
 */
export async function checkOpen(
  id: string,
  route: LoginRoute,
  { store, urlOf }: LoginContext,
): Promise<void> {
  const state = await store.findLink(vmOf(route), id)
  if (state === 'open') return
  const href = `${urlOf(route.hostname)}.landfall/login`
  throw new ActionableError(new LoginError(REFUSALS[state]), [{ href, text: 'Log in without it' }])
}

/** Anything but a plain `false` needs one. */
export function needsLogin({ login }: Claims): boolean {
  return login !== false
}

const REFUSALS = {
  used: 'login_link_used',
  gone: 'login_link_gone',
  // The record says something else than the link that was signed.
  'needs-login': 'login_link_gone',
  full: 'login_link_full',
} as const satisfies Record<Exclude<LinkOutcome, 'let-in'>, LoginFaultCode>

/** @throws LoginError `login_link_…` */
function checkOutcome(outcome: LinkOutcome): void {
  if (outcome !== 'let-in') throw new LoginError(REFUSALS[outcome])
}

/** Links are for VMs; a row without one never has a grant. */
function vmOf({ vm }: LoginRoute): string {
  return vm ?? ''
}
