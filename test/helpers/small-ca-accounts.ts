/** Accounts of a small CA: nonces, signatures and external bindings (RFC 8555 sections 6 and 7.3). */

import { randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, flattenedVerify, importJWK, type JWK } from 'jose'
import { type Reply, type SmallCaOptions, SmallProblem } from './small-ca-types.ts'

interface Jws {
  readonly protected: string
  readonly payload: string
  readonly signature: string
}

export interface Signed {
  readonly account: string | undefined
  readonly jwk: JWK
  /** Undefined for POST-as-GET. */
  readonly payload: Record<string, unknown> | undefined
}

export class SmallAccounts {
  /** Set once the server listens. */
  base = ''
  readonly known = new Map<string, { readonly jwk: JWK; readonly payload: object }>()
  readonly #options: SmallCaOptions
  readonly #nonces = new Set<string>()

  constructor(options: SmallCaOptions) {
    this.#options = options
  }

  nonce(): string {
    const nonce = randomBytes(12).toString('base64url')
    this.#nonces.add(nonce)
    return nonce
  }

  async verify(path: string, body: string): Promise<Signed> {
    const jws: Jws = JSON.parse(body)
    const header = JSON.parse(Buffer.from(jws.protected, 'base64url').toString())
    const isFresh = this.#nonces.delete(header.nonce)
    if (!isFresh || Math.random() < (this.#options.badNonceShare ?? 0)) {
      throw new SmallProblem(400, 'badNonce', 'the nonce is not good')
    }
    if (header.url !== `${this.base}${path}`) throw new SmallProblem(401, 'unauthorized', 'wrong url')
    const account = header.kid?.startsWith(`${this.base}/account/`) ? header.kid : undefined
    const jwk: JWK | undefined = account === undefined ? header.jwk : this.known.get(account)?.jwk
    if (!jwk) throw new SmallProblem(400, 'accountDoesNotExist', 'no such account')
    await flattenedVerify({ ...jws }, await importJWK(jwk, header.alg)).catch((cause: unknown) => {
      throw new SmallProblem(400, 'malformed', `the signature is wrong: ${cause}`)
    })
    const text = Buffer.from(jws.payload, 'base64url').toString()
    return { account, jwk, payload: text === '' ? undefined : JSON.parse(text) }
  }

  async create({ jwk, payload = {} }: Signed): Promise<Reply> {
    const { termsOfService, externalAccounts } = this.#options
    const id = `${this.base}/account/${await calculateJwkThumbprint(jwk)}`
    const isKnown = this.known.has(id)
    if (!isKnown && payload.onlyReturnExisting === true) {
      throw new SmallProblem(400, 'accountDoesNotExist', 'no account has this key')
    }
    if (termsOfService !== undefined && payload.termsOfServiceAgreed !== true) {
      throw new SmallProblem(403, 'userActionRequired', 'agree to the terms of service first')
    }
    if (externalAccounts !== undefined) await this.#checkBinding(payload.externalAccountBinding, jwk)
    this.known.set(id, { jwk, payload })
    return { status: isKnown ? 200 : 201, body: { status: 'valid' }, headers: { location: id } }
  }

  async #checkBinding(binding: unknown, jwk: JWK): Promise<void> {
    if (binding === undefined) throw new SmallProblem(403, 'externalAccountRequired', 'bind an account')
    const jws = binding as Jws
    const { kid } = JSON.parse(Buffer.from(jws.protected, 'base64url').toString())
    const key = Buffer.from(this.#options.externalAccounts?.[kid] ?? '', 'base64url')
    const isGenuine = await flattenedVerify({ ...jws }, key).then(
      ({ payload }) => Buffer.from(payload).toString() === JSON.stringify(jwk),
      () => false,
    )
    if (!isGenuine) throw new SmallProblem(403, 'unauthorized', 'the binding is wrong')
  }
}
