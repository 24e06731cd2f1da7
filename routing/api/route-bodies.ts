/** What a body says of a route: a VM and one of its ports, or a bare address. */

import { type Static, Type } from 'typebox'
import { RecordInvalid } from '../errors.ts'
import { toAddress } from '../records/address.ts'
import { type Address, ROUTE, type Visibility } from '../records/records.ts'
import { LABEL, PORT } from '../records/schema.ts'
import { strict } from './schemas.ts'

const UPSTREAM = 'an address, as "127.0.0.1:9000", "[::1]:9000" or "app.internal:9000"'

export const ROUTE_BODY = strict(
  {
    vm: Type.Optional(LABEL),
    port: Type.Optional(PORT),
    upstream: Type.Optional(Type.String({ description: UPSTREAM })),
    visibility: Type.Optional(ROUTE.properties.visibility),
    pool: Type.Optional(LABEL),
  },
  {
    examples: [{ vm: 'web', port: 8000 }],
  },
)

export type RouteBody = Static<typeof ROUTE_BODY>

export type RouteTarget =
  | { readonly vm: string; readonly port?: number }
  | { readonly upstream: Address; readonly visibility: Visibility; readonly pool?: string }

/** @throws RecordInvalid */
export function parseRouteBody({ vm, ...body }: RouteBody): RouteTarget {
  return vm === undefined ? parseAddress(body) : parseVmPort(vm, body)
}

function parseAddress({ port, upstream, visibility = 'private', pool }: RouteBody): RouteTarget {
  if (upstream === undefined) throw new RecordInvalid('/vm', 'It must be there, or "upstream" must.')
  if (port !== undefined) throw new RecordInvalid('/port', 'It goes with "vm"; an upstream brings its own.')
  const address = toAddress(upstream)
  if (address === undefined) throw new RecordInvalid('/upstream', `It must be ${UPSTREAM}.`)
  return { upstream: address, visibility, ...(pool !== undefined && { pool }) }
}

function parseVmPort(vm: string, { port, upstream, visibility, pool }: RouteBody): RouteTarget {
  if (upstream !== undefined) throw new RecordInvalid('/upstream', 'It cannot be there together with "vm".')
  if (pool !== undefined) throw new RecordInvalid('/pool', 'It goes with "upstream"; a VM has its own.')
  if (visibility === undefined) return { vm, ...(port !== undefined && { port }) }
  const address = `/v1/vms/${vm}/ports/${port ?? '<port>'}`
  throw new RecordInvalid(
    '/visibility',
    `It goes with "upstream"; of a VM set it on the port: PUT ${address}.`,
  )
}
