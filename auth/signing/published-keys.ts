/** The public keys as a JSON Web Key Set (RFC 7517 section 5): what apps check an assertion with. */

import type { Access } from '../access.ts'
import { isKnown } from './key-rotation.ts'
import { ALGORITHM } from './signing.ts'

/** Also keys that sign later, or have signed. */
export interface Jwks {
  readonly keys: readonly Readonly<Record<string, string>>[]
}

export type PublishedAccess = Pick<Access, 'version' | 'listSigningKeys'>

/** Keys leave by time alone, too. */
const KEPT_MS = 10_000

export class PublishedKeys {
  readonly #access: PublishedAccess
  readonly #now: () => number
  #jwks: Jwks = { keys: [] }
  #version = -1
  #untilMs = 0

  /** `now`: Unix milliseconds. */
  constructor(access: PublishedAccess, now: () => number) {
    this.#access = access
    this.#now = now
  }

  /** The same object until the keys change. */
  get(): Jwks {
    const { version } = this.#access
    const nowMs = this.#now()
    if (version !== this.#version || nowMs >= this.#untilMs) {
      const jwks = this.#read(nowMs)
      if (JSON.stringify(jwks) !== JSON.stringify(this.#jwks)) this.#jwks = jwks
      this.#version = version
      this.#untilMs = nowMs + KEPT_MS
    }
    return this.#jwks
  }

  #read(nowMs: number): Jwks {
    const rows = this.#access.listSigningKeys().filter((row) => isKnown(row, nowMs))
    const keys = rows.map(({ id, publicKey: { kty = '', crv = '', x = '', y = '' } }) => {
      return { kty, crv, x, y, kid: id, alg: ALGORITHM, use: 'sig' }
    })
    return { keys: keys.toSorted((one, other) => (one.kid < other.kid ? -1 : 1)) }
  }
}
