/** Makes DPoP proofs as a client does, and wrong ones. */

import { generateKeyPairSync, hash, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, type JWK, SignJWT } from 'jose'
import type { ProofDemand } from '../../../auth/tokens/proof.ts'

export const TOKEN = 'aaa.bbb.ccc'
export const NOW_MS = 1_800_000_000_000
export const NOW_S = NOW_MS / 1_000

export interface Holder {
  readonly alg: string
  readonly privateKey: KeyObject
  readonly jwk: JWK
  readonly thumbprint: string
}

export async function createHolder(alg: string): Promise<Holder> {
  const { privateKey, publicKey } =
    alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  const jwk = publicKey.export({ format: 'jwk' }) as JWK
  return { alg, privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk) }
}

export const holder = await createHolder('ES256')
let count = 0

/** The `jti` of the last proof. */
export function lastId(): string {
  return `proof-${count}`
}

export interface ProofParts {
  readonly header?: Readonly<Record<string, unknown>>
  readonly claims?: Readonly<Record<string, unknown>>
  readonly signer?: Holder
}

/** A fine one but for what is given. */
export function proofOf({ header = {}, claims = {}, signer = holder }: ProofParts = {}): Promise<string> {
  count += 1
  const fine = {
    htm: 'GET',
    htu: 'https://web.example.test/a',
    iat: NOW_S,
    jti: `proof-${count}`,
    ath: hash('sha256', TOKEN, 'base64url'),
  }
  return new SignJWT({ ...fine, ...claims })
    .setProtectedHeader({ alg: signer.alg, typ: 'dpop+jwt', jwk: signer.jwk, ...header })
    .sign(signer.privateKey)
}

export async function demandOf(
  proof: Promise<string> | string,
  other: Partial<ProofDemand> = {},
): Promise<ProofDemand> {
  return {
    proof: await proof,
    token: TOKEN,
    thumbprint: holder.thumbprint,
    method: 'GET',
    host: 'web.example.test',
    target: '/a?b=c',
    ...other,
  }
}
