/** The pages of the login by mail. */

import { escapeHtml } from '../../../lib/html.ts'
import type { LoginPage } from './login-method.ts'

export const SEND_PATH = '/mail/send'
export const ENTER_PATH = '/mail/enter'

export interface AskFacts {
  /** Sealed: where the login goes on. */
  readonly flow: string
  /** What was typed and is no address. */
  readonly wrong?: string
}

/** `type=email` would refuse international names and rewrite hosts, so it is a text. */
export function askPage({ flow, wrong }: AskFacts): LoginPage {
  const complaint = `<p class="status">That is not an e-mail address as ann@example.com.</p>`
  return {
    title: 'Log in by mail',
    body: `${wrong === undefined ? '' : complaint}<p>We send you a link that logs you in, in this browser.</p>
<form method="post" action="${SEND_PATH}"><input type="hidden" name="flow" value="${escapeHtml(flow)}">
<label>Your e-mail address <input name="email" inputmode="email" autocomplete="email" autocapitalize="none" spellcheck="false" maxlength="254" required autofocus value="${escapeHtml(wrong ?? '')}"></label>
<button>Send the link</button></form>`,
    ...(wrong !== undefined && { status: 400 }),
  }
}

export interface SentFacts {
  readonly email: string
  readonly flow: string
  readonly minutes: number
}

/** The same for every address, whatever became of the mail. */
export function sentPage({ email, flow, minutes }: SentFacts): LoginPage {
  const address = escapeHtml(email)
  return {
    title: 'Look into your mail',
    body: `<p>If <strong>${address}</strong> takes mail, a link is on its way. Open it in this browser within ${minutes} minutes.</p>
<p class="soft">None there? Look into the spam folder. Few mails an hour go to one address, so do not ask often.</p>
<form method="post" action="${SEND_PATH}"><input type="hidden" name="flow" value="${escapeHtml(flow)}">
<input type="hidden" name="email" value="${address}"><button class="second">Send another one</button></form>`,
  }
}

/** Programs that look into mails open links, but press no buttons. */
export function enterPage(email: string, token: string): LoginPage {
  return {
    title: 'Log in',
    body: `<p>You log in as <strong>${escapeHtml(email)}</strong>.</p>
<form method="post" action="${ENTER_PATH}"><input type="hidden" name="token" value="${escapeHtml(token)}"><button>Log in</button></form>`,
  }
}
