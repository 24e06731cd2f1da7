/** HTTPS requests to one address, with time limits, that know where `*.localhost` is. */

import { lookup as lookUp } from 'node:dns'
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import type { LookupFunction } from 'node:net'
import { text } from 'node:stream/consumers'
import { CliError, Interrupted } from './errors.ts'

export interface Target {
  /** An origin: `https://admin.example.test:8443`. */
  readonly url: string
  /** PEM of authorities in place of the system's. */
  readonly ca?: string
}

export interface OutgoingRequest {
  readonly method: string
  /** Percent-encoded, with its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** Until the answer is there: its last byte, or its head where it is streamed. */
  readonly timeoutMs: number
}

export interface TextAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** Codes of errors before the first byte of a request was sent. */
const UNSENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

/** True when the API cannot have seen the request. */
export function isUnsent(error: CliError): boolean {
  return UNSENT.includes((error.cause as NodeJS.ErrnoException | undefined)?.code ?? '')
}

/** Connections to one origin, kept for the next request until disposal. */
export class Transport implements Disposable {
  readonly #target: Target
  readonly #signal: AbortSignal
  readonly #agent: Agent

  constructor(target: Target, signal: AbortSignal) {
    this.#target = target
    this.#signal = signal
    this.#agent = new Agent({ keepAlive: true, ...(target.ca !== undefined && { ca: target.ca }) })
  }

  /** @throws CliError `cli_unreachable`, `cli_untrusted`, `cli_slow`; Interrupted */
  async send(outgoing: OutgoingRequest): Promise<TextAnswer> {
    const limit = AbortSignal.timeout(outgoing.timeoutMs)
    try {
      const incoming = await this.#start(outgoing, AbortSignal.any([this.#signal, limit]))
      return {
        status: incoming.statusCode ?? 0,
        headers: incoming.headers,
        text: await text(incoming),
      }
    } catch (error) {
      throw this.#explain(error, limit)
    }
  }

  /** The answer with its body still to be read; the time limit ends with its head. @throws as `send` */
  async stream(outgoing: OutgoingRequest): Promise<IncomingMessage> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), outgoing.timeoutMs)
    try {
      return await this.#start(outgoing, AbortSignal.any([this.#signal, late.signal]))
    } catch (error) {
      throw this.#explain(error, late.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }

  async #start(outgoing: OutgoingRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const { method, path, headers, body } = outgoing
    const { hostname, port } = new URL(this.#target.url)
    const sent = request({
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? 443 : Number(port),
      method,
      path,
      agent: this.#agent,
      lookup: lookUpLocally,
      signal,
      headers: {
        ...headers,
        ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
      },
    })
    sent.end(body)
    const [incoming] = (await once(sent, 'response')) as [IncomingMessage]
    return incoming
  }

  /** What a failed request means for the command. */
  #explain(error: unknown, limit: AbortSignal): Error {
    return explainFailure(error, { url: this.#target.url, signal: this.#signal, limit })
  }
}

interface Failed {
  readonly url: string
  /** Ctrl-C. */
  readonly signal: AbortSignal
  /** The time limit. */
  readonly limit: AbortSignal
}

/** Why a request or a connection failed: Interrupted, or CliError `cli_slow`, `cli_untrusted`, `cli_unreachable`. */
export function explainFailure(error: unknown, { url, signal, limit }: Failed): Error {
  const { code = '', message } = error as NodeJS.ErrnoException
  if (signal.aborted) return new Interrupted()
  if (limit.aborted) return new CliError('cli_slow', { cause: error, detail: `${url} is silent.` })
  const isTls = /CERT|SIGNATURE|SELF_SIGNED|ISSUER|ALTNAME|^ERR_TLS|^ERR_SSL|^UNABLE_TO/.test(code)
  const detail = `${url}: ${message === '' ? code : message}`
  return new CliError(isTls ? 'cli_untrusted' : 'cli_unreachable', { cause: error, detail })
}

/** RFC 6761 section 6.3: names under localhost are this machine; resolvers that do not know it are not asked. */
export const lookUpLocally: LookupFunction = (hostname, options, callback) => {
  const isLocal = hostname === 'localhost' || hostname.endsWith('.localhost')
  if (!isLocal) lookUp(hostname, options, callback)
  else if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}
