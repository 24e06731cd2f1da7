/** The records that decisions are made of, cut down to what these need: a fleet has a hundred thousand of them. */

import { isDeepStrictEqual } from 'node:util'
import { KeptRecords, type Put } from '../placement/kept-records.ts'
import type { RevocationRecord, SigningKeyRecord } from '../records/logins.ts'
import { KEYS, POOLS, REVOCATIONS, SIGNING_KEYS, TOKENS } from '../records/record-kinds.ts'
import type { KeyRecord, TokenRecord } from '../records/records.ts'
import type { Change } from '../store/store.ts'

/** Without `createdAt`. */
export type SigningKeyRow = Omit<SigningKeyRecord, 'createdAt'>
export type SshKeyRow = Pick<KeyRecord, 'id' | 'user' | 'type' | 'publicKey'>
export type ApiTokenRow = Pick<TokenRecord, 'id' | 'digest' | 'scopes' | 'expiresAt'>
export type RevokedKind = RevocationRecord['kind']

interface OwnedPool {
  readonly name: string
  readonly owner: string
}

/** Unix milliseconds. */
interface Revocation {
  readonly at: number
  readonly expiresAt: number
}

/** Of whichever kind. */
interface SomeRecords {
  readonly size: number
  put(name: string, change: Change): Put<unknown> | undefined
  takeFrom(other: SomeRecords, name: string): void
}

export const ACCESS_PREFIXES: readonly string[] = [SIGNING_KEYS, KEYS, TOKENS, POOLS, REVOCATIONS].map(
  ({ prefix }) => prefix,
)

export class AccessRecords {
  readonly signingKeys = new KeptRecords({ parse: parseSigningKey })
  readonly sshKeys = new KeptRecords({ parse: parseSshKey })
  readonly apiTokens = new KeptRecords({ parse: parseApiToken })
  /** Those that have an owner. */
  readonly pools = new KeptRecords({ parse: findOwnedPool, wordsOf: ({ owner }) => [owner] })
  /** By `<kind>/<value>`. */
  readonly revocations = new KeptRecords({ parse: parseRevocation })
  readonly #byKind: ReadonlyMap<string, SomeRecords> = new Map<string, SomeRecords>([
    [SIGNING_KEYS.prefix, this.signingKeys],
    [KEYS.prefix, this.sshKeys],
    [TOKENS.prefix, this.apiTokens],
    [POOLS.prefix, this.pools],
    [REVOCATIONS.prefix, this.revocations],
  ])
  readonly #now: () => number

  /** `now` in Unix milliseconds. */
  constructor(now: () => number) {
    this.#now = now
  }

  get size(): number {
    return [...this.#byKind.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** False when no decision can be another one after it. @throws RecordInvalid */
  put(change: Change): boolean {
    const kind = kindOf(change.key)
    const name = change.key.slice(kind.length)
    const put = this.#byKind.get(kind)?.put(name, change)
    if (put === undefined || isDeepStrictEqual(put.before, put.after)) return false
    return !(kind === REVOCATIONS.prefix && put.after === undefined && this.#isOver(put.before))
  }

  /** Keeps what `other` has of a record that cannot be read. */
  takeFrom(other: AccessRecords, key: string): void {
    const kind = kindOf(key)
    const theirs = other.#byKind.get(kind)
    if (theirs !== undefined) this.#byKind.get(kind)?.takeFrom(theirs, key.slice(kind.length))
  }

  /** Nothing that it made void is alive: hundreds of those are deleted in a row, and nobody need look again. */
  #isOver(before: unknown): boolean {
    return (before as Revocation).expiresAt <= this.#now()
  }
}

/** `revocation/` of `revocation/user/ada`. */
function kindOf(key: string): string {
  return key.slice(0, key.indexOf('/') + 1)
}

function parseSigningKey({ key, value }: Change): SigningKeyRow {
  const { createdAt: _createdAt, ...row } = SIGNING_KEYS.parse(value, key)
  return Object.freeze(row)
}

function parseSshKey({ key, value }: Change): SshKeyRow {
  const { id, user, type, publicKey } = KEYS.parse(value, key)
  return Object.freeze({ id, user, type, publicKey })
}

function parseApiToken({ key, value }: Change): ApiTokenRow {
  const { id, digest, scopes, expiresAt } = TOKENS.parse(value, key)
  return Object.freeze({ id, digest, scopes, ...(expiresAt !== undefined && { expiresAt }) })
}

function findOwnedPool({ key, value }: Change): OwnedPool | undefined {
  const { name, owner } = POOLS.parse(value, key)
  return owner === undefined ? undefined : { name, owner }
}

function parseRevocation({ key, value }: Change): Revocation {
  const { at, expiresAt } = REVOCATIONS.parse(value, key)
  return { at: Date.parse(at), expiresAt: Date.parse(expiresAt) }
}
