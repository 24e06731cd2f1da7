/** The body of `PUT /v1/routes/{hostname}`. */

import { toAddress } from './address.ts'
import { RecordInvalid } from './errors.ts'
import { FieldReader, PORT_BOUNDS } from './field-reader.ts'
import { VISIBILITIES, VM_NAME } from './records.ts'
import type { Target, WantedRoute } from './vm-routes.ts'

const FIELDS = ['upstream', 'vm', 'port', 'visibility']

/** Visibility is `private` unless the body says otherwise. @throws RecordInvalid */
export function parseRouteBody(body: unknown): Omit<WantedRoute, 'hostname'> {
  const fields = new FieldReader(body, FIELDS)
  const visibility = fields.has('visibility') ? fields.choice('visibility', VISIBILITIES) : 'private'
  return { visibility, target: parseTarget(fields) }
}

function parseTarget(fields: FieldReader): Target {
  const hasVm = fields.has('vm') || fields.has('port')
  const hasUpstream = fields.has('upstream')
  if (hasVm && hasUpstream) {
    throw new RecordInvalid('/upstream', 'Give either "upstream", or "vm" and "port", not both.')
  }
  if (hasVm) return { vm: fields.text('vm', VM_NAME), port: fields.int('port', PORT_BOUNDS) }
  if (!hasUpstream) throw new RecordInvalid('', 'Give either "upstream", or "vm" and "port".')
  return { upstream: fields.parsed('upstream', parseUpstream) }
}

function parseUpstream(value: unknown, pointer: string) {
  const address = typeof value === 'string' ? toAddress(value) : undefined
  if (address !== undefined) return address
  const forms = '"127.0.0.1:9000", "[::1]:9000" or "app.internal:9000"'
  throw new RecordInvalid(pointer, `It must be an address with a port: ${forms}.`)
}
