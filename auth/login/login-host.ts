/** The pages of the login host: who one is, on to a VM host, the question before that, and out. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { LandfallError } from '../../lib/errors.ts'
import { escapeHtml } from '../../lib/html.ts'
import { FAULTS } from '../errors.ts'
import { isKnownToOwner, mayEnter } from './access-of-person.ts'
import { ActionableError, type AddPath, leave, linkOf, sendPage } from './answers.ts'
import { askConsent, findConsent, type Occasion } from './consent.ts'
import type { LoginContext, LoginRoute } from './context.ts'
import { LOGGED_OUT_COOKIE, SESSION_COOKIE, toSetCookie } from './cookies.ts'
import { LoginError } from './errors.ts'
import { formOf } from './form.ts'
import { addJwks } from './jwks.ts'
import { type CodeTarget, makeCallbackUrl } from './login-code.ts'
import type { Session } from './login-store.ts'
import type { LoginFlow, LoginMethod } from './methods/login-method.ts'
import { checkSameOrigin, checkWholePage, isFromOwnPage, isSentByOthers } from './request-origin.ts'
import { displayName, findSession, identityOf } from './sessions.ts'
import { checkOpen, getLink, needsLogin } from './share.ts'
import { findParameter } from './vm-login.ts'

const CHALLENGE = /^[A-Za-z0-9_-]{43}$/
const LOGOUT_PURPOSE = 'logout'
const DAY_MS = 86_400_000
/** Written out in a command that people paste into a shell. */
const PLAIN_ID = /^[\w.@:+-]{1,254}$/

export function addLoginHost(addPath: AddPath, context: LoginContext): void {
  addJwks(addPath, context)
  addPath('/', { GET: (request, reply) => showSession(request, reply, context) })
  addPath('/start', { GET: (request, reply) => start(request, reply, context) })
  addPath('/consent', { POST: (request, reply) => takeConsent(request, reply, context) })
  addPath('/logout', { POST: (request, reply) => endSession(request, reply, context) })
}

async function start(request: FastifyRequest, reply: FastifyReply, context: LoginContext): Promise<unknown> {
  checkWholePage(request)
  const flow = await getFlow(request, context)
  const isFresh = findParameter(request, 'fresh') === '1'
  // Another page must not end a login by making its visitor log in anew.
  if (isFresh && isFromOwnPage(request)) return logIn(request, reply, { flow, context })
  const session = await findSession(request, context)
  if (session === undefined) return logIn(request, reply, { flow, context })
  if (isFresh || findParameter(request, 'switch') === '1') return offerSwitch(reply, session, flow)
  return goOn(reply, { session, flow }, context)
}

/** Where to, checked: a host of the table, and a link that lets in there. @throws LandfallError */
async function getFlow(request: FastifyRequest, context: LoginContext): Promise<LoginFlow> {
  const hostname = findParameter(request, 'host')
  if (hostname === undefined) return {}
  const challenge = findParameter(request, 'challenge') ?? ''
  if (!CHALLENGE.test(challenge)) throw new LoginError('login_request_malformed')
  const route = getRoute(hostname, context)
  const flow: LoginFlow = {
    hostname: route.hostname,
    challenge,
    ...(isSentByOthers(request) && { sent: true }),
  }
  const text = findParameter(request, 'link')
  if (text === undefined) return flow
  const link = await getLink(text, { route, clientAddress: request.ip }, context)
  if (!needsLogin(link)) return flow
  await checkOpen(link.jti, route, context)
  return { ...flow, link: link.jti }
}

/** @throws LoginError `login_host_unknown` */
function getRoute(hostname: string, { routes }: LoginContext): LoginRoute {
  const route = routes.find(hostname)
  if (route === undefined) throw new LoginError('login_host_unknown')
  return route
}

interface LoginDemand {
  readonly flow: LoginFlow
  readonly context: LoginContext
}

/** By the one way that there is, or by one that the visitor picks. @throws LoginError `login_unconfigured`, `login_not_found` */
function logIn(
  request: FastifyRequest,
  reply: FastifyReply,
  { flow, context: { methods } }: LoginDemand,
): unknown {
  const [first, ...others] = methods
  if (first === undefined) throw new LoginError('login_unconfigured')
  const asked = findParameter(request, 'method')
  if (asked === undefined && others.length > 0) return offerMethods(request, reply, methods)
  const method = asked === undefined ? first : methods.find(({ name }) => name === asked)
  if (method === undefined) throw new LoginError('login_not_found')
  return method.begin(request, reply, flow)
}

function offerMethods(
  request: FastifyRequest,
  reply: FastifyReply,
  methods: readonly LoginMethod[],
): FastifyReply {
  const links = methods.map(({ name, title }) => linkOf(startUrl(request, { method: name }), title))
  return sendPage(reply, { title: 'Log in', body: `<div class="choices">${links.join('')}</div>` })
}

/** The same step with other parameters; `switch` has done its part. */
function startUrl({ query }: FastifyRequest, changes: Readonly<Record<string, string>>): string {
  const { switch: _asked, fresh: _fresh, ...kept } = query as Record<string, string>
  return `/start?${new URLSearchParams({ ...kept, ...changes })}`
}

function offerSwitch(reply: FastifyReply, session: Session, flow: LoginFlow): FastifyReply {
  const { request } = reply
  const to = flow.hostname === undefined ? '' : ` to <strong>${escapeHtml(flow.hostname)}</strong>`
  const other = escapeHtml(startUrl(request, { fresh: '1' }))
  const body = `<p>You are on your way${to}.</p><div class="choices">${linkOf(startUrl(request, {}), `Continue as ${displayName(session)}`)}
<a class="button second" href="${other}">Use another account</a></div>`
  return sendPage(reply, { title: 'Who are you today?', body })
}

export interface LoggedIn {
  readonly session: Session
  readonly flow: LoginFlow
}

/**
 * To the host that asked, unless the person has to agree first: that it learns who they are, or that they meant to go
 * there at all. Without any access they get no cookie there: a port that is opened to everybody later would learn who
 * came by.
 */
export async function goOn(
  reply: FastifyReply,
  { session, flow }: LoggedIn,
  context: LoginContext,
): Promise<FastifyReply> {
  const target = findTarget(flow)
  if (target === undefined) return leave(reply, context.urlOf(context.loginHost))
  const route = getRoute(target.hostname, context)
  const occasion = findOccasion({ session, flow }, route, context)
  if (occasion === 'forbidden') throw refusalOf(session, target, route)
  if (occasion === 'none') return goToHost(reply, { session, target }, context)
  return askConsent(reply, { session, target, route, occasion }, context)
}

function findOccasion(
  { session, flow }: LoggedIn,
  route: LoginRoute,
  context: LoginContext,
): Occasion | 'none' | 'forbidden' {
  const identity = identityOf(session)
  if (isKnownToOwner(identity, route, context)) return flow.sent === true ? 'sent' : 'none'
  if (flow.link !== undefined) return 'link'
  return route.visibility === 'public' || mayEnter(identity, route, context) ? 'stranger' : 'forbidden'
}

function findTarget({ hostname, challenge }: LoginFlow): CodeTarget | undefined {
  return hostname === undefined || challenge === undefined ? undefined : { hostname, challenge }
}

function refusalOf(
  session: Session,
  { hostname, challenge }: CodeTarget,
  { vm }: LoginRoute,
): ActionableError {
  const detail = `You are ${displayName(session)}, and ${hostname} is not shared with you`
  const other = new URLSearchParams({ host: hostname, challenge, fresh: '1' })
  const context = { reason: 'no-access-at-login' }
  const fault = { ...FAULTS.auth_forbidden, ...nextStepOf(session, vm) }
  const refusal = new LandfallError('auth_forbidden', fault, { detail, context })
  return new ActionableError(refusal, [{ href: `/start?${other}`, text: 'Use another account' }])
}

/** The person cannot know how the owner names them. */
function nextStepOf({ user, email }: Session, vm: string | undefined): { readonly next?: string } {
  const grantee = email ?? `user:${user}`
  if (vm === undefined || !PLAIN_ID.test(grantee)) return {}
  return { next: `Ask the owner to let you in: landfall grant add ${vm} ${grantee}` }
}

interface Departure {
  readonly session: Session
  readonly target: CodeTarget
}

async function goToHost(
  reply: FastifyReply,
  { session, target }: Departure,
  context: LoginContext,
): Promise<FastifyReply> {
  return leave(reply, await makeCallbackUrl(target, session, context))
}

/** @throws LoginError `login_origin`, `login_expired` */
async function takeConsent(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<FastifyReply> {
  checkSameOrigin(request)
  const form = formOf(request)
  const session = await findSession(request, context)
  const target = session && findConsent(form.get('consent') ?? undefined, session, context)
  if (session === undefined || target === undefined) throw new LoginError('login_expired')
  if (form.get('answer') === 'yes') return goToHost(reply, { session, target }, context)
  const body = `<p><strong>${escapeHtml(target.hostname)}</strong> has learned nothing of you. You can close this page.</p>`
  return sendPage(reply, { title: 'Not now', body })
}

async function showSession(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<unknown> {
  const session = await findSession(request, context)
  if (session === undefined) return logIn(request, reply, { flow: {}, context })
  const { email, name, user, method, createdAt, expiresAt, id } = session
  const facts = [
    ['User', user],
    ['Name', name],
    ['E-mail', email],
    ['Logged in by', method],
    ['Since', createdAt],
    ['Until', expiresAt],
  ].filter(([, value]) => value !== undefined)
  const list = facts.map(([term, value]) => `<dt>${term}</dt><dd>${escapeHtml(value ?? '')}</dd>`).join('')
  const token = context.texts.seal(id, LOGOUT_PURPOSE, DAY_MS)
  const body = `<p>This login opens the hosts that are shared with you. Logging out ends it everywhere, and what is open with it.</p>
<form method="post" action="/logout"><input type="hidden" name="token" value="${token}"><button>Log out everywhere</button>
<a class="button second" href="/start?fresh=1">Use another account</a></form><dl>${list}</dl>`
  return sendPage(reply, { title: `You are ${displayName(session)}`, body })
}

/** @throws LoginError `login_origin`, `login_expired` for a form that was made for another session */
async function endSession(
  request: FastifyRequest,
  reply: FastifyReply,
  context: LoginContext,
): Promise<FastifyReply> {
  checkSameOrigin(request)
  const session = await findSession(request, context)
  const asked = context.texts.open(formOf(request).get('token') ?? undefined, LOGOUT_PURPOSE)
  if (session !== undefined && asked !== session.id) throw new LoginError('login_expired')
  reply.header('set-cookie', toSetCookie({ name: SESSION_COOKIE, value: '', lifeMs: 0 }))
  const lifeMs = context.sessionDays * DAY_MS
  reply.header('set-cookie', toSetCookie({ name: LOGGED_OUT_COOKIE, value: '1', lifeMs }))
  if (session !== undefined) await context.store.endSession(session.id)
  const body =
    '<p>This login is over, at all hosts.</p><div class="choices"><a class="button" href="/">Log in again</a></div>'
  return sendPage(reply, { title: 'Logged out everywhere', body })
}
