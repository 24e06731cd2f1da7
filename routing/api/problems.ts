/** Turns every error of the admin API, Fastify's own included, into one problem (RFC 9457) and one log line. */

import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LandfallError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { problemOf } from '../../lib/problem.ts'
import { RecordInvalid, RevisionConflict, type RoutingCode, RoutingError } from '../errors.ts'
import { toEtag } from './preconditions.ts'

export const PROBLEM_TYPE = 'application/problem+json'

/** Where nothing better is known. */
const RETRY_SECONDS = 1

const FASTIFY_CODES: Readonly<Record<string, RoutingCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'api_media_type_unsupported',
  FST_ERR_CTP_BODY_TOO_LARGE: 'api_body_too_large',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'api_json_malformed',
  FST_ERR_CTP_INVALID_JSON_BODY: 'api_json_malformed',
}

export function setProblems(app: FastifyInstance, log: Log): void {
  app.removeContentTypeParser('text/plain')
  app.setErrorHandler((error, request, reply) =>
    sendProblem(toUnnamed(error, request), { request, reply, log }),
  )
  app.setNotFoundHandler(() => {
    throw new RoutingError('api_not_found')
  })
}

/** Registers the methods that a resource lacks, so that they are answered with 405 and not 404. */
export function refuseOtherMethods(app: FastifyInstance, url: string, allowed: readonly string[]): void {
  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url,
    schema: { hide: true },
    // Before the body is read: its type and size do not matter here.
    onRequest: async (_request, reply) => {
      reply.header('allow', allowed.join(', '))
      throw new RoutingError('api_method_not_allowed')
    },
    handler: () => {},
  })
}

/** For bytes that are not HTTP: there is no request, only a connection to answer and end. */
export function answerBrokenConnection(error: Error, { socket, log }: { socket: Duplex; log: Log }): void {
  log.debug({ err: error }, 'the admin API met a connection that is not HTTP')
  if (!socket.writable) return
  const refusal = new RoutingError('api_request_malformed')
  const body = JSON.stringify(problemOf(refusal))
  const { status } = refusal.fault
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${PROBLEM_TYPE}\r\n`
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`)
}

export interface Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly log: Log
}

/** For errors before there is a route to handle them, too. */
export function sendProblem(error: unknown, { request, reply, log }: Exchange): void {
  const refusal = toLandfallError(error)
  const isOurs = refusal.fault.source === 'internal'
  const fields = { err: refusal, code: refusal.code, requestId: request.id, method: request.method }
  log[isOurs ? 'error' : 'debug']({ ...fields, path: request.url }, 'the admin API refused a request')
  reply.headers(headersOf(refusal, request))
  if (refusal.fault.retryable && !reply.hasHeader('retry-after')) reply.header('retry-after', RETRY_SECONDS)
  reply.code(refusal.fault.status).type(PROBLEM_TYPE).send(problemOf(refusal, request.id))
}

function headersOf(refusal: LandfallError, request: FastifyRequest): Record<string, string> {
  if (refusal instanceof RevisionConflict && refusal.current !== 0) {
    return { etag: toEtag(refusal.current) }
  }
  if (refusal.fault.status !== 401) return {}
  // RFC 6750 section 3: the error attribute only when a token was sent.
  const isBare = request.headers.authorization === undefined
  return { 'www-authenticate': `Bearer realm="landfall admin"${isBare ? '' : ', error="invalid_token"'}` }
}

/** A name in the path that no record can have: PUT is told what is wrong with it, and elsewhere nothing is there. */
function toUnnamed(error: unknown, { method }: FastifyRequest): unknown {
  const isName = error instanceof RecordInvalid && 'validationContext' in error
  if (!isName || error.validationContext !== 'params' || method === 'PUT') return error
  return new RoutingError('api_not_found', { detail: `"${error.field.slice(1)}": ${error.message}` })
}

/** Fastify's errors and surprises as one of ours. */
export function toLandfallError(error: unknown): LandfallError {
  if (error instanceof LandfallError) return error
  const { code, statusCode = 500 } = error as { code?: string; statusCode?: number }
  const known = FASTIFY_CODES[code ?? '']
  if (known !== undefined) return new RoutingError(known, { cause: error })
  // Fastify's JSON parser reports broken JSON and __proto__ as a SyntaxError.
  if (error instanceof SyntaxError && statusCode === 400)
    return new RoutingError('api_json_malformed', { cause: error })
  const isRefusal = statusCode >= 400 && statusCode < 500
  return new RoutingError(isRefusal ? 'api_request_malformed' : 'api_internal', { cause: error })
}
