/** The public keys that assertions are checked with, on every host (RFC 8615, RFC 7517 section 5). */

import type { FastifyReply } from 'fastify'
import { JWKS_MAX_AGE_S } from '../signing/key-rotation.ts'
import type { AddPath } from './answers.ts'
import type { LoginContext } from './context.ts'

export function addJwks(addPath: AddPath, { jwks }: Pick<LoginContext, 'jwks'>): void {
  const send = (_request: unknown, reply: FastifyReply) =>
    reply
      .header('cache-control', `public, max-age=${JWKS_MAX_AGE_S}`)
      // Public keys are for everybody, scripts of other origins among them.
      .header('access-control-allow-origin', '*')
      .type('application/jwk-set+json')
      .send(JSON.stringify(jwks()))
  addPath('/.well-known/landfall/jwks.json', { GET: send, HEAD: send })
}
