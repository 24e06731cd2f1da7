/** `/v1/edges`: the processes that take requests from clients. */

import type { FastifyInstance } from 'fastify'
import { EDGES } from '../records/record-kinds.ts'
import { EDGE } from '../records/records.ts'
import type { ApiContext } from './context.ts'
import { addMembers } from './members.ts'

export function addEdges(app: FastifyInstance, context: ApiContext): void {
  addMembers(app, context, { kind: EDGES, schema: EDGE, noun: 'edge', plural: 'edges' })
}
