/** As much of a browser as logins need: cookies under the rules of `__Host-`, redirects, refreshes and forms. */

import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import { text as readText } from 'node:stream/consumers'

/** How a request gets to a host; https or a service's own connections. */
export type Transport = (ask: Ask) => Promise<Answer>

export interface Ask {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: string
  /** What was asked for; set by the browser. */
  readonly url: URL
}

export interface Visit {
  readonly method?: string
  readonly form?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** The page that the request comes from; typed in by the user when absent. */
  readonly from?: URL
  /** Over all redirects; of `from` when absent. */
  readonly site?: Site
}

type Site = 'none' | 'same-origin' | 'same-site' | 'cross-site'

const PAGE = 'text/html,application/xhtml+xml,*/*;q=0.8'
const MAX_STEPS = 12

/** One profile: its cookies by host. */
export class TestBrowser {
  readonly #transport: Transport
  readonly jar = new Map<string, Map<string, string>>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  cookie(host: string, name: string): string | undefined {
    return this.jar.get(host)?.get(name)
  }

  /** One request, and nothing that follows of it. */
  async ask(url: string | URL, { method, form, headers, from, site }: Visit = {}): Promise<Answer> {
    const target = new URL(url)
    const body = form && new URLSearchParams(form).toString()
    const cookies = [...(this.jar.get(target.hostname) ?? [])].map(([name, value]) => `${name}=${value}`)
    const answer = await this.#transport({
      method: method ?? (form ? 'POST' : 'GET'),
      url: target,
      headers: {
        accept: PAGE,
        'sec-fetch-site': site ?? siteOf(from, target),
        'sec-fetch-mode': 'navigate',
        // Our pages have no referrer; then the Origin of a form is opaque.
        ...(form && { origin: from && from.origin !== target.origin ? from.origin : 'null' }),
        ...(form && { 'content-type': 'application/x-www-form-urlencoded' }),
        ...(cookies.length > 0 && { cookie: cookies.join('; ') }),
        ...headers,
      },
      ...(body !== undefined && { body }),
    })
    this.#keep(target.hostname, answer)
    return { ...answer, url: target }
  }

  /** Follows redirects and refreshes to the page at their end. */
  async visit(url: string | URL, visit: Visit = {}): Promise<Answer> {
    let site = visit.site ?? siteOf(visit.from, new URL(url))
    let answer = await this.ask(url, visit)
    for (let step = 0; step < MAX_STEPS; step += 1) {
      const next = findNext(answer)
      if (next === undefined) return answer
      // A page that goes on by itself is a new beginning.
      site = answer.status < 300 ? siteOf(answer.url, next) : farther(site, siteOf(answer.url, next))
      answer = await this.ask(next, { site })
    }
    throw new Error(`no end of redirects, last at ${answer.url}`)
  }

  /** Sends the form of a page, as its user would; hidden fields are filled in. */
  submit(page: Answer, fields: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const [, action = ''] = /<form method="post" action="([^"]+)"/.exec(page.body) ?? []
    if (action === '') throw new Error(`no form on ${page.url}: ${page.body.slice(0, 400)}`)
    const hidden = [...page.body.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)">/g)]
    const values = Object.fromEntries(hidden.map(([, name = '', value = '']) => [name, value]))
    return this.visit(new URL(action, page.url), { form: { ...values, ...fields }, from: page.url })
  }

  /** RFC 6265bis section 4.1.3.2: what breaks the rules of the prefix is not kept. */
  #keep(host: string, { headers }: Pick<Answer, 'headers'>): void {
    for (const line of [headers['set-cookie'] ?? []].flat()) {
      const [pair = '', ...attributes] = line.split('; ')
      const at = pair.indexOf('=')
      const name = pair.slice(0, at)
      const isSound = attributes.includes('Path=/') && attributes.includes('Secure') && !/domain/i.test(line)
      if (name.startsWith('__Host-') && !isSound) throw new Error(`a browser would not keep ${line}`)
      const own = this.jar.get(host) ?? new Map<string, string>()
      if (attributes.includes('Max-Age=0')) own.delete(name)
      else own.set(name, pair.slice(at + 1))
      this.jar.set(host, own)
    }
  }
}

function findNext({ status, headers, body, url }: Answer): URL | undefined {
  const { location } = headers
  if (status >= 300 && status < 400 && typeof location === 'string') return new URL(location, url)
  const [, refresh] = /http-equiv="refresh" content="0;url=([^"]+)"/.exec(body) ?? []
  return refresh === undefined ? undefined : new URL(refresh.replaceAll('&amp;', '&'), url)
}

/** https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header, with example.test as one site. */
function siteOf(from: URL | undefined, target: URL): Site {
  if (from === undefined) return 'none'
  if (from.origin === target.origin) return 'same-origin'
  const isSame = from.hostname.endsWith('.example.test') && target.hostname.endsWith('.example.test')
  return isSame ? 'same-site' : 'cross-site'
}

/** A redirect makes nothing nearer, and what the user typed stays so. */
function farther(one: Site, other: Site): Site {
  const order: readonly Site[] = ['none', 'cross-site', 'same-site', 'same-origin']
  return order.indexOf(one) <= order.indexOf(other) ? one : other
}

/** Over connections of a service in this process. */
export function pipedTransport(connect: () => Duplex): Transport {
  return ({ method, url, headers, body = '' }) =>
    new Promise((resolve, reject) => {
      const ask = request(
        {
          method,
          path: url.pathname + url.search,
          headers: {
            host: url.host,
            connection: 'close',
            'content-length': Buffer.byteLength(body),
            ...headers,
          },
          createConnection: () => connect(),
        },
        (response) => {
          readText(response).then((text) => {
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text, url })
          }, reject)
        },
      )
      ask.on('error', reject)
      ask.end(body)
    })
}
