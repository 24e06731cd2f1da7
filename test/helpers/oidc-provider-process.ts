/** The program behind oidc-provider.ts: takes its options as the first message, and answers with its issuer. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import Provider, { type Configuration } from 'oidc-provider'
import { escapeHtml } from '../../lib/html.ts'
import type { ProviderOptions } from './oidc-provider.ts'

type Options = ProviderOptions & { readonly clientId: string; readonly clientSecret: string }

const CLAIMS = {
  openid: ['sub'],
  email: ['email', 'email_verified'],
  profile: ['name', 'preferred_username'],
}

/** Its interactions are ours: a form for the account, and one for the consent where that is asked for. */
class Interactions {
  readonly #provider: Provider
  readonly #options: Options

  constructor(provider: Provider, options: Options) {
    this.#provider = provider
    this.#options = options
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const details = await this.#provider.interactionDetails(request, response)
    const form = new URLSearchParams(request.method === 'POST' ? await readText(request) : '')
    const prompt = details.prompt.name
    const isAutomatic = prompt === 'consent' && this.#options.consent !== 'form'
    if (request.method !== 'POST' && !isAutomatic) return this.#ask(response, prompt)
    if (form.get('answer') === 'no') return this.#finish(request, response, { error: 'access_denied' })
    if (prompt === 'login') return this.#login(request, response, form.get('login') ?? '')
    const grantId = await this.#grant(details)
    return this.#finish(request, response, { consent: { grantId } })
  }

  #ask(response: ServerResponse, prompt: string): void {
    const field = prompt === 'login' ? '<label>Account <input name="login" required></label>' : ''
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.end(`<!doctype html><title>Provider: ${escapeHtml(prompt)}</title><h1>${escapeHtml(prompt)}</h1>
<form method="post">${field}<button name="answer" value="yes">Yes</button>
<button name="answer" value="no" formnovalidate>No</button></form>`)
  }

  async #login(request: IncomingMessage, response: ServerResponse, accountId: string): Promise<void> {
    const isKnown = this.#options.accounts.some(({ id }) => id === accountId)
    if (!isKnown) return this.#ask(response, 'login')
    return this.#finish(request, response, { login: { accountId } })
  }

  async #grant(details: Awaited<ReturnType<Provider['interactionDetails']>>): Promise<string> {
    const accountId = details.session?.accountId
    if (accountId === undefined) throw new Error('nobody is logged in')
    const grant = new this.#provider.Grant({ accountId, clientId: this.#options.clientId })
    grant.addOIDCScope('openid email profile')
    return grant.save()
  }

  #finish(request: IncomingMessage, response: ServerResponse, result: object): Promise<void> {
    return this.#provider.interactionFinished(request, response, result as never)
  }
}

function toConfiguration(options: Options): Configuration {
  return {
    clients: [
      {
        client_id: options.clientId,
        client_secret: options.clientSecret,
        redirect_uris: [options.redirectUri],
        token_endpoint_auth_method: options.clientAuth ?? 'client_secret_basic',
      },
    ],
    clientAuthMethods: [options.clientAuth ?? 'client_secret_basic'],
    claims: CLAIMS,
    conformIdTokenClaims: options.hasClaimsInIdToken !== true,
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    cookies: { keys: ['only for tests'] },
    pkce: { required: () => true },
    findAccount: (_context, id) => {
      const account = options.accounts.find((candidate) => candidate.id === id)
      return account && { accountId: id, claims: () => ({ sub: id, ...account.claims }) }
    },
  }
}

async function serve(options: Options): Promise<void> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, toConfiguration(options))
  const interactions = new Interactions(provider, options)
  const requests: string[] = []
  const callback = provider.callback()
  server.on('request', (request, response) => {
    requests.push(`${request.method} ${request.url?.split('?')[0]}`)
    if (!request.url?.startsWith('/interaction/')) return void callback(request, response)
    interactions.answer(request, response).catch((error: unknown) => {
      response.statusCode = 500
      response.end(String(error))
    })
  })
  process.on('message', () => process.send?.({ requests }))
  process.send?.({ issuer })
}

process.once('message', (options: Options) => void serve(options))
process.once('disconnect', () => process.exit())
