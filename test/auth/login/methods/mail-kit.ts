/** A login service with the login by mail, and a browser on its way through it. */

import type { Test } from 'tap'
import { createMailLogin } from '../../../../auth/login/methods/mail-login.ts'
import { createMailSender, type MailSender } from '../../../../auth/login/methods/mail-sender.ts'
import { createLoginBook } from '../../../../routing/logins/login-book.ts'
import { startMemoryStore } from '../../../../routing/store/memory-store.ts'
import { createListLog, type Line } from '../../../helpers/list-log.ts'
import { type Mail, type MailSink, mailSinkFor } from '../../../helpers/mail-sink.ts'
import type { Answer, TestBrowser } from '../browser.ts'
import { type LoginKit, loginKitFor, WEB } from '../login-kit.ts'

export const FROM = 'Landfall <login@example.test>'

export interface MailKit extends LoginKit {
  readonly sink: MailSink
  /** What the mail login logged. */
  readonly mailLines: readonly Line[]
}

export interface MailKitOptions {
  readonly sender?: MailSender
  readonly sink?: MailSink
  readonly url?: string
  readonly answerMs?: number
}

export async function mailKitFor(t: Test, options: MailKitOptions = {}): Promise<MailKit> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const sink = options.sink ?? (await mailSinkFor(t))
  const clock = { ms: Date.now() }
  const { lines: mailLines, ...log } = createListLog()
  const sender = createMailSender({ url: options.url ?? sink.url, from: FROM }, log)
  t.teardown(() => sender[Symbol.asyncDispose]())
  const method = createMailLogin({
    store: createLoginBook({ store, log, now: () => new Date(clock.ms) }),
    sender: options.sender ?? sender,
    log,
    now: () => clock.ms,
    ...(options.answerMs !== undefined && { answerMs: options.answerMs }),
  })
  const kit = await loginKitFor(t, { store, clock, methods: [method] })
  return { ...kit, sink, mailLines }
}

/** To the page that asks for an address. */
export function askPageOf(browser: TestBrowser, to = '/'): Promise<Answer> {
  return browser.visit(`${WEB}/.landfall/login?${new URLSearchParams({ to })}`)
}

/** Asks for a mail, and gives the page that says where to look. */
export async function askFor(browser: TestBrowser, email: string, to = '/'): Promise<Answer> {
  return browser.submit(await askPageOf(browser, to), { email })
}

/** @throws Error when there is none */
export function linkOf(mail: Mail | undefined): string {
  const [link] = /https:\/\/\S+/.exec(mail?.parts['text/plain'] ?? '') ?? []
  if (link === undefined) throw new Error('the mail holds no link')
  return link
}
