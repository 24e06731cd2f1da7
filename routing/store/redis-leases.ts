/** Leases by the clock of the Redis server, under the rules of the lease book. */

import type { RedisClient } from './redis-clients.ts'
import type { Lease } from './store.ts'

export interface LeaseDeps {
  readonly run: <Result>(command: (client: RedisClient) => Promise<Result>) => Promise<Result>
  /** The hash that holds them. */
  readonly key: string
  /** Unix milliseconds; undefined for the server's clock. */
  readonly now: (() => number) | undefined
}

interface Request {
  readonly verb: 'find' | 'acquire' | 'renew' | 'release'
  readonly name: string
  readonly owner?: string
  readonly token?: number
  readonly ttlMs?: number
}

export class RedisLeases {
  readonly #deps: LeaseDeps
  /** The largest seen of any name: a server that lost its last writes must not give it out again. */
  #lastToken = 0

  constructor(deps: LeaseDeps) {
    this.#deps = deps
  }

  find(name: string): Promise<Lease | undefined> {
    return this.#ask({ verb: 'find', name })
  }

  acquire(name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
    return this.#ask({ verb: 'acquire', name, owner, ttlMs, token: this.#lastToken })
  }

  renew({ name, owner, token }: Lease, ttlMs: number): Promise<Lease | undefined> {
    return this.#ask({ verb: 'renew', name, owner, token, ttlMs })
  }

  async release({ name, owner, token }: Lease): Promise<void> {
    await this.#ask({ verb: 'release', name, owner, token })
  }

  async #ask({ verb, name, owner = '', token = 0, ttlMs = 0 }: Request): Promise<Lease | undefined> {
    const { run, key, now } = this.#deps
    const parameters = [verb, name, owner, String(token), String(ttlMs), String(now?.() ?? '')]
    const [lastToken = 0, expiresAt, holder] = await run((client) => client.landfallLease(key, ...parameters))
    this.#lastToken = Math.max(this.#lastToken, lastToken)
    if (expiresAt === undefined || holder === undefined) return undefined
    return Object.freeze({ name, owner: holder, token: lastToken, expiresAt })
  }
}
