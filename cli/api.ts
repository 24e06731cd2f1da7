/** The admin API as commands call it: JSON in and out, retries where they are safe, refusals as errors. */

import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Problem } from '../lib/problem.ts'
import type { Connection } from './connection.ts'
import { ApiRefusal, CliError } from './errors.ts'
import { pause } from './pause.ts'
import { isUnsent, type OutgoingRequest, type TextAnswer, Transport } from './transport.ts'

export type Query = Readonly<Record<string, string | number | undefined>>
export type Json = { readonly [field: string]: unknown }

export interface ApiRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** Made with `path`. */
  readonly path: string
  readonly query?: Query
  readonly body?: object
  /** The write is refused when the record is at another revision. */
  readonly revision?: number
  /** The write is refused when the record exists. */
  readonly isNew?: true
  readonly timeoutMs?: number
}

export interface Api {
  /** The good answer's JSON, `{}` where it has none. @throws ApiRefusal, CliError, Interrupted */
  call(request: ApiRequest): Promise<Json>
  /** All pages of a listing as one: `{ [plural]: […] }`. @throws as `call` */
  list(path: string, query?: Query): Promise<Json>
  /** An answer without an end. @throws as `call` */
  stream(
    path: string,
    options: { readonly query: Query; readonly headers: Readonly<Record<string, string>> },
  ): Promise<IncomingMessage>
}

const TIMEOUT_MS = 30_000
const MAX_ATTEMPTS = 3
const FIRST_PAUSE_MS = 200
const MAX_PAUSE_MS = 30_000
const PAGE_LIMIT = 1_000
const ACCEPT = 'application/json, application/problem+json'

/** `path\`/v1/vms/${name}\``: each name is percent-encoded. */
export function path(texts: TemplateStringsArray, ...names: readonly (string | number)[]): string {
  return String.raw({ raw: texts }, ...names.map((name) => encodeURIComponent(name)))
}

/** Looks for the connection at the first request: commands that make none need none. */
export class HttpsApi implements Api, Disposable {
  readonly #connect: () => Promise<Connection>
  readonly #signal: AbortSignal
  #opened: Promise<{ connection: Connection; transport: Transport }> | undefined
  #transport: Transport | undefined

  constructor(connect: () => Promise<Connection>, signal: AbortSignal) {
    this.#connect = connect
    this.#signal = signal
  }

  async call(request: ApiRequest): Promise<Json> {
    const { connection, transport } = await this.#open()
    const outgoing = toOutgoing(request, connection)
    let isLost = false
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === MAX_ATTEMPTS
      try {
        const answer = await transport.send(outgoing)
        const pauseMs = isLast ? undefined : findPauseMs(answer)
        if (pauseMs === undefined) return await this.#read(answer, { request, isLost })
        await pause(pauseMs, this.#signal)
      } catch (error) {
        if (isLast || !isRepeatable(error, request)) throw error
        isLost ||= !isUnsent(error)
        await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1), this.#signal)
      }
    }
  }

  async list(path: string, query: Query = {}): Promise<Json> {
    const all = new Map<string, unknown[]>()
    for (let after: string | undefined, isFirst = true; isFirst || after !== undefined; isFirst = false) {
      const { next, ...page } = await this.call({
        method: 'GET',
        path,
        query: { limit: PAGE_LIMIT, ...query, after },
      })
      for (const [name, items] of Object.entries(page)) {
        if (Array.isArray(items)) all.set(name, [...(all.get(name) ?? []), ...items])
      }
      after = typeof next === 'string' && next !== after ? next : undefined
    }
    return Object.fromEntries(all)
  }

  async stream(
    path: string,
    { query, headers }: { readonly query: Query; readonly headers: Readonly<Record<string, string>> },
  ): Promise<IncomingMessage> {
    const { connection, transport } = await this.#open()
    const outgoing = toOutgoing({ method: 'GET', path, query }, connection)
    const incoming = await transport.stream({ ...outgoing, headers: { ...outgoing.headers, ...headers } })
    const { statusCode: status = 0, headers: answered } = incoming
    if (status !== 200) throw refusalOf({ status, headers: answered, text: await text(incoming) })
    return incoming
  }

  [Symbol.dispose](): void {
    this.#transport?.[Symbol.dispose]()
  }

  #open() {
    this.#opened ??= this.#connect().then((connection) => {
      this.#transport = new Transport(connection, this.#signal)
      return { connection, transport: this.#transport }
    })
    return this.#opened
  }

  /** `isLost`: an earlier attempt may have been carried out although its answer never came. */
  async #read(
    answer: TextAnswer,
    { request, isLost }: { request: ApiRequest; isLost: boolean },
  ): Promise<Json> {
    const { status } = answer
    if (isLost && status === 404 && request.method === 'DELETE') return {}
    if (status === 412 && request.isNew) {
      if (isLost) return this.call({ method: 'GET', path: request.path })
      throw new CliError('cli_exists', { detail: `${decodeURIComponent(request.path)} is there already.` })
    }
    if (status >= 200 && status < 300) return parseObject(answer)
    throw refusalOf(answer)
  }
}

function toOutgoing(request: ApiRequest, { token }: Connection): OutgoingRequest {
  const { method, path, query = {}, body, revision, isNew, timeoutMs = TIMEOUT_MS } = request
  const asked = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)]],
  )
  const search = new URLSearchParams(asked).toString()
  return {
    method,
    path: search === '' ? path : `${path}?${search}`,
    timeoutMs,
    ...(body !== undefined && { body: JSON.stringify(body) }),
    headers: {
      accept: ACCEPT,
      authorization: `Bearer ${token}`,
      'user-agent': 'landfall-cli',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(method === 'POST' && { 'idempotency-key': randomUUID() }),
      ...(revision !== undefined && { 'if-match': `"${revision}"` }),
      ...(isNew && { 'if-none-match': '*' }),
    },
  }
}

/** How long a server that is busy wants to be left alone. */
function findPauseMs({ status, headers }: TextAnswer): number | undefined {
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  const isBusy = status === 503 || status === 429
  return isBusy && seconds >= 0 && seconds * 1_000 <= MAX_PAUSE_MS ? seconds * 1_000 : undefined
}

/** A write at a revision that may have been carried out must not be judged by its second attempt. */
function isRepeatable(error: unknown, { revision }: ApiRequest): error is CliError {
  if (!(error instanceof CliError) || error.code !== 'cli_unreachable') return false
  return revision === undefined || isUnsent(error)
}

function parseObject({ status, headers, text }: TextAnswer): Json {
  if (text === '') return {}
  const parsed = findObject(text)
  if (parsed !== undefined) return parsed
  const type = headers['content-type'] ?? 'no type'
  throw new CliError('cli_answer_unreadable', { detail: `Status ${status} with ${type}.` })
}

/** What an answer that is not a good one means: ApiRefusal, or CliError `cli_answer_unreadable`. */
export function refusalOf(answer: TextAnswer): Error {
  const { status, headers, text } = answer
  const problem = status >= 400 ? findObject(text) : undefined
  const id = headers['x-request-id']
  if (typeof problem?.code === 'string' && typeof problem.title === 'string')
    return new ApiRefusal({
      ...(typeof id === 'string' && { requestId: id }),
      next: '',
      ...problem,
      status,
    } as Problem)
  const where = headers.location === undefined ? '' : ` It leads to ${headers.location}.`
  return new CliError('cli_answer_unreadable', { detail: `It has status ${status}.${where}` })
}

function findObject(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined
  } catch {
    return undefined
  }
}
