/** Finds the server that takes the writes: a fixed one, or the one that Sentinels or a cluster's nodes name. */

import type { Redis } from 'ioredis'
import { formatAddress } from '../records/address.ts'
import { reasonOf } from './redis-faults.ts'
import type { RedisAddress } from './redis-settings.ts'

export interface Locator extends Disposable {
  /** @throws Error when nobody answers or knows */
  locate(): Promise<RedisAddress>
}

/** What one Sentinel or node says. */
export interface Sighting {
  readonly address: RedisAddress
  /** Of the configuration that it knows; after a partition the larger one is right. */
  readonly epoch: number
  /** Others that may be asked as well. */
  readonly peers: readonly RedisAddress[]
}

export type Ask = (client: Redis, asked: RedisAddress) => Promise<Sighting>
/** A client that connects with its first command, never again, and keeps nothing waiting. */
export type OpenClient = (address: RedisAddress) => Redis

/** Beyond those that the settings name: enough to outlive them in a cluster of any size. */
const MAX_PEERS = 5

export function createFixedLocator(address: RedisAddress): Locator {
  return { locate: async () => address, [Symbol.dispose]() {} }
}

/** Asks all that it knows, each time, over connections that stay open, and believes the newest configuration. */
export class AskingLocator implements Locator {
  readonly #configured: readonly RedisAddress[]
  readonly #open: OpenClient
  readonly #ask: Ask
  readonly #clients = new Map<string, Redis>()
  #peers: readonly RedisAddress[] = []
  #pending: Promise<RedisAddress> | undefined
  #isClosed = false

  constructor(configured: readonly RedisAddress[], open: OpenClient, ask: Ask) {
    this.#configured = configured
    this.#open = open
    this.#ask = ask
  }

  locate(): Promise<RedisAddress> {
    this.#pending ??= this.#askAll().finally(() => {
      this.#pending = undefined
    })
    return this.#pending
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    for (const client of this.#clients.values()) client.disconnect()
    this.#clients.clear()
  }

  async #askAll(): Promise<RedisAddress> {
    const known = new Map([...this.#configured, ...this.#peers].map((peer) => [formatAddress(peer), peer]))
    const answers = await Promise.allSettled([...known.values()].map((peer) => this.#askOne(peer)))
    const sightings = answers.filter((answer) => answer.status === 'fulfilled').map(({ value }) => value)
    const best = sightings.sort((a, b) => b.epoch - a.epoch)[0]
    if (best === undefined) throw new Error(`no master is known: ${reasonsOf(answers)}`)
    this.#peers = best.peers.slice(0, MAX_PEERS)
    return best.address
  }

  async #askOne(address: RedisAddress): Promise<Sighting> {
    if (this.#isClosed) throw new Error('the store is closed')
    const client = this.#clientOf(address)
    try {
      return await this.#ask(client, address)
    } catch (error) {
      client.disconnect()
      if (this.#clients.get(formatAddress(address)) === client) this.#clients.delete(formatAddress(address))
      throw error
    }
  }

  #clientOf(address: RedisAddress): Redis {
    const last = this.#clients.get(formatAddress(address))
    if (last !== undefined && last.status !== 'end') return last
    const client = this.#open(address)
    this.#clients.set(formatAddress(address), client)
    return client
  }
}

function reasonsOf(answers: readonly PromiseSettledResult<Sighting>[]): string {
  const reasons = answers
    .filter((answer) => answer.status === 'rejected')
    .map(({ reason }) => reasonOf(reason))
  return [...new Set(reasons)].join(', ')
}

/** While a failover is under way its leader alone names the new master; the epoch tells that it is newer. */
export function askSentinelFor(master: string): Ask {
  return async (client) => {
    const [found, state] = await Promise.all([
      client.call('SENTINEL', 'get-master-addr-by-name', master),
      client.call('SENTINEL', 'master', master),
    ])
    const [host, port] = found as [string, string]
    const fields = state as string[]
    const epoch = Number(fields[fields.indexOf('config-epoch') + 1])
    return { address: { host, port: Number(port) }, epoch, peers: [] }
  }
}

/** All keys have one hash tag, so one node holds them. */
export function askNodeFor(hashTag: string): Ask {
  return async (client, asked) => {
    const slot = Number(await client.call('CLUSTER', 'KEYSLOT', hashTag))
    const nodes = parseNodes(String(await client.call('CLUSTER', 'NODES')), asked)
    const owners = nodes.filter(({ ranges }) => ranges.some(([from, to]) => from <= slot && slot <= to))
    const owner = owners.sort((a, b) => b.epoch - a.epoch)[0]
    if (owner === undefined) throw new Error(`no node of the cluster has slot ${slot}`)
    return { address: owner.address, epoch: owner.epoch, peers: nodes.map(({ address }) => address) }
  }
}

interface ClusterNode {
  readonly address: RedisAddress
  readonly epoch: number
  readonly ranges: readonly (readonly [number, number])[]
}

/** One line a node: id, ip:port@bus[,name], flags, master, ping, pong, epoch, link, slots. */
function parseNodes(text: string, asked: RedisAddress): ClusterNode[] {
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.flatMap((line) => {
    const [, place = '', flags = '', , , , epoch, , ...slots] = line.split(' ')
    const isGone = flags.split(',').some((flag) => ['fail', 'noaddr', 'handshake'].includes(flag))
    return isGone
      ? []
      : [{ address: parsePlace(place, asked), epoch: Number(epoch), ranges: toRanges(slots) }]
  })
}

/** A node that does not know its own address has been asked at the right one. */
function parsePlace(place: string, asked: RedisAddress): RedisAddress {
  const [, ip = '', port, name = ''] = /^(.*):(\d+)(?:@\d+)?(?:,([^,]*))?/.exec(place) ?? []
  return { host: name || ip || asked.host, port: Number(port) }
}

/** Slots on the move stand in brackets; their owner has them until they have arrived. */
function toRanges(slots: readonly string[]): [number, number][] {
  return slots
    .filter((slot) => /^\d/.test(slot))
    .map((slot) => {
      const [from = '', to = from] = slot.split('-')
      return [Number(from), Number(to)]
    })
}
