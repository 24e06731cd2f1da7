/** An admin API over a memory store, and real HTTP to it through its in-memory connections. */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import type { Connectable } from '../../../lib/piped-server.ts'
import { createSealer } from '../../../lib/seal.ts'
import type { ApiDeps, ApiSettings } from '../../../routing/api/context.ts'
import { startAdminApi } from '../../../routing/api/server.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createFakeDesk } from '../../helpers/certificate-desk.ts'
import { createListLog, type Line } from '../../helpers/list-log.ts'
import { type AnswerCheck, createAnswerCheck } from './answer-check.ts'
import { createTestSigner } from './test-signer.ts'

/** The bootstrap token: it may do everything, unless the API is one of a fleet. */
export const TOKEN = 'a-token-of-some-length-for-the-tests'

export interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** The parsed body, or an empty object. */
  readonly json: Record<string, unknown>
}

export interface Call {
  /** A list sends the field several times. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** Sent as JSON, unless it is a text. */
  readonly body?: unknown
  /** The bootstrap token unless given; empty for none. */
  readonly token?: string
}

export interface ApiClient {
  readonly api: Connectable & AsyncDisposable
  readonly store: Store
  readonly lines: readonly Line[]
  /** Throws when a good answer is not what OpenAPI says of it. */
  readonly call: (method: string, path: string, call?: Call) => Promise<Answer>
}

/** Every dependency and setting can be given; a store that is given is the test's own to dispose. */
export type ApiOptions = Partial<ApiDeps & ApiSettings>

/** The domain is example.test; names have no DNS records unless `dns` is given. */
export async function apiFor(t: Test, options: ApiOptions = {}): Promise<ApiClient> {
  const store = options.store ?? (await startMemoryStore())
  const { lines, ...log } = createListLog()
  const api = await startAdminApi({ ...defaultDeps(), log, ...options, store }, { ...SETTINGS, ...options })
  t.teardown(async () => {
    await api[Symbol.asyncDispose]()
    if (options.store === undefined) await store[Symbol.asyncDispose]()
  })
  const check = createAnswerCheck(async () =>
    JSON.parse((await send(api, { method: 'GET', path: '/v1/openapi.json', token: '' })).text),
  )
  return {
    api,
    store,
    lines,
    call: (method, path, call) => checkedCall(api, { method, path, ...call }, check),
  }
}

/** The text of a token that `POST /v1/tokens` made, and its id; the pools in its scopes must exist. */
export async function tokenFor(
  { call }: Pick<ApiClient, 'call'>,
  scopes: readonly { readonly pool: string; readonly verbs: readonly string[] }[],
): Promise<{ readonly id: string; readonly token: string }> {
  const { status, json, text: body } = await call('POST', '/v1/tokens', { body: { label: 'test', scopes } })
  if (status !== 201) throw new Error(`no token: ${status} ${body}`)
  return { id: String(json.id), token: String(json.token) }
}

const SETTINGS: ApiSettings = {
  domain: 'example.test',
  token: TOKEN,
  isFleet: false,
  ratePerSecond: 10_000,
  urlOf: (hostname) => `https://${hostname}`,
  tokenDays: 365,
}

function defaultDeps() {
  const nothing = () => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))
  return {
    table: { revision: 0, status: () => ({}) },
    dns: { resolveTxt: nothing, resolveCname: nothing },
    certificates: createFakeDesk(),
    sealer: createSealer(randomBytes(32)),
    signer: createTestSigner(),
    findUser: async () => undefined,
    poolsOf: () => [],
  }
}

async function checkedCall(
  api: Connectable,
  call: Call & { readonly method: string; readonly path: string },
  check: AnswerCheck,
): Promise<Answer> {
  const answer = await send(api, call)
  await check({ ...call, ...answer })
  return answer
}

async function send(api: Connectable, call: Call & { method: string; path: string }): Promise<Answer> {
  const { method, path, body, token = TOKEN } = call
  const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const headers = {
    host: 'admin.example.test',
    connection: 'close',
    ...(token !== '' && { authorization: `Bearer ${token}` }),
    ...(payload !== undefined && {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(payload),
    }),
    ...call.headers,
  }
  const outgoing = request({ createConnection: () => api.connect(), method, path, headers })
  outgoing.end(payload)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const answered = await text(response)
  const isJson = response.headers['content-type']?.includes('json') && answered !== ''
  return {
    status: response.statusCode,
    headers: response.headers,
    text: answered,
    json: isJson ? JSON.parse(answered) : {},
  }
}
