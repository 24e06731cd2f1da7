/** Speaks ACME (RFC 8555) with one authority through acme-client, whose answers it checks and whose waits it bounds. */

import { X509Certificate } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { axios, type Order } from 'acme-client'
import { HOUR_MS } from '../../lib/durations.ts'
import { AcmeError } from '../errors.ts'
import { type AccountDeps, type AccountKey, FleetAccount } from './account.ts'
import { parseRenewalInfo } from './ari.ts'
import type { Ca, CaAuthorization, CaFacts, CaOrder, RenewalInfo } from './ca.ts'
import {
  type DirectoryAnswer,
  parseAuthorization,
  parseChain,
  parseDirectory,
  parseOrder,
} from './ca-objects.ts'
import { CaProblem } from './ca-problem.ts'
import { checkUrl } from './ca-url.ts'
import { type AcmeClient, createClient } from './client.ts'
import type { ExternalAccount } from './external-accounts.ts'
import { converse, type Line, type Told } from './http.ts'

const DIRECTORY_AGE_MS = HOUR_MS
const MAX_SOCKETS = 8
/** Far below what servers wait before they close, so that no request meets a closed connection. */
const IDLE_SOCKET_MS = 4_000

export interface CaSettings {
  /** Of the directory. Plain HTTP is for an authority on this machine. */
  readonly directory: string
  /** An e-mail address. */
  readonly contact?: string
  readonly agreesToTerms: boolean
  readonly externalAccount?: ExternalAccount
  /** Roots of servers that are trusted besides the public ones. */
  readonly trustedPem?: string
  /** For each request; a call may take four times as long. Default 30,000. */
  readonly requestMs?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

/**
 * Asks nothing yet. Disposal closes its connections.
 * @throws AcmeError certificate_setting when the directory is not the URL of one
 */
export function openCa(deps: AccountDeps, settings: CaSettings): Ca & Disposable {
  const { directory } = settings
  try {
    checkUrl(directory, directory)
  } catch (cause) {
    const detail = `The directory of an ACME server is an https URL, not ${directory.slice(0, 200)}`
    throw new AcmeError('certificate_setting', { cause, detail })
  }
  return new AcmeCa(deps, settings)
}

class AcmeCa implements Ca, Disposable {
  readonly directory: string
  readonly #settings: CaSettings
  readonly #line: Line
  readonly #account: FleetAccount
  #client: { readonly of: AccountKey; readonly client: AcmeClient } | undefined
  #directory: { readonly answer: DirectoryAnswer; readonly readAt: number } | undefined

  constructor(deps: AccountDeps, settings: CaSettings) {
    const { directory, trustedPem, requestMs = 30_000, now = Date.now } = settings
    const agent = { keepAlive: true, maxSockets: MAX_SOCKETS, timeout: IDLE_SOCKET_MS }
    const secureContext = trustedPem === undefined ? undefined : createTrust(trustedPem)
    this.directory = directory
    this.#settings = settings
    this.#line = {
      directory,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent({ ...agent, ...(secureContext && { secureContext }) }),
      requestMs,
      nonces: [],
      now,
      log: deps.log,
    }
    this.#account = new FleetAccount(deps, {
      directory,
      waitMs: 4 * requestMs,
      now,
      register: (keyPem, signal) => this.#register(keyPem, signal),
    })
  }

  async facts(
    signal: AbortSignal,
    { maxAgeMs }: Freshness = { maxAgeMs: DIRECTORY_AGE_MS },
  ): Promise<CaFacts> {
    const { facts } = await converse(this.#line, signal, () => this.#getDirectory(maxAgeMs))
    return facts
  }

  async getAccount(signal: AbortSignal): Promise<string> {
    const { url } = await this.#account.get(signal)
    return url
  }

  async getThumbprint(): Promise<string> {
    return this.#account.getThumbprint()
  }

  async createOrder(demand: Parameters<Ca['createOrder']>[0], signal: AbortSignal): Promise<CaOrder> {
    const { names, profile, replaces } = demand
    const order = {
      identifiers: names.map((value) => ({ type: 'dns', value })),
      // draft-aaron-acme-profiles and RFC 9773 section 5: acme-client sends what it does not know as it is.
      ...(profile !== undefined && { profile }),
      ...(replaces !== undefined && { replaces }),
    }
    const create = async (client: AcmeClient, told: Told) => {
      const answer = await client.createOrder(order)
      return parseOrder(answer, { ...this.#from(answer.url, told), names })
    }
    return this.#call(signal, create)
  }

  async getOrder(url: string, signal: AbortSignal): Promise<CaOrder> {
    return this.#call(signal, async (client, told) =>
      parseOrder(await client.getOrder(toOrder({ url })), this.#from(url, told)),
    )
  }

  async getAuthorization(url: string, signal: AbortSignal): Promise<CaAuthorization> {
    return this.#call(signal, async (client, told) => {
      const [answer] = await client.getAuthorizations(toOrder({ authorizations: [url] }))
      return parseAuthorization(answer, this.#from(url, told))
    })
  }

  async answerChallenge(url: string, signal: AbortSignal): Promise<void> {
    const challenge = { url } as Parameters<AcmeClient['completeChallenge']>[0]
    await this.#call(signal, (client) => client.completeChallenge(challenge))
  }

  async finalize({ url, finalize }: CaOrder, csr: Buffer, signal: AbortSignal): Promise<CaOrder> {
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${csr.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
    return this.#call(signal, async (client, told) =>
      parseOrder(await client.finalizeOrder(toOrder({ url, finalize }), pem), this.#from(url, told)),
    )
  }

  async download({ url, certificate }: CaOrder, signal: AbortSignal): Promise<readonly Buffer[]> {
    if (certificate === undefined) throw CaProblem.nonsense('The order is done and has no certificate')
    const order = toOrder({ url, certificate, status: 'valid' })
    return this.#call(signal, async (client) => parseChain(await client.getCertificate(order)))
  }

  async findRenewalInfo(certId: string, signal: AbortSignal): Promise<RenewalInfo | undefined> {
    return converse(this.#line, signal, async (told) => {
      const { renewalInfo } = (await this.#getDirectory()).document
      if (renewalInfo === undefined) return undefined
      const { data } = await axios.get<unknown>(`${renewalInfo.replace(/\/$/, '')}/${certId}`)
      return parseRenewalInfo(data, { retryAfterMs: told.retryAfterMs, now: this.#line.now() })
    })
  }

  [Symbol.dispose](): void {
    this.#line.httpAgent.destroy()
    this.#line.httpsAgent.destroy()
  }

  /** `work` for an account that the authority knows: one that it has lost is made again, once. */
  async #call<T>(signal: AbortSignal, work: (client: AcmeClient, told: Told) => Promise<T>): Promise<T> {
    const account = await this.#account.get(signal)
    const ask = (one: AccountKey): Promise<T> =>
      converse(this.#line, signal, (told) => work(this.#clientFor(one), told)).catch(refuse)
    try {
      return await ask(account)
    } catch (cause) {
      if (!(cause instanceof CaProblem) || cause.problem.type !== 'accountDoesNotExist') throw cause
      return ask(await this.#account.remake(account, signal))
    }
  }

  #from(
    url: string,
    { retryAfterMs }: Told,
  ): { directory: string; url: string; retryAfterMs: number | undefined } {
    return { directory: this.directory, url, retryAfterMs }
  }

  #clientFor(account: AccountKey): AcmeClient {
    if (this.#client?.of !== account) {
      this.#client = { of: account, client: this.#createClient(account.keyPem, account.url) }
    }
    return this.#client.client
  }

  #createClient(keyPem: string, accountUrl?: string): AcmeClient {
    const { externalAccount } = this.#settings
    return createClient(this.#line, {
      keyPem,
      ...(accountUrl !== undefined && { accountUrl }),
      ...(externalAccount && { externalAccount }),
      getDirectory: async () => (await this.#getDirectory()).document,
    })
  }

  async #register(keyPem: string, signal: AbortSignal): Promise<string> {
    const { agreesToTerms, contact, externalAccount } = this.#settings
    const facts = await this.facts(signal)
    checkAccountSettings(facts, { agreesToTerms, isBound: externalAccount !== undefined })
    const client = this.#createClient(keyPem)
    const data = {
      ...(agreesToTerms && { termsOfServiceAgreed: true }),
      ...(contact !== undefined && { contact: [`mailto:${contact}`] }),
    }
    const register = async () => {
      await client.api.createAccount(data)
      return checkUrl(client.getAccountUrl(), this.directory)
    }
    return converse(this.#line, signal, register).catch((cause: CaProblem) => {
      throw toAccountProblem(cause)
    })
  }

  async #getDirectory(maxAgeMs = DIRECTORY_AGE_MS): Promise<DirectoryAnswer> {
    const now = this.#line.now()
    const known = this.#directory
    if (known && now - known.readAt < maxAgeMs) return known.answer
    const { data } = await axios.get<unknown>(this.directory)
    const answer = parseDirectory(data, { directory: this.directory })
    this.#directory = { answer, readAt: now }
    return answer
  }
}

/** Reading a hundred public roots takes some milliseconds: once, not with each connection. */
function createTrust(trustedPem: string): SecureContext {
  try {
    // OpenSSL takes a text without certificates for an empty list.
    const first = new X509Certificate(trustedPem).toString()
    return createSecureContext({ ca: [...getCACertificates('default'), first, trustedPem] })
  } catch (cause) {
    const detail = 'The roots to trust for ACME servers (LANDFALL_ACME_CA_FILE) are not certificates in PEM'
    throw new AcmeError('certificate_setting', { cause, detail })
  }
}

interface Freshness {
  readonly maxAgeMs: number
}

interface AccountTerms {
  readonly agreesToTerms: boolean
  readonly isBound: boolean
}

/** Says what is missing before the authority does, which names no setting. */
function checkAccountSettings(facts: CaFacts, { agreesToTerms, isBound }: AccountTerms): void {
  if (facts.termsOfService !== undefined && !agreesToTerms) {
    throw CaProblem.account(
      `Its terms of service are not agreed to (LANDFALL_ACME_AGREE): ${facts.termsOfService}`,
    )
  }
  if (facts.needsExternalAccount && !isBound) {
    throw CaProblem.account('It takes accounts only with a key that it gave out (LANDFALL_ACME_EAB_FILE)')
  }
}

/** Whatever is refused while the account is made is refused because of it. */
function toAccountProblem(cause: CaProblem): CaProblem {
  const isRefusal = cause.code === 'ca_refused' || cause.code === 'ca_unauthorized'
  const isTheirs = cause.problem.status >= 500
  return isRefusal && !isTheirs ? new CaProblem(cause.problem, { cause, code: 'ca_account' }) : cause
}

/** Who is not authorized to ask is the account (RFC 8555 sections 6.7 and 7.3.6); of names, challenges tell. */
function refuse(cause: unknown): never {
  const isAccount = cause instanceof CaProblem && cause.problem.type === 'unauthorized'
  throw isAccount ? toAccountProblem(cause) : cause
}

/** What acme-client reads of an order is what the call at hand needs. */
function toOrder(order: Partial<Order>): Order {
  return { status: 'pending', identifiers: [], authorizations: [], finalize: '', url: '', ...order }
}
