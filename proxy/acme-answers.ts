/** Answers http-01 (RFC 8555 section 8.3) for tokens of ours that are pending; every other path stays the VM's. */

import type { Certificates } from './certificates.ts'
import type { Exchange } from './exchange.ts'

export interface AcmeAnswerDeps {
  readonly certificates: Pick<Certificates, 'findHttpAnswer'>
  readonly settle: (exchange: Exchange) => void
}

const DOT = 46
const FOLDER = '/.well-known/acme-challenge/'
/** RFC 8555 section 8.3: base64url, and 128 bits at least. */
const TOKEN = /^[A-Za-z0-9_-]{16,256}$/

/** True when the request was a CA's, and has its answer. */
export function answerChallenge(exchange: Exchange, { certificates, settle }: AcmeAnswerDeps): boolean {
  const answer = findAnswer(exchange, certificates)
  if (answer === undefined) return false
  const body = Buffer.from(answer)
  const headers = [
    'content-type',
    'application/octet-stream',
    'content-length',
    String(body.length),
    'cache-control',
    'no-store',
    'x-request-id',
    exchange.id,
  ]
  const hasBody = exchange.method === 'GET'
  exchange.start(200, 'OK', headers, { mayHaveTrailers: false, hasBody })
  exchange.end(hasBody ? body : undefined)
  settle(exchange)
  return true
}

function findAnswer(
  { method, target, authority, isUpgrade }: Exchange,
  certificates: Pick<Certificates, 'findHttpAnswer'>,
): string | undefined {
  // Of each request the second character is looked at, and mostly nothing else.
  if (target.charCodeAt(1) !== DOT || !target.startsWith(FOLDER)) return undefined
  if ((method !== 'GET' && method !== 'HEAD') || isUpgrade) return undefined
  const token = target.slice(FOLDER.length)
  return TOKEN.test(token) ? certificates.findHttpAnswer(authority.host, token) : undefined
}
