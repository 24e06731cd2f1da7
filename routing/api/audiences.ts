/** The one host name that a token or a share link of a VM is for, and the ports that it opens. */

import { type Static, Type } from 'typebox'
import { RecordInvalid } from '../errors.ts'
import { GRANT } from '../records/grants.ts'
import { toHostname } from '../records/hostname.ts'
import type { BindingRecord } from '../records/records.ts'
import { PORT } from '../records/schema.ts'
import { defaultPortOf, type VmParts } from '../vms/vm-parts.ts'
import type { ApiContext } from './context.ts'
import { sortedPorts } from './grant-plans.ts'
import { strict } from './schemas.ts'

export const AUDIENCE_FIELDS = {
  hostname: Type.Optional(
    Type.String({ maxLength: 1_024, description: "one of the VM's host names; its own name unless given" }),
  ),
  port: Type.Optional(PORT),
  ports: GRANT.properties.ports,
}
const AUDIENCE = strict(AUDIENCE_FIELDS)

type AudienceBody = Static<typeof AUDIENCE>

export interface Audience {
  readonly hostname: string
  /** Absent for the default port, whichever that is. */
  readonly ports?: number[]
}

/** @throws RecordInvalid when the VM has no such host name */
export function toAudience(
  { domain }: Pick<ApiContext, 'domain'>,
  parts: VmParts,
  body: AudienceBody,
): Audience {
  const { hostname, port } = getBinding(parts, body, domain)
  const ports = sortedPorts(body.ports) ?? (port === undefined ? undefined : [port])
  return { hostname, ...(ports && { ports }) }
}

function getBinding(parts: VmParts, { hostname, port }: AudienceBody, domain: string): BindingRecord {
  if (hostname !== undefined && port !== undefined) {
    throw new RecordInvalid('/port', 'It cannot be there with "hostname", which leads to a port already.')
  }
  const isDefault = port === defaultPortOf(parts.vm?.record, parts.report?.record)
  const own = port === undefined || isDefault ? parts.name : `${port}--${parts.name}`
  const wanted = hostname === undefined ? `${own}.${domain}` : toHostname(hostname)
  const found = parts.bindings.find(({ record }) => record.hostname === wanted)
  if (found) return found.record
  if (hostname === undefined) throw new RecordInvalid('/port', noSuchPort(parts.name, port))
  throw new RecordInvalid('/hostname', `It must be one of the host names of the VM "${parts.name}".`)
}

function noSuchPort(vm: string, port: number | undefined): string {
  return `It must be a port with a host name: PUT /v1/vms/${vm}/ports/${port} gives it one.`
}
