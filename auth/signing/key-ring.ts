/** Signing keys in the form that signs and verifies: made from their records once, and kept while the records are there. */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { Access, SigningKeyRow } from '../access.ts'
import { AuthError, type FaultCode } from '../errors.ts'

export interface KeyRingDeps {
  readonly access: Pick<Access, 'findSigningKey'>
  readonly sealer: Sealer
  readonly log: Log
}

export class KeyRing {
  readonly #deps: KeyRingDeps
  readonly #public = new Map<string, Promise<KeyObject>>()
  readonly #private = new Map<string, Promise<KeyObject>>()

  constructor(deps: KeyRingDeps) {
    this.#deps = deps
  }

  /** @throws AuthError `auth_invalid` when the record's id is not that of its key */
  getPublic(row: SigningKeyRow): Promise<KeyObject> {
    return this.#get(this.#public, row, () => this.#readPublic(row))
  }

  /** @throws AuthError `auth_stale` when the record cannot be opened here */
  getPrivate(row: SigningKeyRow): Promise<KeyObject> {
    return this.#get(this.#private, row, () => this.#openPrivate(row))
  }

  /** A failure is kept as well: it would be the same one again, and is logged once. */
  #get(
    kept: Map<string, Promise<KeyObject>>,
    { id }: SigningKeyRow,
    make: () => Promise<KeyObject>,
  ): Promise<KeyObject> {
    const known = kept.get(id)
    if (known !== undefined) return known
    for (const other of kept.keys())
      if (this.#deps.access.findSigningKey(other) === undefined) kept.delete(other)
    const made = make()
    kept.set(id, made)
    return made
  }

  async #readPublic({ id, publicKey }: SigningKeyRow): Promise<KeyObject> {
    try {
      return createPublicKey({ key: await checkId(publicKey, id), format: 'jwk' })
    } catch (cause) {
      this.#deps.log.error({ err: cause, key: id }, 'a signing key is broken; what it signed does not count')
      throw refusalOf('auth_invalid', { reason: 'broken-key', cause })
    }
  }

  async #openPrivate({ id, sealedKey }: SigningKeyRow): Promise<KeyObject> {
    try {
      const jwk: Readonly<Record<string, unknown>> = JSON.parse(
        this.#deps.sealer.open(sealedKey, boundTo(id)).toString(),
      )
      return createPrivateKey({ key: await checkId(jwk, id), format: 'jwk' })
    } catch (cause) {
      const message =
        'a signing key cannot be opened with the secret key of this edge; nothing can be signed with it here'
      this.#deps.log.error({ err: cause, key: id }, message)
      throw refusalOf('auth_stale', { reason: 'sealed-key', cause })
    }
  }
}

/** A new ES256 key, without the times that the rotation decides. */
export async function createSigningKey(sealer: Sealer): Promise<Omit<SigningKeyRow, 'signsFrom'>> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = privateKey.export({ format: 'jwk' })
  const { x = '', y = '' } = jwk
  const publicKey = { kty: 'EC', crv: 'P-256', x, y }
  const id = await calculateJwkThumbprint(publicKey)
  return { id, publicKey, sealedKey: sealer.seal(JSON.stringify(jwk), boundTo(id)) }
}

function boundTo(id: string): string {
  return `signing-key/${id}`
}

/** RFC 7638. A key under another key's id would sign what nobody can verify. */
async function checkId(
  jwk: Readonly<Record<string, unknown>>,
  id: string,
): Promise<Readonly<Record<string, unknown>>> {
  if (jwk.kty !== 'EC' || jwk.crv !== 'P-256') throw new Error('the key is not one for ES256')
  if ((await calculateJwkThumbprint(jwk)) !== id) throw new Error('the id is not the thumbprint of the key')
  return jwk
}

function refusalOf(
  code: FaultCode,
  { reason, cause }: { readonly reason: string; readonly cause: unknown },
): AuthError {
  return new AuthError(code, reason, { cause })
}
