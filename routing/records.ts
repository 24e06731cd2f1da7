/** The records that the table holds, and the parsers that refuse anything else. */

import { parseAddressRecord } from './address.ts'
import { RecordInvalid } from './errors.ts'
import { FieldReader, PORT_BOUNDS } from './field-reader.ts'
import { isLabel, isRouteHostname } from './hostname.ts'

export type Visibility = 'public' | 'private'
export type VmState = 'running' | 'stopped'

/** How an edge dials an upstream. */
export interface Address {
  /** An IP address or host name. */
  readonly host: string
  /** 1–65535. */
  readonly port: number
}

/** `route/<hostname>`: flat, everything an edge needs to serve one hostname. */
export interface RouteRecord {
  /** Canonical: lower case, no trailing dot, IDNA A-labels. */
  readonly hostname: string
  readonly visibility: Visibility
  /** The VM behind the name; absent for a route to a bare address. */
  readonly vm?: string
  /** The VM's port; present with `vm`. */
  readonly port?: number
  /** Where to dial; absent while the VM is stopped or has nothing mapped to the port. */
  readonly upstream?: Address
  readonly state: VmState
  /** Goes up with each change of the VM's owner; connections are not reused across generations. */
  readonly generation: number
}

/** `vm/<name>`: what a host reports of one VM. */
export interface VmRecord {
  readonly name: string
  readonly state: VmState
  readonly generation: number
  /** The VM's ports, in decimal, and how each is dialled. */
  readonly ports: Readonly<Record<string, Address>>
}

export const ROUTE_PREFIX = 'route/'
export const VM_PREFIX = 'vm/'
/** `seed/<hostname>`: this route was made by the first start and must not be made again. */
export const SEED_PREFIX = 'seed/'
export const VISIBILITIES = ['public', 'private'] as const satisfies readonly Visibility[]
export const VM_NAME = { what: "a VM's name (one DNS label in lower case)", accepts: isLabel }

const STATES = ['running', 'stopped'] as const satisfies readonly VmState[]
const CANONICAL_HOSTNAME = { what: 'a host name in canonical form', accepts: isRouteHostname }
const ROUTE_FIELDS = ['hostname', 'visibility', 'vm', 'port', 'upstream', 'state', 'generation']
const VM_FIELDS = ['name', 'state', 'generation', 'ports']
const DECIMAL_PORT = /^[1-9]\d{0,4}$/

/** A frozen record. With `key`, it must be the record's own. @throws RecordInvalid */
export function parseRouteRecord(value: unknown, key?: string): RouteRecord {
  const fields = new FieldReader(value, ROUTE_FIELDS)
  const hasVm = fields.has('vm') || fields.has('port')
  const record = {
    hostname: fields.text('hostname', CANONICAL_HOSTNAME),
    visibility: fields.choice('visibility', VISIBILITIES),
    ...(hasVm && { vm: fields.text('vm', VM_NAME), port: fields.int('port', PORT_BOUNDS) }),
    ...((!hasVm || fields.has('upstream')) && { upstream: fields.parsed('upstream', parseAddressRecord) }),
    state: fields.choice('state', STATES),
    generation: fields.int('generation', { min: 0 }),
  }
  checkKey(key, { prefix: ROUTE_PREFIX, field: 'hostname', name: record.hostname })
  return Object.freeze(record)
}

/** A frozen record. With `key`, it must be the record's own. @throws RecordInvalid */
export function parseVmRecord(value: unknown, key?: string): VmRecord {
  const fields = new FieldReader(value, VM_FIELDS)
  const record = {
    name: fields.text('name', VM_NAME),
    state: fields.choice('state', STATES),
    generation: fields.int('generation', { min: 0 }),
    ports: fields.parsed('ports', parsePorts),
  }
  checkKey(key, { prefix: VM_PREFIX, field: 'name', name: record.name })
  return Object.freeze(record)
}

function parsePorts(value: unknown, pointer: string): Readonly<Record<string, Address>> {
  const ports = Object.keys(Object(value))
  const wrong = ports.find((port) => !DECIMAL_PORT.test(port) || Number(port) > PORT_BOUNDS.max)
  const fields = new FieldReader(value, ports, pointer)
  if (wrong !== undefined) throw new RecordInvalid(pointer, `"${wrong}" is not a port from 1 to 65535.`)
  const addresses = ports.map((port) => [port, fields.parsed(port, parseAddressRecord)] as const)
  return Object.freeze(Object.fromEntries(addresses))
}

function checkKey(key: string | undefined, own: { prefix: string; field: string; name: string }): void {
  if (key === undefined || key === own.prefix + own.name) return
  throw new RecordInvalid(`/${own.field}`, `It does not match the record's key "${key}".`)
}
