/** One HTTPS request to any host name of an edge, and its whole answer; for logins, the same as a browser's transport. */

import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import { TestBrowser } from '../auth/login/browser.ts'
import type { TlsTarget } from './tls-dial.ts'

export interface EdgeAsk {
  readonly hostname: string
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | undefined
}

export interface EdgeAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** On a connection of its own. @throws Error when there is no whole answer */
export function edgeCall({ httpsPort, ca }: TlsTarget, ask: EdgeAsk): Promise<EdgeAnswer> {
  const { hostname, method = 'GET', path = '/', headers = {}, body } = ask
  const target = { host: '127.0.0.1', port: httpsPort, servername: hostname, ca, agent: false } as const
  const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
  const fields = { host: `${hostname}:${httpsPort}`, ...length, ...headers }
  return new Promise((resolve, reject) => {
    const call = request({ ...target, method, path, headers: fields }, (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        reject,
      )
    })
    call.once('error', reject).end(body)
  })
}

/** A new profile, whose requests all go to this edge. */
export function browserOf(edge: TlsTarget): TestBrowser {
  return new TestBrowser(async ({ url, ...ask }) => {
    const path = `${url.pathname}${url.search}`
    return { ...(await edgeCall(edge, { ...ask, hostname: url.hostname, path })), url }
  })
}

/** Logs in as one of the people of a development server; resolves to the Cookie field for that host. */
export async function loginFor(edge: TlsTarget, hostname: string, email: string): Promise<string> {
  const browser = browserOf(edge)
  const page = await browser.visit(`https://${hostname}:${edge.httpsPort}/.landfall/login?to=/`)
  const answer = await browser.submit(page, { email })
  const value = browser.cookie(hostname, '__Host-landfall')
  if (value === undefined) throw new Error(`no login: ${answer.status} ${answer.url.href} ${answer.body}`)
  return `__Host-landfall=${value}`
}
