/** What the login mail says, as plain text and as HTML. */

import { isIP } from 'node:net'
import { escapeHtml } from '../../../lib/html.ts'

export interface MailFacts {
  /** Where the login leads. */
  readonly host: string
  readonly url: string
  readonly minutes: number
  /** Who asked for it. */
  readonly clientAddress: string
  readonly userAgent: string | undefined
  readonly at: Date
}

export interface MailText {
  readonly subject: string
  readonly text: string
  readonly html: string
}

export function toMailText(facts: MailFacts): MailText {
  const { host, url, minutes } = facts
  const how = `The link works once, for ${minutes} minutes, and only in the browser that asked for it.`
  const who = `It was asked for at ${toMoment(facts.at)} by ${toBrowser(facts.userAgent)}${toPlace(facts.clientAddress)}.`
  const ignore = 'If that was not you, do nothing: nobody is let in without this link.'
  return {
    subject: `Log in to ${host}`,
    text: `Log in to ${host}:\n\n${url}\n\n${how}\n\n${who}\n${ignore}\n`,
    html: `<!doctype html>
<html lang="en"><body style="font:16px/1.5 sans-serif">
<p><a href="${escapeHtml(url)}">Log in to ${escapeHtml(host)}</a></p>
<p>${escapeHtml(how)}</p>
<p style="color:#5b6675">${escapeHtml(who)} ${escapeHtml(ignore)}</p>
</body></html>
`,
  }
}

/** What a proxy wrote in the place of an address is not for a mail to anybody. */
function toPlace(clientAddress: string): string {
  return isIP(clientAddress) === 0 ? '' : ` at the address ${clientAddress}`
}

function toMoment(at: Date): string {
  return `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

const BROWSERS = [
  ['Edge', /\bEdgA?\//],
  ['Opera', /\bOPR\//],
  ['Firefox', /\b(?:Firefox|FxiOS)\//],
  ['Chrome', /\b(?:Chrome|Chromium|CriOS|HeadlessChrome)\//],
  ['Safari', /\bSafari\//],
] as const
const SYSTEMS = [
  ['Android', /\bAndroid\b/],
  ['iOS', /\b(?:iPhone|iPad)\b/],
  ['Windows', /\bWindows\b/],
  ['macOS', /\bMacintosh\b/],
  ['Linux', /\bLinux\b/],
] as const

/** Words of our own: whoever asks chooses the field, and must not write into somebody's mail with it. */
function toBrowser(userAgent = ''): string {
  const browser = BROWSERS.find(([, pattern]) => pattern.test(userAgent))?.[0] ?? 'a browser'
  const system = SYSTEMS.find(([, pattern]) => pattern.test(userAgent))?.[0]
  return system === undefined ? browser : `${browser} on ${system}`
}
