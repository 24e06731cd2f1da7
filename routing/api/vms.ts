/** `/v1/vms`: the VMs as their hosts report them, read-only. */

import type { FastifyInstance } from 'fastify'
import { formatAddress } from './address.ts'
import { refuseOtherMethods } from './admin-problems.ts'
import { type Kind, listRecords, notFound, type ReadDeps, sendRecord } from './admin-reads.ts'
import { parseVmRecord, VM_PREFIX } from './records.ts'
import type { StoredDocument } from './store.ts'

type ByName = { Params: { name: string } }

const COLLECTION = '/v1/vms'
const ITEM = '/v1/vms/:name'
const VMS: Kind = { plural: 'vms', prefix: VM_PREFIX, toView }

export function addVms(app: FastifyInstance, deps: ReadDeps): void {
  app.get(COLLECTION, (request) => listRecords(request, deps, VMS))
  app.get<ByName>(ITEM, async (request, reply) => {
    const { name } = request.params
    const document = await deps.store.get(VM_PREFIX + name)
    if (document === undefined) throw notFound(VMS, name)
    return sendRecord(reply, document, VMS)
  })
  refuseOtherMethods(app, COLLECTION, ['GET', 'HEAD'])
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD'])
}

function toView({ key, value, revision }: StoredDocument) {
  const { name, state, generation, ports } = parseVmRecord(value, key)
  const written = Object.entries(ports).map(([port, address]) => [port, formatAddress(address)])
  return { name, state, generation, ports: Object.fromEntries(written), revision }
}
