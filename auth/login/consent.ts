/** Asks a person whether a host may learn who they are, and knows its own question again. */

import type { FastifyReply } from 'fastify'
import { escapeHtml } from '../../lib/html.ts'
import { sendPage } from './answers.ts'
import type { LoginContext, LoginRoute } from './context.ts'
import type { CodeTarget } from './login-code.ts'
import type { Session } from './login-store.ts'
import { displayName } from './sessions.ts'

const LIFE_MS = 600_000

/** `link`: a share link led here. `stranger`: the host does not know the person. `sent`: it does, but a page elsewhere led them here. */
export type Occasion = 'link' | 'stranger' | 'sent'

export interface Question {
  readonly session: Session
  readonly target: CodeTarget
  readonly route: LoginRoute
  readonly occasion: Occasion
}

/** What was agreed to. */
interface Consent extends CodeTarget {
  readonly vm?: string
  readonly pool?: string
}

const REASONS: Readonly<Record<Occasion, (host: string) => string>> = {
  link: (host) => `A link lets you in at ${host}. Its owner will see who came by it.`,
  stranger: (host) => `${host} asks who you are.`,
  sent: (host) =>
    `A page of another site, or of ${host} itself, led you here. Go on only if you meant to open it.`,
}

/** The answer counts for this session, this host and this browser's login there, and for nothing else. */
export function askConsent(
  reply: FastifyReply,
  { session, target, route, occasion }: Question,
  { texts }: Pick<LoginContext, 'texts'>,
): FastifyReply {
  const { vm, pool } = route
  const consent = texts.seal({ ...target, vm, pool }, purposeOf(session), LIFE_MS)
  const why = REASONS[occasion](`<strong>${escapeHtml(target.hostname)}</strong>`)
  const what = session.email === undefined ? 'your user id' : 'your e-mail address and your user id'
  const body = `<p>${why}</p><p>Whoever runs it learns ${what}: <strong>${escapeHtml(displayName(session))}</strong>.</p>
<form method="post" action="/consent"><input type="hidden" name="consent" value="${consent}">
<button name="answer" value="yes">Continue</button><button class="second" name="answer" value="no">Not now</button></form>`
  return sendPage(reply, { title: `Continue to ${target.hostname}?`, body })
}

/** Undefined, too, when the name has come to lead to somebody else's VM since. */
export function findConsent(
  text: string | undefined,
  session: Session,
  { texts, routes }: Pick<LoginContext, 'texts' | 'routes'>,
): CodeTarget | undefined {
  const consent = texts.open(text, purposeOf(session)) as Consent | undefined
  if (consent === undefined) return undefined
  const { hostname, challenge, vm, pool } = consent
  const route = routes.find(hostname)
  return route !== undefined && route.vm === vm && route.pool === pool ? { hostname, challenge } : undefined
}

function purposeOf({ id }: Session): string {
  return `consent/${id}`
}
