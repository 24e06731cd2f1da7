/** Where Redis is and who asks: the settings of the store and their URL, read and checked. */

import { RoutingError } from '../errors.ts'

export interface RedisSettings {
  /**
   * `redis://host:port/database`, `redis+sentinel://host:port,host:port/master` or
   * `redis+cluster://host:port,host:port`; `rediss` for TLS. `user:password@` may precede the hosts.
   */
  readonly url: string
  /** Before what the URL says. */
  readonly username?: string
  readonly password?: string
  /** What the Sentinels themselves ask for. */
  readonly sentinelPassword?: string
  /** PEM file of the authorities that may sign the servers' certificates; otherwise those that Node.js knows. */
  readonly caFile?: string
  /** Opens all keys' names, in braces; `landfall` by default. */
  readonly prefix?: string
  /** How many changes are kept for watchers that fall behind; 100,000 by default. */
  readonly feedLimit?: number
  /** After this time without an answer a command fails; 2,000 by default. */
  readonly commandTimeoutMs?: number
  /** The clock of leases, Unix milliseconds; by default the server's. */
  readonly now?: () => number
}

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

/** What a URL says. */
export interface RedisTarget {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  /** One server, all Sentinels, or some nodes of a cluster. */
  readonly addresses: readonly RedisAddress[]
  /** The name by which Sentinels know the master; otherwise ''. */
  readonly master: string
  readonly database: number
  readonly isEncrypted: boolean
  readonly username: string | undefined
  readonly password: string | undefined
}

const URL_FORM = /^redis(s?)(\+sentinel|\+cluster)?:\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^/?#]*))?$/
const HOST_FORM = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?$/i
const PORT = 6_379
const SENTINEL_PORT = 26_379
const MAX_PORT = 65_535

/** @throws RoutingError store_unusable; its detail repeats no part of the URL that may hold a password */
export function parseRedisUrl(url: string): RedisTarget {
  const parts = URL_FORM.exec(url)
  if (!parts) {
    throw unusable('redis[s]://host:port[/database], redis[s]+sentinel://… or redis[s]+cluster://…')
  }
  const [, secure, topology = '+single', user, hosts = '', path = ''] = parts
  const kind = topology.slice(1) as RedisTarget['kind']
  const addresses = hosts.split(',').map((host) => parseAddress(host, kind))
  if (kind === 'single' && addresses.length > 1) {
    throw unusable('one host, or redis+sentinel:// or redis+cluster:// for several')
  }
  return { kind, addresses, isEncrypted: secure === 's', ...parseUser(user), ...parsePath(kind, path) }
}

function parseAddress(text: string, kind: RedisTarget['kind']): RedisAddress {
  const [, v6, name, digits] = HOST_FORM.exec(text) ?? []
  const host = v6 ?? name
  const port = Number(digits ?? (kind === 'sentinel' ? SENTINEL_PORT : PORT))
  if (host === undefined || port < 1 || port > MAX_PORT) {
    throw unusable('each host as name, name:port or [IPv6]:port, with a port from 1 to 65535')
  }
  return { host, port }
}

function parseUser(user = ''): Pick<RedisTarget, 'username' | 'password'> {
  const [username = '', ...rest] = user.split(':')
  return { username: decode(username), password: decode(rest.join(':')) }
}

function decode(text: string): string | undefined {
  if (text === '') return undefined
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw unusable('user and password percent-encoded', cause)
  }
}

function parsePath(kind: RedisTarget['kind'], path: string): Pick<RedisTarget, 'master' | 'database'> {
  if (kind === 'sentinel') {
    const master = decode(path)
    if (master === undefined) throw unusable('the name of the master after the Sentinels: …:26379/name')
    return { master, database: 0 }
  }
  const isDatabase = /^\d{0,4}$/.test(path) && (kind === 'single' || Number(path) === 0)
  if (!isDatabase) throw unusable('a number as database, and none but 0 in a cluster')
  return { master: '', database: Number(path) }
}

function unusable(wanted: string, cause?: unknown): RoutingError {
  const detail = `The Redis URL cannot be read; it needs ${wanted}.`
  return new RoutingError('store_unusable', { detail, ...(cause !== undefined && { cause }) })
}
