/** Keys, tokens, owners and revocations in memory: decisions read them synchronously, the store's feed keeps them fresh. */

import type { Log } from '../../lib/log.ts'
import { type Follower, startFollower } from '../feed/feed-follower.ts'
import type { FollowerSettings } from '../feed/follower-settings.ts'
import type { Store } from '../store/store.ts'
import { AccessCopy } from './access-copy.ts'
import {
  ACCESS_PREFIXES,
  type ApiTokenRow,
  type RevokedKind,
  type SigningKeyRow,
  type SshKeyRow,
} from './access-records.ts'

/** Rows are frozen. */
export interface AccessTable {
  /** Goes up with each change of anything below that may make a decision another one. */
  readonly version: number
  /** True once it was loaded; it stays true when the store is gone. */
  readonly ready: boolean
  /** For how long it has not been known to be fresh; 0 while it is, Infinity before the first load. */
  readonly ageMs: number
  /** For how long the store has not answered at all; 0 while it does, Infinity before it first did. */
  readonly awayMs: number
  findSigningKey(id: string): SigningKeyRow | undefined
  listSigningKeys(): readonly SigningKeyRow[]
  findSshKey(id: string): SshKeyRow | undefined
  findApiToken(id: string): ApiTokenRow | undefined
  findOwner(pool: string): string | undefined
  poolsOf(user: string): readonly string[]
  /** Unix milliseconds. */
  findRevocation(kind: RevokedKind, value: string): number | undefined
  /** Calls `ring` in the turn of each change of `version`; it must neither throw nor take long. Returns what ends it. */
  onChange(ring: () => void): () => void
}

export interface AccessDeps {
  readonly store: Pick<Store, 'get' | 'list' | 'watch'>
  readonly log: Log
}

export interface AccessSettings
  extends Pick<FollowerSettings, 'minRetryMs' | 'maxRetryMs' | 'probeMs' | 'now'> {
  /** Unix milliseconds; the system's clock unless given. */
  readonly wallClock?: () => number
}

/** Resolves after the first attempt to load; when the store is out of reach the table is empty, and not `ready`. */
export async function startAccessTable(
  { store, log }: AccessDeps,
  { wallClock = Date.now, ...settings }: AccessSettings = {},
): Promise<AccessTable & AsyncDisposable> {
  const copy = new AccessCopy(wallClock)
  const follower = await startFollower(
    { store, log, copy },
    { ...settings, prefixes: ACCESS_PREFIXES, what: 'the access table' },
  )
  return new FollowedAccess(copy, follower)
}

class FollowedAccess implements AccessTable, AsyncDisposable {
  readonly #copy: AccessCopy
  readonly #follower: Follower & AsyncDisposable
  /** Of one version: a list is asked for far more often than it changes. */
  #signingKeys: { readonly version: number; readonly rows: readonly SigningKeyRow[] } | undefined

  constructor(copy: AccessCopy, follower: Follower & AsyncDisposable) {
    this.#copy = copy
    this.#follower = follower
  }

  get version(): number {
    return this.#copy.version
  }

  get ready(): boolean {
    return this.#follower.position !== undefined
  }

  get ageMs(): number {
    return this.#follower.ageMs()
  }

  get awayMs(): number {
    return this.#follower.awayMs()
  }

  findSigningKey(id: string): SigningKeyRow | undefined {
    return this.#copy.records.signingKeys.get(id)
  }

  listSigningKeys(): readonly SigningKeyRow[] {
    const { version, records } = this.#copy
    if (this.#signingKeys?.version !== version) {
      const rows = Object.freeze([...records.signingKeys].map(([, row]) => row))
      this.#signingKeys = { version, rows }
    }
    return this.#signingKeys.rows
  }

  findSshKey(id: string): SshKeyRow | undefined {
    return this.#copy.records.sshKeys.get(id)
  }

  findApiToken(id: string): ApiTokenRow | undefined {
    return this.#copy.records.apiTokens.get(id)
  }

  findOwner(pool: string): string | undefined {
    return this.#copy.records.pools.get(pool)?.owner
  }

  poolsOf(user: string): readonly string[] {
    return this.#copy.records.pools.find(user).map(({ name }) => name)
  }

  findRevocation(kind: RevokedKind, value: string): number | undefined {
    return this.#copy.records.revocations.get(`${kind}/${value}`)?.at
  }

  onChange(ring: () => void): () => void {
    return this.#copy.onChange(ring)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#follower[Symbol.asyncDispose]()
  }
}
