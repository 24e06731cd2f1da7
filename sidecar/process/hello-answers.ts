/** What the `hello` VM answers to each path: small servers for trying an edge out. */

import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import { type Seen, toPage } from './hello-page.ts'
import { choiceOf, intOf, QueryError } from './hello-query.ts'

const GIB = 1_073_741_824
const MAX_BYTES = 8 * GIB
const HOUR_MS = 3_600_000
const CHUNK = Buffer.alloc(65_536, 'landfall\n')

export interface Visit {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly path: string
  readonly query: URLSearchParams
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal
}

type Answer = (visit: Visit) => Promise<void> | void

const ANSWERS: Readonly<Record<string, Answer>> = {
  '/': answerSeen,
  '/abort': answerAbort,
  '/early-hints': answerEarlyHints,
  '/echo': answerEcho,
  '/events': answerEvents,
  '/sink': answerSink,
  '/slow': answerSlow,
  '/stream': answerStream,
  '/trailers': answerTrailers,
}

/** Answers any request; wrong query values get a 400 that says what is allowed. */
export async function answer(visit: Visit): Promise<void> {
  try {
    await findAnswer(visit.path)(visit)
  } catch (error) {
    if (!(error instanceof QueryError)) throw error
    sendText(visit.response, 400, error.message)
  }
}

function findAnswer(path: string): Answer {
  if (path.startsWith('/status/')) return answerStatus
  return (Object.hasOwn(ANSWERS, path) && ANSWERS[path]) || answerUnknown
}

function answerSeen({ request, response }: Visit): void {
  const seen = toSeen(request)
  response.setHeader('vary', 'accept')
  response.setHeader('cache-control', 'no-store')
  if (!(request.headers.accept ?? '').includes('text/html')) {
    sendJson(response, 200, { ...seen, headers: request.headers })
    return
  }
  const nonce = randomBytes(16).toString('base64')
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
  response.setHeader('content-security-policy', policy)
  send(response, 'text/html; charset=utf-8', toPage(seen, nonce))
}

/** Shows the request too, so that any target can be looked at. */
function answerUnknown({ request, response }: Visit): void {
  const paths = [...Object.keys(ANSWERS), '/status/NNN']
  sendJson(response, 404, { error: 'no such path', paths, ...toSeen(request), headers: request.headers })
}

function toSeen({ method = '', url = '', httpVersion, rawHeaders }: IncomingMessage): Seen {
  const pairs = rawHeaders.flatMap((name, index) =>
    index % 2 === 0 ? [[name, rawHeaders[index + 1] ?? ''] as const] : [],
  )
  return { method, target: url, httpVersion, rawHeaders: pairs }
}

/** The body as it comes, before its end is known; its trailers after it. */
async function answerEcho({ request, response, signal }: Visit): Promise<void> {
  const { 'content-type': type, 'content-length': length, trailer } = request.headers
  response.setHeader('content-type', type ?? 'application/octet-stream')
  response.setHeader('x-content-type-options', 'nosniff')
  if (length !== undefined) response.setHeader('content-length', length)
  if (trailer !== undefined && length === undefined) response.setHeader('trailer', trailer)
  response.flushHeaders()
  await pipeline(request, response, { end: false, signal })
  if (Object.keys(request.trailers).length > 0) response.addTrailers(toTrailers(request.rawTrailers))
  response.end()
}

function toTrailers(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1] ?? '']] : []))
}

async function answerStream({ request, response, query, signal }: Visit): Promise<void> {
  const bytes = intOf(query, 'bytes', { fallback: 1_048_576, max: MAX_BYTES })
  response.setHeader('content-type', 'application/octet-stream')
  response.setHeader('content-length', bytes)
  if (request.method === 'HEAD') response.end()
  else await pipeline(chunksOf(bytes), response, { signal })
}

/** The reader sets the pace: the next chunk is taken when there is room for it. */
function chunksOf(bytes: number): Readable {
  function* chunks() {
    for (let left = bytes; left > 0; left -= CHUNK.length) yield CHUNK.subarray(0, left)
  }
  return Readable.from(chunks(), { objectMode: false, highWaterMark: CHUNK.length })
}

async function answerSink({ request, response, query }: Visit): Promise<void> {
  const isHashed = choiceOf(query, 'hash', ['yes', 'no']) === 'yes'
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (isHashed) hash.update(chunk)
  }
  sendJson(response, 200, { bytes, ...(isHashed && { sha256: hash.digest('hex') }) })
}

async function answerEvents({ request, response, query, signal }: Visit): Promise<void> {
  const pauseMs = intOf(query, 'ms', { fallback: 1_000, min: 10, max: HOUR_MS })
  response.setHeader('content-type', 'text/event-stream')
  response.setHeader('cache-control', 'no-store')
  if (request.method === 'HEAD') {
    response.end()
    return
  }
  for (let tick = 1; !signal.aborted; tick += 1) {
    const hasRoom = response.write(`event: tick\nid: ${tick}\ndata: ${tick} ${new Date().toISOString()}\n\n`)
    // A client that reads nothing is left alone until it does.
    if (!hasRoom) await new Promise((resolve) => onceEither(response, ['drain', 'close'], resolve))
    await setTimeout(pauseMs, undefined, { signal })
  }
}

function onceEither(
  response: ServerResponse,
  events: readonly string[],
  done: (value?: unknown) => void,
): void {
  const finish = () => {
    for (const event of events) response.off(event, finish)
    done()
  }
  for (const event of events) response.on(event, finish)
}

async function answerSlow({ response, query, signal }: Visit): Promise<void> {
  const ms = intOf(query, 'ms', { fallback: 1_000, max: HOUR_MS })
  await setTimeout(ms, undefined, { signal })
  sendText(response, 200, `answered after ${ms} ms`)
}

function answerStatus({ response, path }: Visit): void {
  const status = Number(/^\/status\/([2-5]\d\d)$/.exec(path)?.[1])
  if (!status) throw new QueryError('the status must be a number from 200 to 599, as in /status/404')
  sendText(response, status, `status ${status}`)
}

function answerEarlyHints({ response }: Visit): void {
  response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' })
  sendText(response, 200, 'a 103 came before this')
}

function answerTrailers({ response }: Visit): void {
  const text = 'a trailer follows\n'
  response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.setHeader('trailer', 'x-sha256')
  response.write(text)
  response.addTrailers({ 'x-sha256': createHash('sha256').update(text).digest('hex') })
  response.end()
}

/** Promises one byte more than it sends, so that the cut shows. */
async function answerAbort({ response, query, signal }: Visit): Promise<void> {
  const after = intOf(query, 'after', { fallback: 0, max: MAX_BYTES })
  response.setHeader('content-type', 'application/octet-stream')
  response.setHeader('content-length', after + 1)
  response.flushHeaders()
  await pipeline(chunksOf(after), response, { end: false, signal })
  // The socket's write queue is in order: when this empty write is out, all before it is.
  response.socket?.write('', () => response.destroy())
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status
  send(response, 'text/plain; charset=utf-8', `${text}\n`)
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.statusCode = status
  send(response, 'application/json', `${JSON.stringify(value, undefined, 2)}\n`)
}

function send(response: ServerResponse, type: string, text: string): void {
  response.setHeader('content-type', type)
  response.setHeader('x-content-type-options', 'nosniff')
  // 204 and 304 have neither a body nor its length, 205 an empty body (RFC 9110 section 15.3.6).
  const body = [204, 205, 304].includes(response.statusCode) ? '' : text
  if (![204, 304].includes(response.statusCode)) response.setHeader('content-length', Buffer.byteLength(body))
  response.end(body)
}
