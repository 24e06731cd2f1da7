/** How requests of acme-client go out: with a time limit, a signal and a size, never redirected and never repeated. */

import { AsyncLocalStorage } from 'node:async_hooks'
import type { Agent as HttpAgent } from 'node:http'
import type { Agent as HttpsAgent } from 'node:https'
import { axios } from 'acme-client'
import type { Log } from '../../lib/log.ts'
import { codeOf } from '../../lib/node-error.ts'
import { VERSION } from '../../lib/version.ts'
import { type CaAnswer, CaProblem, findProblem, parseRetryAfter, toProblem } from './ca-problem.ts'
import { checkUrl, hostOf } from './ca-url.ts'

/** The longest chain is some 20 KiB, a directory or an order of 100 names 40 KiB. */
const MAX_ANSWER_BYTES = 256 * 1024
/** RFC 8555 section 6.5.1. */
const NONCE = /^[A-Za-z0-9_-]{1,256}$/
const MAX_NONCES = 20
const MAX_LOGGED = 1_000
/** A call is some requests: a directory, a nonce, an account, and those that were refused for their nonce. */
const REQUESTS_PER_CALL = 4

/** What requests to one authority have in common. */
export interface Line {
  readonly directory: string
  readonly httpAgent: HttpAgent
  readonly httpsAgent: HttpsAgent
  readonly requestMs: number
  /** Nonces of answers that no request has used yet (RFC 8555 section 6.5), the latest last. */
  readonly nonces: string[]
  readonly now: () => number
  readonly log: Log
}

/** What the latest answer of a call said besides its body. */
export interface Told {
  readonly retryAfterMs: number | undefined
}

class Call implements Told {
  readonly line: Line
  /** The caller's. */
  readonly signal: AbortSignal
  /** The caller's, or the end of the time for the whole call. */
  readonly limit: AbortSignal
  last: CaAnswer | undefined

  constructor(line: Line, signal: AbortSignal) {
    this.line = line
    this.signal = signal
    this.limit = AbortSignal.any([signal, AbortSignal.timeout(REQUESTS_PER_CALL * line.requestMs)])
  }

  get retryAfterMs(): number | undefined {
    return parseRetryAfter(this.last?.retryAfter, this.line.now())
  }
}

type Request = Parameters<NonNullable<Parameters<typeof axios.interceptors.request.use>[0]>>[0]
type Response = Parameters<NonNullable<Parameters<typeof axios.interceptors.response.use>[0]>>[0]

/** acme-client has one axios for all of its clients: what belongs to a call has to travel beside it. */
const calls = new AsyncLocalStorage<Call>()

// Its own interceptors repeat requests after a Retry-After of any length, and break what has no answer at all.
axios.interceptors.request.clear()
axios.interceptors.response.clear()
axios.interceptors.request.use(prepare)
axios.interceptors.response.use(receive, fail)

/**
 * Carries out `work`, which is requests to one authority and the reading of what they bring, within a few times `requestMs`.
 * @throws CaProblem, whatever `work` threw
 */
export async function converse<T>(
  line: Line,
  signal: AbortSignal,
  work: (told: Told) => Promise<T>,
): Promise<T> {
  const call = new Call(line, signal)
  try {
    if (signal.aborted) throw toSilence(call, signal.reason)
    return await calls.run(call, () => work(call))
  } catch (cause) {
    const problem = toCaProblem(call, cause)
    if (problem.code === 'ca_nonsense') logNonsense(call, problem)
    throw problem
  }
}

function logNonsense({ line, last }: Call, err: CaProblem): void {
  const text = last === undefined ? '' : (JSON.stringify(last.body)?.slice(0, MAX_LOGGED) ?? '')
  // Tokens of challenges, and whatever else is as long as a secret.
  const answer = text.replace(/[A-Za-z0-9+/_-]{22,}/g, '…')
  line.log.warn(
    { err, ca: line.directory, status: last?.status, answer },
    'a certificate authority answered nonsense',
  )
}

function getCall(): Call {
  const call = calls.getStore()
  if (!call) throw new Error('a request to a certificate authority outside a call')
  return call
}

function prepare(request: Request): Request {
  const { line, limit } = getCall()
  checkUrl(request.url, line.directory)
  request.headers.set('User-Agent', `landfall/${VERSION}`)
  // RFC 8555 section 6.1; an answer that unpacks to more than it says is not asked for.
  request.headers.set('Accept-Language', 'en')
  request.headers.set('Accept-Encoding', 'identity')
  return Object.assign(request, {
    // acme-client judges the status itself.
    validateStatus: null,
    signal: AbortSignal.any([limit, AbortSignal.timeout(line.requestMs)]),
    decompress: false,
    maxContentLength: MAX_ANSWER_BYTES,
    maxRedirects: 0,
    // HTTP_PROXY and its kin are for fetching software; an edge reaches its authorities itself.
    proxy: false,
    httpAgent: line.httpAgent,
    httpsAgent: line.httpsAgent,
  })
}

function receive(response: Response): Response {
  const call = getCall()
  const { line } = call
  const answer = toAnswer(response)
  call.last = answer
  const isBadNonce = answer.status === 400 && findProblem(answer.body)?.type === 'badNonce'
  // acme-client takes the nonce of these two for its next request.
  if (!isBadNonce && response.config.method === 'post') keepNonce(line, response.headers['replay-nonce'])
  if (isBadNonce || (answer.status >= 200 && answer.status < 300)) return response
  throw new CaProblem(toProblem(answer, line.now()), { context: { url: response.config.url } })
}

function keepNonce({ nonces }: Line, nonce: unknown): void {
  if (typeof nonce !== 'string' || !NONCE.test(nonce)) return
  nonces.push(nonce)
  if (nonces.length > MAX_NONCES) nonces.shift()
}

function toAnswer({ status, headers, data }: Response): CaAnswer {
  const retryAfter: unknown = headers['retry-after']
  return { status, retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined, body: data }
}

/** No whole answer came. */
function fail(cause: unknown): never {
  // What `prepare` refused to send.
  if (cause instanceof CaProblem) throw cause
  const call = getCall()
  const code = codeOf(cause)
  if (code === 'ERR_CANCELED') throw toSilence(call, cause)
  const text = cause instanceof Error ? cause.message : String(cause)
  if (text.startsWith('maxContentLength')) throw CaProblem.nonsense('The answer is too long', { cause })
  const host = hostOf(call.line.directory)
  // Node's own text has addresses of inner networks, and tenants are shown the detail.
  const why = code ?? text.slice(0, 200)
  throw CaProblem.silence('unreachable', `${host} cannot be reached: ${why}`, cause)
}

function toSilence({ line, signal }: Call, cause: unknown): CaProblem {
  const host = hostOf(line.directory)
  if (signal.aborted) return CaProblem.silence('aborted', `Nobody waits for ${host} any more`, cause)
  return CaProblem.silence('timeout', `${host} did not answer in time`, cause)
}

/** What an error out of acme-client means. */
function toCaProblem({ last, line }: Call, cause: unknown): CaProblem {
  if (cause instanceof CaProblem) return cause
  // Nonces that were refused to the end: the one error's answer that acme-client keeps to itself.
  if (last && last.status >= 400) return new CaProblem(toProblem(last, line.now()), { cause })
  const text = cause instanceof Error ? cause.message : String(cause)
  return CaProblem.nonsense(`The answer cannot be used: ${text.slice(0, 200)}`, { cause })
}
