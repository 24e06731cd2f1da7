/** `/v1/hosts`: the machines that run VMs. */

import type { FastifyInstance } from 'fastify'
import { HOSTS } from '../records/record-kinds.ts'
import { HOST } from '../records/records.ts'
import type { ApiContext } from './context.ts'
import { addMembers } from './members.ts'

export function addHosts(app: FastifyInstance, context: ApiContext): void {
  addMembers(app, context, { kind: HOSTS, schema: HOST, noun: 'host', plural: 'hosts' })
}
