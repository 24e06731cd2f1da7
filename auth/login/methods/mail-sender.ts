/** Sends mails through the operator's SMTP server, with a time limit, and ends what is under way when it is closed. */

import { createTransport, type SendMailOptions } from 'nodemailer'
import type { Log } from '../../../lib/log.ts'
import { isLoopback } from '../../../lib/loopback.ts'

const CONNECT_MS = 8_000
const SILENCE_MS = 20_000
const SEND_MS = 60_000
/** Each holds a connection and some 100 KB. */
const MAX_UNDER_WAY = 50

export interface MailMessage {
  /** Canonical: it holds nothing that means something in a header or an SMTP command. */
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly html: string
}

export interface MailSenderSettings {
  /** `smtp://user@host:port` or `smtps://…`. */
  readonly url: string
  /** Undefined for a server that asks for none. */
  readonly password?: string | undefined
  /** RFC 5322 mailbox, as `Landfall <login@example.test>`. */
  readonly from: string
}

/** `refused`: the server does not take mail for this address. `failed`: it takes none at all now. */
export type MailOutcome = 'sent' | 'refused' | 'failed'

export interface MailSender {
  /** Never rejects: why it failed is in the log. */
  send(message: MailMessage): Promise<MailOutcome>
}

export function createMailSender(settings: MailSenderSettings, log: Log): MailSender & AsyncDisposable {
  const transport = createTransport(toTransportOptions(settings))
  const closing = new AbortController()
  const underWay = new Set<Promise<unknown>>()
  const deliver = async (message: MailMessage) => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(SEND_MS)])
    await transport.sendMail({ ...toMail(message, settings.from), ...{ signal } })
  }
  return {
    send: async (message) => {
      if (underWay.size >= MAX_UNDER_WAY || closing.signal.aborted) {
        log.error({ underWay: underWay.size }, 'a login mail was not sent: too many are under way')
        return 'failed'
      }
      const delivery = outcomeOf(deliver(message), { to: message.to, log })
      underWay.add(delivery)
      return delivery.finally(() => underWay.delete(delivery))
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      await Promise.all(underWay)
      transport.close()
    },
  }
}

/** As nodemailer wants it. */
export function toTransportOptions({ url, password }: MailSenderSettings) {
  const { protocol, hostname, port, username } = new URL(url)
  const isSecure = protocol === 'smtps:'
  const host = hostname.replace(/^\[|\]$/g, '')
  return {
    host,
    secure: isSecure,
    ...(port !== '' && { port: Number(port) }),
    // The links are as good as passwords: they leave this machine by TLS alone.
    requireTLS: !isSecure && !isLoopback(host),
    ...(username !== '' && { auth: { user: decodeURIComponent(username), pass: password ?? '' } }),
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    dnsTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  }
}

/** The address goes in as an object: nothing in it is parsed as a list or a name. */
function toMail({ to, subject, text, html }: MailMessage, from: string): SendMailOptions {
  return {
    from,
    to: { name: '', address: to },
    subject,
    text,
    html,
    // RFC 3834 section 5: answering machines stay silent.
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
  }
}

async function outcomeOf(
  delivery: Promise<void>,
  { to, log }: { readonly to: string; readonly log: Log },
): Promise<MailOutcome> {
  try {
    await delivery
    log.info({ to }, 'a login mail was sent')
    return 'sent'
  } catch (error) {
    const isRefusal = (error as { command?: unknown }).command === 'RCPT TO'
    const message = isRefusal ? 'the mail server does not take this address' : 'a login mail was not sent'
    log[isRefusal ? 'warn' : 'error']({ err: error, to }, message)
    return isRefusal ? 'refused' : 'failed'
  }
}
