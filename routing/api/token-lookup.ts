/** Finds tokens in the store: what was found is believed for half a second, and who guesses is slowed down. */

import { isIPv6 } from 'node:net'
import { Buckets } from '../../lib/buckets.ts'
import { isSameSecret } from '../../lib/digest.ts'
import type { Log } from '../../lib/log.ts'
import { RoutingError } from '../errors.ts'
import { findRecord, TOKENS } from '../records/record-kinds.ts'
import type { TokenRecord } from '../records/records.ts'
import type { Store } from '../store/store.ts'

/** A token that was ended through another edge has to be refused within a second. */
const BELIEVED_MS = 500
/** Look-ups that are kept; the oldest goes first. */
const MAX_LOOKUPS = 10_000
/** Of the rate of one token: an address may look for so many tokens that are not there, at once and each second. */
const BURST_SHARE = 10
const STEADY_SHARE = 0.1

/** Of 16 bits, in an IPv6 address and in its first 64 bits. */
const GROUPS = 8
const NETWORK_GROUPS = 4

export interface LookupDeps {
  readonly store: Pick<Store, 'get'>
  readonly log: Log
  readonly ratePerSecond: number
}

interface Lookup {
  readonly found: Promise<TokenRecord | undefined>
  /** When it began, in milliseconds of `performance.now()`. */
  readonly at: number
}

export class TokenLookup {
  readonly #deps: LookupDeps
  readonly #guesses: Buckets
  /** By id, in the order of their beginning. */
  readonly #lookups = new Map<string, Lookup>()
  /** Digests of secrets that were right the last time, by id: their callers are never slowed down by others. */
  readonly #known = new Map<string, string>()

  constructor(deps: LookupDeps) {
    const { ratePerSecond } = deps
    this.#deps = deps
    this.#guesses = new Buckets({
      capacity: ratePerSecond * BURST_SHARE,
      perSecond: ratePerSecond * STEADY_SHARE,
    })
  }

  /**
   * The record of the token with this id and digest; undefined also when it cannot be read. `address` is the caller's.
   * @throws RoutingError `api_rate_limited` for an address that looked for too many tokens in vain
   */
  async find(id: string, digest: string, address = ''): Promise<TokenRecord | undefined> {
    const known = this.#known.get(id)
    const isKnown = known !== undefined && isSameSecret(known, digest)
    const record = await this.#look(id, isKnown ? undefined : networkOf(address))
    if (record !== undefined && isSameSecret(record.digest, digest)) {
      remember(this.#known, id, digest)
      return record
    }
    if (isKnown) this.#known.delete(id)
    return undefined
  }

  /** For whoever ended a token: this edge believes nothing that it read before. */
  forget(): void {
    this.#lookups.clear()
  }

  /** `guesser` pays for every look-up that finds nothing. */
  async #look(id: string, guesser: string | undefined): Promise<TokenRecord | undefined> {
    const last = this.#lookups.get(id)
    if (last !== undefined && performance.now() - last.at < BELIEVED_MS) return last.found
    if (guesser !== undefined && !this.#guesses.take(guesser)) {
      const detail = 'Too many tokens that do not exist came from this address.'
      throw new RoutingError('api_rate_limited', { detail })
    }
    const lookup = { found: this.#read(id), at: performance.now() }
    remember(this.#lookups, id, lookup)
    try {
      const record = await lookup.found
      if (guesser !== undefined && record !== undefined) this.#guesses.giveBack(guesser)
      return record
    } catch (error) {
      if (this.#lookups.get(id) === lookup) this.#lookups.delete(id)
      if (guesser !== undefined) this.#guesses.giveBack(guesser)
      throw error
    }
  }

  /** A record that breaks a rule opens nothing, and nobody without its secret may learn that it is there. */
  async #read(id: string): Promise<TokenRecord | undefined> {
    try {
      return (await findRecord(this.#deps.store, TOKENS, id))?.record
    } catch (error) {
      if (!(error instanceof RoutingError && error.code === 'api_record_broken')) throw error
      this.#deps.log.error({ err: error }, 'a token cannot be read, and opens nothing')
      return undefined
    }
  }
}

function remember<Value>(map: Map<string, Value>, name: string, value: Value): void {
  map.delete(name)
  map.set(name, value)
  const [oldest] = map.keys()
  if (map.size > MAX_LOOKUPS && oldest !== undefined) map.delete(oldest)
}

/** An IPv6 client has the whole /64; an IPv4 address may come as an IPv6 one. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address.slice(address.lastIndexOf(':') + 1)
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: Math.max(0, GROUPS - groups.length - rest.length) }, () => '0')
  return [...groups, ...zeros, ...rest].slice(0, NETWORK_GROUPS).join(':')
}
