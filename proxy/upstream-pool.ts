/** Keep-alive connections by upstream: hands out an idle one or dials, and closes what stayed idle. */

import type { Watched } from '../lib/deadlines.ts'
import { RelayError } from './errors.ts'
import type { RelayRoute, Upstream } from './upstream.ts'
import { findUpstream } from './upstream.ts'
import { type ConnectionOwner, type ConnectionUser, UpstreamConnection } from './upstream-connection.ts'

export interface UpstreamPoolSettings {
  /** Open connections to one upstream. */
  readonly upstreamConnections: number
}

export interface AcquireOptions {
  /** Rules out connections that were used before. */
  readonly isFresh: boolean
  /** The connection will be detached and go on as a bare stream. */
  readonly isRaw: boolean
}

/** Connections to one upstream. */
class Group implements ConnectionOwner {
  readonly upstream: Upstream
  readonly idle: UpstreamConnection[] = []
  readonly open = new Set<UpstreamConnection>()
  /** False once the pool has forgotten the group. */
  isLive = true

  constructor(upstream: Upstream) {
    this.upstream = upstream
  }

  onIdle(connection: UpstreamConnection): void {
    this.idle.push(connection)
  }

  onClosed(connection: UpstreamConnection): void {
    this.open.delete(connection)
    const at = this.idle.lastIndexOf(connection)
    if (at >= 0) this.idle.splice(at, 1)
  }
}

export class UpstreamPool implements Watched, Disposable {
  slot = -1
  readonly #settings: UpstreamPoolSettings
  readonly #groups = new Map<string, Group>()
  /** Rows stay the same object until they change, so most look-ups need no key. */
  readonly #byRoute = new WeakMap<RelayRoute, Group>()

  constructor(settings: UpstreamPoolSettings) {
    this.#settings = settings
  }

  /**
   * An idle connection, or one that is being dialled (`isConnecting`).
   * @throws RelayError route_port_closed, limit_upstream_connections
   */
  acquire(route: RelayRoute, user: ConnectionUser, options: AcquireOptions): UpstreamConnection {
    const known = this.#byRoute.get(route)
    const group = known?.isLive ? known : this.#groupFor(route)
    const idle = options.isFresh || options.isRaw ? undefined : group.idle.pop()
    if (idle !== undefined) {
      idle.take(user)
      return idle
    }
    const { upstreamConnections } = this.#settings
    // Idle ones must not keep out those who cannot use them.
    if (group.open.size >= upstreamConnections) group.idle.shift()?.destroy()
    if (group.open.size >= upstreamConnections) throw new RelayError('limit_upstream_connections')
    const connection = new UpstreamConnection({
      upstream: group.upstream,
      owner: group,
      user,
      isRaw: options.isRaw,
    })
    group.open.add(connection)
    return connection
  }

  get openConnections(): number {
    let sum = 0
    for (const group of this.#groups.values()) sum += group.open.size
    return sum
  }

  checkDeadlines(now: number): void {
    for (const [key, group] of this.#groups) {
      for (const connection of group.idle.filter(({ idleUntil }) => idleUntil <= now)) connection.destroy()
      if (group.open.size > 0) continue
      group.isLive = false
      this.#groups.delete(key)
    }
  }

  [Symbol.dispose](): void {
    for (const group of this.#groups.values()) for (const connection of group.open) connection.destroy()
    this.#groups.clear()
  }

  #groupFor(route: RelayRoute): Group {
    const upstream = findUpstream(route)
    if (upstream === undefined) throw new RelayError('route_port_closed')
    const group = this.#groups.get(upstream.key) ?? new Group(upstream)
    this.#groups.set(upstream.key, group)
    this.#byRoute.set(route, group)
    return group
  }
}
