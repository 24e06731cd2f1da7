/** `/v1/whoami`: who the token stands for, and what it may do. */

import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { TOKEN } from '../records/records.ts'
import { refuseOtherMethods } from './problems.ts'
import { withProblems } from './schemas.ts'

const ADDRESS = '/v1/whoami'
const { scopes, expiresAt } = TOKEN.properties
const { items } = scopes
const VIEW = Type.Object({
  id: Type.String({ description: 'the token\'s id, "bootstrap", or "user:" and a user\'s id' }),
  user: Type.Optional(Type.String({ description: 'who signed the token' })),
  scopes: Type.Array(items, { description: 'empty for a user without a pool' }),
  expiresAt,
})

export function addWhoami(app: FastifyInstance): void {
  const schema = withProblems({ summary: 'Who the token stands for', response: { 200: VIEW } })
  app.get(ADDRESS, { schema }, ({ caller: { renew: _renew, ...shown } }) => shown)
  refuseOtherMethods(app, ADDRESS, ['GET', 'HEAD'])
}
