/** The protocol of a small CA in memory: orders, challenges, certificates, profiles and renewal information. */

import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { calculateJwkThumbprint, type JWK } from 'jose'
import { toCertId } from '../../acme/ca/ari.ts'
import { type Signed, SmallAccounts } from './small-ca-accounts.ts'
import { createIssuer, readRequest, type SmallIssuer } from './small-ca-issuer.ts'
import {
  type Reply,
  type SmallAuthorization,
  type SmallCaOptions,
  type SmallChallenge,
  type SmallIssued,
  type SmallOrder,
  SmallProblem,
  URN,
} from './small-ca-types.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

export class SmallProtocol {
  readonly options: SmallCaOptions
  readonly issuer: SmallIssuer
  readonly accounts: SmallAccounts
  readonly orders: SmallOrder[] = []
  readonly authorizations: SmallAuthorization[] = []
  readonly issued: SmallIssued[] = []
  #ids = 0

  private constructor(options: SmallCaOptions, issuer: SmallIssuer) {
    this.options = options
    this.issuer = issuer
    this.accounts = new SmallAccounts(options)
  }

  static async create(options: SmallCaOptions): Promise<SmallProtocol> {
    return new SmallProtocol(options, await createIssuer())
  }

  directory(): Reply {
    const { profiles, termsOfService, caaIdentities, externalAccounts } = this.options
    const names = Object.keys(profiles ?? {}).filter((name) => name !== '')
    const meta = {
      ...(names.length > 0 && { profiles: Object.fromEntries(names.map((name) => [name, `About ${name}`])) }),
      ...(termsOfService !== undefined && { termsOfService }),
      ...(caaIdentities !== undefined && { caaIdentities }),
      ...(externalAccounts !== undefined && { externalAccountRequired: true }),
    }
    const body = {
      newNonce: `${this.#base}/nonce`,
      newAccount: `${this.#base}/account`,
      newOrder: `${this.#base}/order`,
      ...(this.options.hasRenewalInfo !== false && { renewalInfo: `${this.#base}/renewal-info` }),
      meta,
    }
    return { status: 200, body }
  }

  renewalInfo(certId: string): Reply {
    const found = this.issued.find((item) => item.certId === certId)
    if (!found) throw new SmallProblem(404, 'malformed', 'no such certificate')
    const { validFromDate, validToDate } = new X509Certificate(found.chainPem)
    const life = validToDate.getTime() - validFromDate.getTime()
    const start = found.isRevoked ? this.#now() - 2 * DAY_MS : validFromDate.getTime() + (2 / 3) * life
    const suggestedWindow = {
      start: new Date(start).toISOString(),
      end: new Date(start + (found.isRevoked ? DAY_MS : life / 30)).toISOString(),
    }
    const explanation = found.isRevoked ? { explanationURL: `${this.#base}/why` } : {}
    return { status: 200, body: { suggestedWindow, ...explanation }, headers: { 'retry-after': '21600' } }
  }

  /** @throws SmallProblem */
  async post(path: string, body: string): Promise<Reply> {
    const signed = await this.accounts.verify(path, body)
    const [, resource, id] = path.split('/')
    if (resource === 'account' && id === undefined) return this.accounts.create(signed)
    if (signed.account === undefined) throw new SmallProblem(400, 'malformed', 'there is no kid')
    if (resource === 'account') return { status: 200, body: { status: 'valid' } }
    if (resource === 'order' && id === undefined) return this.#newOrder(signed.account, signed.payload ?? {})
    if (resource === 'certificate') return this.#certificate(id)
    if (resource === 'authorization') return this.#authorization(id)
    if (resource === 'challenge') return this.#challenge(id, signed)
    const order = this.orders.find((item) => item.id === id && item.account === signed.account)
    if (!order) throw new SmallProblem(404, 'malformed', 'no such order')
    if (resource === 'finalize') return this.#finalize(order, signed.payload ?? {})
    this.#poll(order)
    return this.#toOrderReply(order, 200)
  }

  #newOrder(account: string, payload: Record<string, unknown>): Reply {
    const identifiers = payload.identifiers as { readonly type: string; readonly value: string }[]
    const { profile, replaces } = payload as { readonly profile?: string; readonly replaces?: string }
    if (profile !== undefined && this.options.profiles?.[profile] === undefined) {
      throw new SmallProblem(400, 'invalidProfile', 'no such profile')
    }
    if (replaces !== undefined && this.orders.some((order) => order.replaces === replaces)) {
      throw new SmallProblem(409, 'alreadyReplaced', 'the certificate was replaced already')
    }
    const names = identifiers.map(({ value }) => value)
    const authorizations = names.map((name) => this.#authorize(account, name))
    const order: SmallOrder = {
      id: this.#id(),
      account,
      names,
      ...(profile !== undefined && { profile }),
      ...(replaces !== undefined && { replaces }),
      status: 'pending',
      authorizations,
      polls: 0,
    }
    this.orders.push(order)
    this.#poll(order)
    return this.#toOrderReply(order, 201)
  }

  #authorize(account: string, identifier: string): SmallAuthorization {
    const isWildcard = identifier.startsWith('*.')
    const name = identifier.replace(/^\*\./, '')
    const isSame = (item: SmallAuthorization) =>
      item.account === account && item.name === name && item.isWildcard === isWildcard
    const valid = this.authorizations.find((item) => item.status === 'valid' && isSame(item))
    if (valid && this.options.reusesAuthorizations) return valid
    const types = this.options.challenges ?? ['http-01', 'tls-alpn-01', 'dns-01']
    const challenges = types
      .filter((type) => !isWildcard || type === 'dns-01')
      .map((type) => ({
        id: this.#id(),
        type,
        token: randomBytes(24).toString('base64url'),
        status: 'pending' as const,
      }))
    const made = {
      id: this.#id(),
      account,
      name,
      isWildcard,
      status: 'pending' as const,
      polls: 0,
      challenges,
    }
    this.authorizations.push(made)
    return made
  }

  #poll(order: SmallOrder): void {
    if (order.status === 'pending') {
      if (order.authorizations.every(({ status }) => status === 'valid')) order.status = 'ready'
      else if (order.authorizations.some(({ status }) => status === 'invalid')) order.status = 'invalid'
    } else if (order.status === 'processing' && ++order.polls > (this.options.pollsUntilDone ?? 0)) {
      order.status = 'valid'
    }
  }

  #toOrderReply(order: SmallOrder, status: number): Reply {
    const body = {
      status: order.status,
      identifiers: order.names.map((value) => ({ type: 'dns', value })),
      authorizations: order.authorizations.map(({ id }) => `${this.#base}/authorization/${id}`),
      finalize: `${this.#base}/finalize/${order.id}`,
      ...(order.profile !== undefined && { profile: order.profile }),
      ...(order.replaces !== undefined && { replaces: order.replaces }),
      ...(order.status === 'valid' && { certificate: `${this.#base}/certificate/${order.certificate}` }),
    }
    const location = `${this.#base}/order/${order.id}`
    return { status, body, headers: { location, ...this.#patience(order.status) } }
  }

  #patience(status: string): Readonly<Record<string, string>> {
    const { retryAfter } = this.options
    const isUnderWay = status === 'processing' || status === 'pending'
    return retryAfter !== undefined && isUnderWay ? { 'retry-after': String(retryAfter) } : {}
  }

  #authorization(id: string | undefined): Reply {
    const found = this.authorizations.find((item) => item.id === id)
    if (!found) throw new SmallProblem(404, 'malformed', 'no such authorization')
    const [proven] = found.challenges.filter(({ status }) => status === 'valid' || status === 'invalid')
    const isLate = ++found.polls > (this.options.pollsUntilDone ?? 0)
    if (found.status === 'pending' && proven && isLate) found.status = proven.status as 'valid' | 'invalid'
    const body = {
      status: found.status,
      identifier: { type: 'dns', value: found.name },
      ...(found.isWildcard && { wildcard: true }),
      challenges: found.challenges.map((challenge) => this.#toChallenge(challenge)),
    }
    return { status: 200, body, headers: this.#patience(found.status) }
  }

  #toChallenge({ id, type, token, status, error }: SmallChallenge): object {
    return { type, url: `${this.#base}/challenge/${id}`, token, status, ...(error && { error }) }
  }

  async #challenge(id: string | undefined, { jwk, payload }: Signed): Promise<Reply> {
    const authorization = this.authorizations.find(({ challenges }) =>
      challenges.some((one) => one.id === id),
    )
    const challenge = authorization?.challenges.find((one) => one.id === id)
    if (!authorization || !challenge) throw new SmallProblem(404, 'malformed', 'no such challenge')
    if (payload !== undefined && challenge.status === 'pending') {
      challenge.status = 'processing'
      await this.#validate(authorization, challenge, jwk)
    }
    const link = `<${this.#base}/authorization/${authorization.id}>;rel="up"`
    return { status: 200, body: this.#toChallenge(challenge), headers: { link } }
  }

  async #validate({ name }: SmallAuthorization, challenge: SmallChallenge, jwk: JWK): Promise<void> {
    const { type, token } = challenge
    const keyAuthorization = `${token}.${await calculateJwkThumbprint(jwk)}`
    const dnsValue = createHash('sha256').update(keyAuthorization).digest('base64url')
    const detail = await this.options.validate?.({ type, name, token, keyAuthorization, dnsValue })
    challenge.status = detail === undefined ? 'valid' : 'invalid'
    if (detail !== undefined) challenge.error = { type: `${URN}unauthorized`, detail, status: 403 }
  }

  async #finalize(order: SmallOrder, payload: Record<string, unknown>): Promise<Reply> {
    this.#poll(order)
    if (order.status !== 'ready') throw new SmallProblem(403, 'orderNotReady', `the order is ${order.status}`)
    const csr = Buffer.from(String(payload.csr), 'base64url')
    const { names } = await readRequest(csr).catch((cause: unknown) => {
      throw new SmallProblem(400, 'badCSR', String(cause))
    })
    if ([...names].sort().join() !== [...order.names].sort().join()) {
      throw new SmallProblem(400, 'badCSR', 'the names are not those of the order')
    }
    order.status = 'processing'
    order.certificate = await this.#issue(order, csr)
    if ((this.options.pollsUntilDone ?? 0) === 0) order.status = 'valid'
    return this.#toOrderReply(order, 200)
  }

  async #issue({ names, profile }: SmallOrder, csr: Buffer): Promise<string> {
    const days = this.options.profiles?.[profile ?? ''] ?? this.options.lifetimeDays ?? 90
    const notBefore = this.#now() - HOUR_MS
    const leaf = await this.issuer.issue({
      csr,
      notBefore: new Date(notBefore),
      notAfter: new Date(notBefore + days * DAY_MS),
      isMustStaple: this.options.isMustStaple === true,
    })
    const id = this.#id()
    const chainPem = leaf + this.issuer.intermediatePem
    const made = { id, certId: toCertId(new X509Certificate(leaf).raw), chainPem, names, isRevoked: false }
    this.issued.push({ ...made, ...(profile !== undefined && { profile }) })
    return id
  }

  #certificate(id: string | undefined): Reply {
    const found = this.issued.find((item) => item.id === id)
    if (!found) throw new SmallProblem(404, 'malformed', 'no such certificate')
    return {
      status: 200,
      body: found.chainPem,
      headers: { 'content-type': 'application/pem-certificate-chain' },
    }
  }

  get #base(): string {
    return this.accounts.base
  }

  #now(): number {
    return this.options.now?.() ?? Date.now()
  }

  #id(): string {
    this.#ids += 1
    return String(this.#ids)
  }
}
