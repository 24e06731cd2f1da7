/** A token of the admin API with every right, got as an operator gets the first one of a fleet. */

import { ask } from './ask.ts'
import type { Fleet } from './fleet.ts'
import { DOMAIN } from './numbered-rows.ts'

/** Once for each fleet: the bootstrap token is spent by it. */
export async function apiTokenFor({ edges: [edge] }: Pick<Fleet, 'edges'>): Promise<string> {
  if (edge === undefined) throw new Error('there is no edge to ask')
  const scopes = [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }]
  const { status, body } = await ask(edge, {
    hostname: `admin.${DOMAIN}`,
    method: 'POST',
    path: '/v1/tokens',
    headers: { authorization: `Bearer ${edge.bootstrapToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ label: 'fault test', scopes }),
  })
  if (status !== 201) throw new Error(`no token: ${status} ${body}`)
  return String(JSON.parse(body).token)
}
