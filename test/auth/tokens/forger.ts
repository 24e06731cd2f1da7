/** Makes tokens that are good but for what a test wants wrong in them, and says how each is to be refused. */

import { type GateKit, HOST, ISSUER, PLACE } from '../gate/gate-kit.ts'
import { forge, makeSshKey, type Part, type SshKey } from './forge.ts'

/** How it comes: in X-Landfall-Authorization, in Authorization, as our cookie, or as whole fields. */
export type Hostile =
  | { readonly own: string }
  | { readonly bearer: string }
  | { readonly cookie: string }
  | { readonly fields: Readonly<Record<string, string>> }

export interface HostileCase {
  readonly name: string
  readonly hostile: Hostile
  /** Code and reason; a bad cookie counts as none. */
  readonly refusal: string
  /** How many signatures are checked on the way; 0 by default. */
  readonly checks?: number
}

export const TOKEN_ID = 'AbCdEfGhIjKl'
export const ELSEWHERE = 'sibling.example.test'
export const DAY_S = 86_400

/** What is known of the edge under attack; hostile tokens write into the tables what has to be there for them. */
export interface ForgerKit {
  readonly signingKey: GateKit['signingKey']
  readonly operator: string
  readonly table: Pick<GateKit['table'], 'sshKeys' | 'apiTokens' | 'revocations'>
  nowS(): number
}

/** A kit, its signing key, and what a good token says. */
export interface Forger {
  readonly kit: ForgerKit
  readonly now: number
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  /** A token that is good but for what is given. */
  token(claims?: Part, header?: Part): string
  cookie(claims?: Part, header?: Part): string
  readonly ssh: SshKey
  self(claims?: Part, header?: Part, key?: SshKey): string
}

const merge = (base: Readonly<Record<string, unknown>>, other: Part): Part =>
  typeof other === 'string' ? other : { ...base, ...other }

export function createForger(kit: ForgerKit): Forger {
  const now = kit.nowS()
  const { key, kid } = kit.signingKey
  const header = { alg: 'ES256', typ: 'landfall-token+jwt', kid }
  const times = { iat: now, nbf: now, exp: now + 3_600 }
  const claims = { iss: ISSUER, aud: HOST, sub: `token:${TOKEN_ID}`, jti: TOKEN_ID, ...times }
  const cookieClaims = { iss: ISSUER, aud: HOST, sub: 'ann', jti: 'c1', sid: 's1', ...PLACE, ...times }
  const ssh = makeSshKey('ann')
  const selfClaims = { aud: HOST, iat: now, exp: now + 300 }
  return {
    ...{ kit, now, header, claims, ssh },
    token: (other = {}, head = {}) => forge(merge(header, head), merge(claims, other), key),
    cookie: (other = {}, head = {}) =>
      forge(merge({ ...header, typ: 'landfall-cookie+jwt' }, head), merge(cookieClaims, other), key),
    self: (other = {}, head = {}, by = ssh) =>
      forge(
        merge({ alg: 'EdDSA', typ: 'landfall-self+jwt', kid: by.kid }, head),
        merge(selfClaims, other),
        by.privateKey,
      ),
  }
}

/** What has to pass, or the table would prove nothing: each of it is let in by a grant. */
export function goodOnes(forger: Forger): readonly Hostile[] {
  const { kit } = forger
  kit.table.sshKeys.set(forger.ssh.row.id, forger.ssh.row)
  return [
    { own: forger.token() },
    { bearer: forger.token() },
    { cookie: forger.cookie() },
    { own: forger.self() },
    { bearer: forger.self() },
  ]
}

export const invalid = (name: string, own: string, reason: string, checks = 0): HostileCase => ({
  name,
  hostile: { own },
  refusal: `auth_invalid ${reason}`,
  checks,
})

export const badCookie = (name: string, cookie: string, reason: string, checks = 0): HostileCase => ({
  name,
  hostile: { cookie },
  refusal: `auth_required ${reason}`,
  checks,
})
