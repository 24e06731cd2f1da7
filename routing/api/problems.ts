/** Turns every error of the admin API, Fastify's own included, into one problem (RFC 9457) and one log line. */

import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LandfallError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { problemOf } from '../../lib/problem.ts'
import { RevisionConflict, type RoutingCode, RoutingError } from '../errors.ts'
import { toEtag } from './preconditions.ts'

const PROBLEM_TYPE = 'application/problem+json'

const FASTIFY_CODES: Readonly<Record<string, RoutingCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'api_media_type_unsupported',
  FST_ERR_CTP_BODY_TOO_LARGE: 'api_body_too_large',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'api_json_malformed',
  FST_ERR_CTP_INVALID_JSON_BODY: 'api_json_malformed',
}

export function setProblems(app: FastifyInstance, log: Log): void {
  app.removeContentTypeParser('text/plain')
  app.setErrorHandler((error, request, reply) => sendProblem(error, { request, reply, log }))
  app.setNotFoundHandler(() => {
    throw new RoutingError('api_not_found')
  })
}

/** Registers the methods that a resource lacks, so that they are answered with 405 and not 404. */
export function refuseOtherMethods(app: FastifyInstance, url: string, allowed: readonly string[]): void {
  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url,
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
  if (refusal instanceof RevisionConflict && refusal.current !== 0) {
    reply.header('etag', toEtag(refusal.current))
  }
  reply.code(refusal.fault.status).type(PROBLEM_TYPE).send(problemOf(refusal, request.id))
}

function toLandfallError(error: unknown): LandfallError {
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
