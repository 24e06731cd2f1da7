/** `/v1/whoami`: who the token stands for, and what it may do. */

import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { TOKEN } from '../records/records.ts'
import { refuseOtherMethods } from './problems.ts'
import { withProblems } from './schemas.ts'

const ADDRESS = '/v1/whoami'
const { scopes, expiresAt } = TOKEN.properties
const VIEW = Type.Object({
  id: Type.String({ description: 'the token\'s id, or "bootstrap"' }),
  scopes,
  expiresAt,
})

export function addWhoami(app: FastifyInstance): void {
  const schema = withProblems({ summary: 'Who the token stands for', response: { 200: VIEW } })
  app.get(ADDRESS, { schema }, ({ caller }) => caller)
  refuseOtherMethods(app, ADDRESS, ['GET', 'HEAD'])
}
