/** One connection to the server that takes the writes; made again and again until it is closed. */

import { isIP, connect as netConnect } from 'node:net'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis'
import { RoutingError } from '../errors.ts'
import { formatAddress } from '../records/address.ts'
import { isWrongServer, reasonOf, toStoreError } from './redis-faults.ts'
import type { RedisAddress } from './redis-settings.ts'

const FIRST_DELAY_MS = 100
const MAX_DELAY_MS = 2_000
const KEEP_ALIVE_MS = 10_000
/** How often a server that reads its data from disk is asked whether it has finished. */
const LOADING_CHECK_MS = 250

export interface Login {
  readonly username?: string
  readonly password?: string
}

export interface ConnectionSettings extends Login {
  readonly locate: () => Promise<RedisAddress>
  /** Undefined without TLS. */
  readonly tls: ConnectionOptions | undefined
  readonly database: number
  readonly timeoutMs: number
  readonly scripts?: RedisOptions['scripts']
  /** Told before the connection is dropped, since it takes no writes. */
  readonly onReplica?: () => void
}

export interface ConnectionState {
  readonly isReady: boolean
  /** Of the server, once it was found. */
  readonly address: RedisAddress | undefined
  /** Why it is not ready. */
  readonly reason: string | undefined
}

export class RedisConnection<Client extends Redis = Redis> implements AsyncDisposable {
  readonly #client: Client
  readonly #onState: (state: ConnectionState) => void
  readonly #settled = Promise.withResolvers<void>()
  #address: RedisAddress | undefined
  #reason: string | undefined
  #failures = 0
  #retry: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(settings: ConnectionSettings, onState: (state: ConnectionState) => void = () => {}) {
    this.#onState = onState
    const locate = async () => {
      this.#address = await settings.locate()
      return this.#address
    }
    const onReplica = () => {
      this.#reason = 'it is a replica'
    }
    this.#client = new Redis(toOptions({ ...settings, locate, onReplica })) as Client
    this.#client.on('error', (error: Error) => {
      // The first is why; the rest follows from it.
      this.#reason ??= reasonOf(error)
      // ioredis would go on in database 0, which belongs to somebody else.
      if (isRefusalOf(error, 'select')) this.#client.disconnect()
    })
    this.#client.on('ready', () => this.#toReady())
    this.#client.on('end', () => this.#toAway())
    this.#connect()
  }

  /** Resolves once the first attempt has succeeded or failed; never rejects. */
  get settled(): Promise<void> {
    return this.#settled.promise
  }

  get isReady(): boolean {
    return this.#client.status === 'ready'
  }

  get address(): RedisAddress | undefined {
    return this.#address
  }

  /** @throws RoutingError store_unreachable (at once while there is no connection) or store_refused */
  async run<Result>(command: (client: Client) => Promise<Result>): Promise<Result> {
    if (!this.isReady) throw new RoutingError('store_unreachable', { context: { reason: this.#reason } })
    try {
      return await command(this.#client)
    } catch (error) {
      throw toStoreError(error)
    }
  }

  /** Drops the connection, and what waits on it, for one to the server that is right now. */
  reconnect(reason: string): void {
    if (!this.isReady) return
    this.#reason = reason
    this.#client.disconnect(true)
  }

  /** What waits on it is rejected. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#retry)
    if (this.#client.status === 'end') return
    const ended = new Promise<void>((resolve) => this.#client.once('end', () => resolve()))
    this.#client.disconnect()
    await ended
  }

  #connect(): void {
    this.#reason = undefined
    // Failures come as `error` and `end`.
    this.#client.connect().catch(() => {})
  }

  #toReady(): void {
    this.#failures = 0
    this.#reason = undefined
    this.#onState({ isReady: true, address: this.#address, reason: undefined })
    this.#settled.resolve()
  }

  #toAway(): void {
    this.#settled.resolve()
    if (this.#isClosed) return
    this.#onState({ isReady: false, address: this.#address, reason: this.#reason ?? 'the server closed it' })
    const delayMs = Math.min(FIRST_DELAY_MS * 2 ** this.#failures, MAX_DELAY_MS)
    this.#failures += 1
    // Jitter, so that the edges of a fleet do not come back at one moment.
    this.#retry = setTimeout(() => this.#connect(), delayMs * (0.75 + Math.random() / 4))
  }
}

/** A client that connects when it is first used, and never again: for one question to a Sentinel or node. */
export function openOnce(
  address: RedisAddress,
  settings: Omit<ConnectionSettings, 'locate' | 'database'>,
): Redis {
  const options = toOptions({ ...settings, locate: async () => address, database: 0 })
  const client = new Redis({ ...options, enableOfflineQueue: true, enableReadyCheck: false })
  // The command that it was opened for is rejected as well.
  client.on('error', () => {})
  return client
}

function isRefusalOf(error: Error, command: string): boolean {
  return (error as { command?: { name?: string } }).command?.name === command
}

function toOptions(settings: ConnectionSettings): Omit<RedisOptions, 'replyMapping'> {
  const { tls, username, password, timeoutMs, scripts } = settings
  return {
    Connector: connectorTo(settings),
    lazyConnect: true,
    protocol: 2,
    db: settings.database,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && { tls }),
    ...(scripts !== undefined && { scripts }),
    // Nothing waits for a connection, and nothing is sent twice: the caller alone knows whether it may be.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: null,
    reconnectOnError: isWrongServer,
    commandTimeout: timeoutMs,
    // The first command that times out takes its connection along: the next one meets a new one.
    socketTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    keepAlive: KEEP_ALIVE_MS,
    maxLoadingRetryTime: LOADING_CHECK_MS,
    disableClientInfo: true,
  }
}

function connectorTo({ locate, tls, onReplica }: ConnectionSettings) {
  return class LocatedConnector extends AbstractConnector {
    constructor() {
      super(0)
    }

    override async connect() {
      this.connecting = true
      delete this.firstError
      const address = await locate()
      if (!this.connecting)
        throw new Error(`the connection to ${formatAddress(address)} is not wanted any more`)
      this.stream = dial(address, tls)
      this.stream.once('error', (error) => {
        this.firstError = error
      })
      return this.stream
    }

    /** `role` is missing where the user may not ask for INFO. */
    override check({ role }: { role?: string }): boolean {
      const isMaster = role === undefined || role === 'master'
      if (!isMaster) onReplica?.()
      return isMaster
    }

    override disconnect(): void {
      this.connecting = false
      this.stream?.destroy()
    }
  }
}

function dial({ host, port }: RedisAddress, tls: ConnectionOptions | undefined) {
  if (tls === undefined) return netConnect({ host, port })
  return tlsConnect({ ...tls, host, port, ...(isIP(host) === 0 && { servername: host }) })
}
