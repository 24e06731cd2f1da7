/** Login by mail: a link that works once, for ten minutes, in the browser that asked for it. */

import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { digestOf, isSameSecret } from '../../../lib/digest.ts'
import type { Log } from '../../../lib/log.ts'
import { toEmailAddress, toUserId } from '../../email-address.ts'
import { LoginError } from '../errors.ts'
import { formOf } from '../form.ts'
import type { LoginStore, MailLogin } from '../login-store.ts'
import type { LoginFlow, LoginMethod, LoginMethodContext } from './login-method.ts'
import { createMailLimits, type MailAsked } from './mail-limits.ts'
import { askPage, ENTER_PATH, enterPage, SEND_PATH, sentPage } from './mail-pages.ts'
import type { MailOutcome, MailSender } from './mail-sender.ts'
import { toMailText } from './mail-text.ts'

const MAIL_PATH = '/mail'
const COOKIE = '__Host-landfall-mail'
const MINUTE_MS = 60_000
const MAIL_MINUTES = 10
/** Time to type an address, and then for the mail. */
const FORM_MS = 60 * MINUTE_MS
const COOKIE_MS = FORM_MS + MAIL_MINUTES * MINUTE_MS
/** Whoever waits for the answer is not made to wait for a slow mail server. */
const ANSWER_MS = 10_000
const SECRET_BYTES = 32
const SECRET = /^[A-Za-z0-9_-]{43}$/

export interface MailLoginDeps {
  readonly store: Pick<LoginStore, 'putMailLogin' | 'findMailLogin' | 'takeMailLogin'>
  readonly sender: MailSender
  readonly log: Log
  /** Unix milliseconds; the system's clock unless given. */
  readonly now?: () => number
  /** How long an answer waits for the mail server at most; 10 s unless given. */
  readonly answerMs?: number
}

export function createMailLogin(deps: MailLoginDeps): LoginMethod {
  let login: MailLoginPages | undefined
  return {
    name: 'mail',
    title: 'Log in by mail',
    add: (context) => {
      const pages = new MailLoginPages(context, deps)
      login = pages
      context.addPath(MAIL_PATH, { GET: (request, reply) => pages.show(request, reply) })
      context.addPath(SEND_PATH, { POST: (request, reply) => pages.send(request, reply) })
      context.addPath(ENTER_PATH, { POST: (request, reply) => pages.enter(request, reply) })
    },
    begin: (request, reply, flow) => {
      if (login === undefined) throw new LoginError('login_unconfigured')
      return login.ask(request, reply, flow)
    },
  }
}

class MailLoginPages {
  readonly #context: LoginMethodContext
  readonly #deps: MailLoginDeps
  readonly #now: () => number
  readonly #limits

  constructor(context: LoginMethodContext, deps: MailLoginDeps) {
    this.#context = context
    this.#deps = deps
    this.#now = deps.now ?? Date.now
    this.#limits = createMailLimits(this.#now)
  }

  /** The page with the form. The browser keeps one secret, so that several tabs and mails do not get in each other's way. */
  ask(request: FastifyRequest, reply: FastifyReply, flow: LoginFlow): FastifyReply {
    this.#keepSecret(reply, this.#findSecret(request) ?? randomText())
    return this.#context.sendPage(reply, askPage({ flow: this.#context.seal(flow, 'flow', FORM_MS) }))
  }

  async send(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    this.#context.checkSameOrigin(request)
    const form = formOf(request)
    const flow = this.#getFlow(form.get('flow'))
    const secret = this.#getSecret(request)
    const typed = (form.get('email') ?? '').trim()
    const email = toEmailAddress(typed)
    const sealed = this.#context.seal(flow, 'flow', FORM_MS)
    if (email === undefined || toUserId(email) === undefined) {
      return this.#context.sendPage(reply, askPage({ flow: sealed, wrong: typed.slice(0, 254) }))
    }
    this.#keepSecret(reply, secret)
    await this.#mail(request, { email, browser: digestOf(secret), flow })
    return this.#context.sendPage(reply, sentPage({ email, flow: sealed, minutes: MAIL_MINUTES }))
  }

  /** Takes nothing: scanners follow links. */
  async show(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { token } = request.query as { token?: unknown }
    const { email } = await this.#getLogin(request, token)
    return this.#context.sendPage(reply, enterPage(email, String(token)))
  }

  /** Another browser is refused before the mail is taken: it must not use up somebody's link. */
  async enter(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    this.#context.checkSameOrigin(request)
    const token = formOf(request).get('token')
    await this.#getLogin(request, token)
    const login = await this.#deps.store.takeMailLogin(digestOf(token ?? ''))
    const { email, flow } = this.#checkLogin(request, login)
    const user = toUserId(email)
    if (user === undefined) throw new LoginError('login_expired')
    return this.#context.finish(reply, { user, email }, this.#getFlow(flow))
  }

  async #mail(request: FastifyRequest, asked: MailDemand): Promise<void> {
    const { log } = this.#deps
    const who = { email: asked.email, clientAddress: request.ip }
    const exceeded = this.#limits.findExceeded(who)
    if (exceeded !== undefined)
      log.warn({ ...who, limit: exceeded }, 'no login mail was sent: too many of them')
    if (exceeded === 'client') throw new LoginError('login_busy')
    // The answer stays the same: it must not tell that others have asked for this address.
    if (exceeded === 'address') return
    this.#limits.add(who)
    const outcome = await this.#deliver(request, { asked, who })
    if (outcome === 'failed') throw new LoginError('login_mail_unsent')
  }

  /** `sent` also when the server has not answered in time: then the log alone tells what became of it. */
  async #deliver(request: FastifyRequest, { asked, who }: MailUnderWay): Promise<MailOutcome> {
    const token = randomText()
    try {
      await this.#deps.store.putMailLogin(digestOf(token), this.#toRecord(asked))
    } catch (error) {
      this.#limits.remove(who)
      throw error
    }
    const sending = this.#deps.sender
      .send({ to: asked.email, ...this.#toText(request, { asked, token }) })
      .then((outcome) => {
        if (outcome === 'failed') this.#limits.remove(who)
        return outcome
      })
    return firstOf(sending, this.#deps.answerMs ?? ANSWER_MS)
  }

  #toRecord({ email, browser, flow }: MailDemand): MailLogin {
    const lifeMs = MAIL_MINUTES * MINUTE_MS
    return {
      email,
      browser,
      flow: this.#context.seal(flow, 'flow', lifeMs + MINUTE_MS),
      expiresAt: new Date(this.#now() + lifeMs).toISOString(),
    }
  }

  #toText(request: FastifyRequest, { asked, token }: { asked: MailDemand; token: string }) {
    const origin = this.#context.origin()
    return toMailText({
      host: asked.flow.hostname ?? new URL(origin).hostname,
      url: `${origin}${MAIL_PATH}?token=${token}`,
      minutes: MAIL_MINUTES,
      clientAddress: request.ip,
      userAgent: request.headers['user-agent'],
      at: new Date(this.#now()),
    })
  }

  /** @throws LoginError `login_expired`, `login_cookies_missing` */
  async #getLogin(request: FastifyRequest, token: unknown): Promise<MailLogin> {
    if (typeof token !== 'string' || !SECRET.test(token)) throw new LoginError('login_expired')
    return this.#checkLogin(request, await this.#deps.store.findMailLogin(digestOf(token)))
  }

  #checkLogin(request: FastifyRequest, login: MailLogin | undefined): MailLogin {
    if (login === undefined || Date.parse(login.expiresAt) <= this.#now())
      throw new LoginError('login_expired')
    if (isSameSecret(digestOf(this.#getSecret(request)), login.browser)) return login
    this.#deps.log.warn(
      { email: login.email, clientAddress: request.ip },
      'a login mail was opened elsewhere',
    )
    throw new LoginError('login_cookies_missing', { detail: OTHER_BROWSER })
  }

  #getFlow(sealed: string | null): LoginFlow {
    const flow = this.#context.open(sealed ?? undefined, 'flow')
    if (flow === undefined) throw new LoginError('login_expired')
    return flow as LoginFlow
  }

  #getSecret(request: FastifyRequest): string {
    const secret = this.#findSecret(request)
    if (secret === undefined) throw new LoginError('login_cookies_missing', { detail: OTHER_BROWSER })
    return secret
  }

  #findSecret(request: FastifyRequest): string | undefined {
    const secret = this.#context.open(this.#context.findCookie(request, COOKIE), 'browser')
    return typeof secret === 'string' && SECRET.test(secret) ? secret : undefined
  }

  #keepSecret(reply: FastifyReply, secret: string): void {
    const value = this.#context.seal(secret, 'browser', COOKIE_MS)
    this.#context.setCookie(reply, { name: COOKIE, value, lifeMs: COOKIE_MS })
  }
}

const OTHER_BROWSER = 'A link from a mail works only in the browser that asked for the mail'

interface MailDemand {
  readonly email: string
  /** SHA-256 of the browser's secret. */
  readonly browser: string
  readonly flow: LoginFlow
}

interface MailUnderWay {
  readonly asked: MailDemand
  readonly who: MailAsked
}

/** What the mail server says, or `sent` when it takes its time. */
async function firstOf(sending: Promise<MailOutcome>, limitMs: number): Promise<MailOutcome> {
  const { promise, resolve } = Promise.withResolvers<MailOutcome>()
  const timer = setTimeout(() => resolve('sent'), limitMs)
  try {
    return await Promise.race([sending, promise])
  } finally {
    clearTimeout(timer)
  }
}

function randomText(): string {
  return randomBytes(SECRET_BYTES).toString('base64url')
}
