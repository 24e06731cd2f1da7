/** An exchange without a connection, for tests of single steps: it keeps what it is told to answer. */

import { PassThrough } from 'node:stream'
import { SlotList } from '../../lib/slot-list.ts'
import { type Authority, parseAuthority } from '../../proxy/authority.ts'
import type { ClientConnection } from '../../proxy/client-connection.ts'
import type { BodyFraming, Exchange, HttpVersion } from '../../proxy/exchange.ts'
import type { ExchangeRecord } from '../../proxy/exchange-record.ts'
import { readRequestFields } from '../../proxy/request-fields.ts'

export interface FakeRequest {
  readonly version?: HttpVersion
  readonly method?: string
  readonly target?: string
  /** Names and values, alternating; for HTTP/2 with pseudo-header fields. */
  readonly headers?: readonly string[]
  readonly isUpgrade?: boolean
  readonly isConnect?: boolean
  readonly expectsContinue?: boolean
  /** By default what Content-Length and Transfer-Encoding say. */
  readonly bodyFraming?: BodyFraming
  readonly client?: Partial<ClientConnection>
  /** What `checkRequest` would have read. */
  readonly host?: string
  readonly record?: Partial<ExchangeRecord>
}

export const REQUEST_ID = '0123456789abcdef0123456789abcdef'
const NO_AUTHORITY: Authority = { text: '', host: '', port: undefined }

/** What was answered, beside the exchange itself. */
export interface Answered {
  status?: number
  reason?: string
  headers: readonly string[]
  body: string
  isAborted: boolean
}

export type FakeExchange = Exchange & { readonly answered: Answered }

export function fakeExchange(request: FakeRequest = {}): FakeExchange {
  const { version = '1.1', method = 'GET', target = '/', headers = [], host } = request
  const fields = readRequestFields(headers)
  const answered: Answered = { headers: [], body: '', isAborted: false }
  const exchange: Partial<Exchange> = {
    slot: -1,
    id: REQUEST_ID,
    version,
    method,
    target,
    authority: host === undefined ? NO_AUTHORITY : parseAuthority(host),
    fields,
    rawHeaders: headers,
    client: fakeClient(request.client),
    stream: new PassThrough(),
    bodyFraming: 'bodyFraming' in request ? request.bodyFraming : framingOf(fields),
    isUpgrade: request.isUpgrade ?? false,
    isConnect: request.isConnect ?? false,
    expectsContinue: request.expectsContinue ?? false,
    record: {
      startedAt: performance.now(),
      status: 0,
      bytesIn: 0,
      bytesOut: 0,
      retries: 0,
      ...request.record,
    },
    ...answering(answered),
  }
  return Object.assign(exchange, { answered }) as FakeExchange
}

function answering(answered: Answered): Partial<Exchange> {
  return {
    get headSent() {
      return answered.status !== undefined
    },
    start: (status, reason, headers) => void Object.assign(answered, { status, reason, headers }),
    end: (chunk) => void Object.assign(answered, { body: chunk?.toString() ?? '' }),
    abort: () => void Object.assign(answered, { isAborted: true }),
    distrustConnection() {},
  }
}

function fakeClient(facts: Partial<ClientConnection> = {}): ClientConnection {
  const client: Partial<ClientConnection> = {
    address: '192.0.2.7',
    isTrusted: false,
    tls: undefined,
    active: new SlotList(),
    lastAuthority: undefined,
    lastCoveredHost: undefined,
    lastPassage: undefined,
    ...facts,
  }
  return client as ClientConnection
}

function framingOf({ transferEncoding, length }: Exchange['fields']): BodyFraming {
  if (transferEncoding !== '') return 'chunked'
  return Number(length) > 0 ? Number(length) : undefined
}
