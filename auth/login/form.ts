/** What a form of our pages sent. */

import type { FastifyRequest } from 'fastify'

/** Empty for a request without a body. */
export function formOf({ body }: FastifyRequest): URLSearchParams {
  return body instanceof URLSearchParams ? body : new URLSearchParams()
}
