/** Reads server-sent events of the admin API, as a browser's EventSource does (WHATWG HTML section 9.2.6). */

import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import type { Test } from 'tap'
import { until } from '../../helpers/until.ts'
import { type ApiClient, TOKEN } from './api-client.ts'

export interface EventData {
  readonly revision: number
  readonly kind: string
  readonly name: string
  readonly action: string
  readonly record?: Record<string, unknown>
}

export interface ServerEvent {
  readonly type: string
  readonly id: string
  readonly data: EventData
}

export interface EventReader {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  /** All that came, as it came. */
  readonly text: string
  readonly events: readonly ServerEvent[]
  /** What a browser would send as Last-Event-ID. */
  readonly lastId: string
  /** The stream ended in order. */
  readonly isEnded: boolean
  readonly isClosed: boolean
  readonly response: IncomingMessage
  /** As `<kind> <action> <name>`, or `resync`. */
  told(): readonly string[]
  /** Waits until `count` events have come in all. */
  has(count: number): Promise<void>
  /** For a reader that was paused. */
  start(): void
  leave(): void
}

export interface EventQuery {
  readonly path?: string
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Leaves everything where it is. */
  readonly isPaused?: boolean
}

/** Resolves when the head has come. */
export async function eventsFor(
  t: Test,
  { api }: Pick<ApiClient, 'api'>,
  query: EventQuery = {},
): Promise<EventReader> {
  const { path = '/v1/events', token = TOKEN, headers, isPaused } = query
  const outgoing: ClientRequest = request({
    createConnection: () => api.connect(),
    path,
    headers: { host: 'admin.example.test', authorization: `Bearer ${token}`, ...headers },
  })
  outgoing.on('error', () => {})
  t.teardown(() => outgoing.destroy())
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const reader = new Reader(outgoing, response)
  if (isPaused !== true) reader.start()
  return reader
}

class Reader implements EventReader {
  readonly response: IncomingMessage
  readonly #outgoing: ClientRequest
  readonly events: ServerEvent[] = []
  text = ''
  lastId = ''
  isEnded = false
  isClosed = false
  #rest = ''

  constructor(outgoing: ClientRequest, response: IncomingMessage) {
    this.#outgoing = outgoing
    this.response = response
    response.on('error', () => {})
    response.on('close', () => {
      this.isClosed = true
    })
  }

  get status() {
    return this.response.statusCode
  }

  get headers() {
    return this.response.headers
  }

  start(): void {
    this.response.setEncoding('utf8')
    this.response.on('data', (text: string) => this.#take(text))
    this.response.on('end', () => {
      this.isEnded = true
    })
  }

  told(): readonly string[] {
    return this.events.map(({ type, data: { action, name } }) =>
      type === 'resync' ? type : `${type} ${action} ${name}`,
    )
  }

  has(count: number): Promise<void> {
    return until(() => this.events.length >= count, `${count} events; got ${this.told().join(', ')}`)
  }

  leave(): void {
    this.#outgoing.destroy()
  }

  #take(text: string): void {
    this.text += text
    const blocks = (this.#rest + text).split('\n\n')
    this.#rest = blocks.pop() ?? ''
    for (const block of blocks) this.#takeBlock(block)
  }

  #takeBlock(block: string): void {
    const fields = block.split('\n').map((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')] as const
    })
    const find = (name: string) => fields.findLast(([field]) => field === name)?.[1]
    this.lastId = find('id') ?? this.lastId
    const data = find('data')
    if (data === undefined) return
    this.events.push({ type: find('event') ?? 'message', id: this.lastId, data: JSON.parse(data) })
  }
}
