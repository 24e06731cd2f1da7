/** How the login service answers: pages with the fields that keep them safe, and errors as a page or a problem. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LandfallError } from '../../lib/errors.ts'
import { escapeHtml } from '../../lib/html.ts'
import { htmlPage } from '../../lib/html-page.ts'
import type { Log } from '../../lib/log.ts'
import { problemOf } from '../../lib/problem.ts'
import { LoginError } from './errors.ts'
import type { LoginHandler, LoginPage } from './methods/login-method.ts'

/** Before every answer; JWKS alone replaces some of them. */
const FIELDS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'x-robots-tag': 'noindex',
} as const
const RETRY_SECONDS = 1

export interface Action {
  readonly href: string
  /** Plain text. */
  readonly text: string
}

/** An error that is answered with links to what can be done about it. */
export class ActionableError extends Error {
  override readonly cause: LandfallError
  readonly actions: readonly Action[]

  constructor(cause: LandfallError, actions: readonly Action[]) {
    super(cause.message, { cause })
    this.cause = cause
    this.actions = actions
  }
}

export function setAnswers(app: FastifyInstance, log: Log): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ ...FIELDS, 'x-request-id': request.id })
  })
  app.setErrorHandler((error, request, reply) => sendError(error, { request, reply, log }))
  app.setNotFoundHandler(() => {
    throw new LoginError('login_not_found')
  })
}

/** Registers handlers by method. */
export type AddPath = (
  url: string,
  handlers: Readonly<Partial<Record<'GET' | 'POST' | 'HEAD', LoginHandler>>>,
) => void

/** `side` stands before each path. All other methods are answered with 405, HEAD among them: a look must not be a step. */
export function createAddPath(app: FastifyInstance, side: string): AddPath {
  return (path, handlers) => addPath(app, side + path, handlers)
}

function addPath(app: FastifyInstance, url: string, handlers: Parameters<AddPath>[1]): void {
  const allowed = Object.keys(handlers)
  for (const [method, handler] of Object.entries(handlers)) {
    app.route({ method, url, handler: async (request, reply) => handler(request, reply) })
  }
  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url,
    // Before the body is read: its type and size do not matter here.
    onRequest: async (_request, reply) => {
      reply.header('allow', allowed.join(', '))
      throw new LoginError('login_method_not_allowed')
    },
    handler: () => {},
  })
}

export function sendPage(reply: FastifyReply, { title, body, status = 200 }: LoginPage): FastifyReply {
  const page = htmlPage(title, `<h1>${escapeHtml(title)}</h1>${body}`)
  return reply.code(status).type('text/html; charset=utf-8').send(page)
}

/**
 * To another place: by a redirect, or after a form by a page that goes on by itself, since Chrome applies the policy on
 * where a form may lead (form-action) to every redirect that follows, the app's own included.
 */
export function leave(reply: FastifyReply, url: string): FastifyReply {
  if (reply.request.method === 'GET') return reply.code(303).header('location', url).send()
  const target = escapeHtml(url)
  const body = `<h1>Going on …</h1><p><a class="button" href="${target}">Go on</a> if nothing happens.</p>`
  const page = htmlPage('Going on', body, `<meta http-equiv="refresh" content="0;url=${target}">`)
  return reply.type('text/html; charset=utf-8').send(page)
}

export function wantsHtml({ headers }: FastifyRequest): boolean {
  return headers.accept?.toLowerCase().includes('text/html') ?? false
}

interface Failure {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly log: Log
}

/** For errors before there is a route to handle them, too. */
export function sendError(thrown: unknown, { request, reply, log }: Failure): void {
  const actions = thrown instanceof ActionableError ? thrown.actions : []
  const error = toLandfallError(thrown instanceof ActionableError ? thrown.cause : thrown)
  const isOurs = error.fault.source === 'internal'
  const fields = { err: error, code: error.code, ...error.context, requestId: request.id }
  log[isOurs ? 'error' : 'debug'](fields, 'a login was refused')
  const { status, retryable } = error.fault
  reply.headers({ ...FIELDS, 'x-request-id': request.id }).code(status)
  if (retryable && status >= 429) reply.header('retry-after', RETRY_SECONDS)
  if (status === 401) reply.header('www-authenticate', `Bearer realm="${realmOf(request)}"`)
  if (wantsHtml(request)) reply.type('text/html; charset=utf-8').send(errorPage(error, actions, request))
  else sendProblem(reply, problemOf(error, request.id))
}

/** As bytes: to a text Fastify would add a charset, which JSON does not have. */
function sendProblem(reply: FastifyReply, problem: object): void {
  reply.header('content-type', 'application/problem+json').send(Buffer.from(JSON.stringify(problem)))
}

function realmOf({ headers }: FastifyRequest): string {
  return (headers.host ?? '').replace(/[^\w.:-]/g, '')
}

function errorPage(error: LandfallError, actions: readonly Action[], request: FastifyRequest): string {
  const { code, detail, fault } = error
  const more = detail === undefined ? '' : `<p>${escapeHtml(detail)}.</p>`
  const links = actions.map(({ href, text }) => linkOf(href, text)).join('')
  const choices = links === '' ? '' : `<div class="choices">${links}</div>`
  return htmlPage(
    `${fault.status} ${fault.title}`,
    `<p class="status">${fault.status}</p><h1>${escapeHtml(fault.title)}</h1>${more}<p>${escapeHtml(fault.next)}</p>${choices}
<dl><dt>Code</dt><dd><a href="/.landfall/errors#${code}">${code}</a></dd>
<dt>Host</dt><dd>${escapeHtml(request.headers.host ?? '')}</dd><dt>Request</dt><dd>${escapeHtml(request.id)}</dd></dl>`,
  )
}

/** A link that looks like a button. */
export function linkOf(href: string, text: string): string {
  return `<a class="button" href="${escapeHtml(href)}">${escapeHtml(text)}</a>`
}

/** Fastify's errors and surprises as one of ours. */
function toLandfallError(error: unknown): LandfallError {
  if (error instanceof LandfallError) return error
  const { statusCode = 500 } = error as { statusCode?: number }
  if (statusCode === 413) return new LoginError('login_body_too_large', { cause: error })
  const isRefusal = statusCode >= 400 && statusCode < 500
  return new LoginError(isRefusal ? 'login_request_malformed' : 'login_internal', { cause: error })
}
