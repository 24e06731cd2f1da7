/** What the delegated zone holds: its apex with SOA and NS, and below it one label for each name that is being proven. */

import type { CertificateTable } from '../books.ts'
import {
  CLASSES,
  HEADER_BYTES,
  type Labels,
  MAX_NAME_BYTES,
  RCODES,
  TYPES,
  toWireName,
  writeRecord,
  writeText,
} from './wire.ts'

/** Nobody may keep what is there for one challenge, nor that it was not there yet (RFC 2308 section 5). */
const VALUE_TTL_S = 0
const NEGATIVE_TTL_S = 1
const SERVERS_TTL_S = 300
/** What came since an older table was right is not known here. */
const MAX_AGE_MS = 30_000
/** A label that has more is no challenge's; an answer has to fit into 64 KiB. */
const MAX_VALUES = 100
/** There are no transfers, so the serial never tells anything; `isOurSoa` knows the zone by them. */
const SOA_NUMBERS = { serial: 1, refresh: 3_600, retry: 600, expire: 86_400, minttl: NEGATIVE_TTL_S }

export interface ZoneSettings {
  /** Lower case, without a dot at its end. */
  readonly zone: string
  /** Host names of its servers; the first one stands in the SOA too. */
  readonly names: readonly string[]
}

export type ZoneTable = Pick<CertificateTable, 'ageMs' | 'findTxt' | 'ready'>

export interface ZoneFindings {
  readonly rcode: number
  readonly answers: readonly Buffer[]
  readonly authorities: readonly Buffer[]
}

export interface Zone {
  /** `inner` are the labels in front of the zone's own; a table's name is looked for with the first of them alone. */
  find(inner: Labels, type: number): ZoneFindings
}

/** What Node's `resolveSoa` tells. */
export interface SoaView {
  readonly hostmaster: string
  readonly serial: number
  readonly minttl: number
}

/** Whether a responder of ours wrote it. */
export function isOurSoa({ hostmaster, serial, minttl }: SoaView, zone: string): boolean {
  const { serial: ours, minttl: negative } = SOA_NUMBERS
  return hostmaster.toLowerCase() === `hostmaster.${zone}` && serial === ours && minttl === negative
}

/** @throws RangeError for names that DNS cannot have */
export function createZone({ table }: { readonly table: ZoneTable }, { zone, names }: ZoneSettings): Zone {
  const [first = `ns.${zone}`] = names
  const soaOf = createSoa(toWireName(first), toWireName(zone))
  const servers = names.map((name) => writeOwn(TYPES.NS, { ttl: SERVERS_TTL_S, data: toWireName(name) }))
  const deny = (inner: Labels, rcode: number) => ({ rcode, answers: [], authorities: [soaOf(inner)] })
  const found = (answers: readonly Buffer[]) => ({ rcode: RCODES.NOERROR, answers, authorities: [] })

  const findApex = (type: number): ZoneFindings => {
    // RFC 8482 section 4.1: one kind of record is answer enough for ANY.
    if (type === TYPES.SOA || type === TYPES.ANY) return found([soaOf([])])
    return type === TYPES.NS ? found(servers) : deny([], RCODES.NOERROR)
  }
  return {
    find: (inner, type) => {
      const [label, ...deeper] = inner
      if (label === undefined) return findApex(type)
      const values = deeper.length > 0 || label.includes('.') ? [] : table.findTxt(label)
      if (!isSure(table, values)) return { rcode: RCODES.SERVFAIL, answers: [], authorities: [] }
      if (values.length === 0) return deny(inner, RCODES.NXDOMAIN)
      if (type !== TYPES.TXT && type !== TYPES.ANY) return deny(inner, RCODES.NOERROR)
      return found(values.slice(0, MAX_VALUES).map(writeValue))
    },
  }
}

/** Whoever gets no answer tries the next server; a denial would be believed. */
function isSure({ ready, ageMs }: ZoneTable, values: readonly string[]): boolean {
  return ready && (values.length > 0 || ageMs <= MAX_AGE_MS)
}

function writeValue(value: string): Buffer {
  return writeOwn(TYPES.TXT, { ttl: VALUE_TTL_S, data: writeText(value) })
}

function writeOwn(type: number, rest: { readonly ttl: number; readonly data: Buffer }): Buffer {
  return writeRecord({ name: toPointer(HEADER_BYTES), type, class: CLASSES.IN, ...rest })
}

/**
 * The record for a question with these labels in front of the zone's. The zone's name is pointed to where the question has it,
 * and checks ask for this record to see whether the zone is answered now, so that it is kept by nobody either.
 */
function createSoa(server: Buffer, zone: Buffer): (inner: Labels) => Buffer {
  const mailbox = toWireName('hostmaster').subarray(0, -1)
  if (mailbox.length + zone.length > MAX_NAME_BYTES) throw new RangeError('the name of the zone is too long')
  const numbers = Buffer.alloc(20)
  const { serial, refresh, retry, expire, minttl } = SOA_NUMBERS
  for (const [index, number] of [serial, refresh, retry, expire, minttl].entries()) {
    numbers.writeUInt32BE(number, index * 4)
  }
  return (inner) => {
    const name = toPointer(HEADER_BYTES + inner.reduce((sum, { length }) => sum + length + 1, 0))
    const data = Buffer.concat([server, mailbox, name, numbers])
    return writeRecord({ name, type: TYPES.SOA, class: CLASSES.IN, ttl: NEGATIVE_TTL_S, data })
  }
}

/** RFC 1035 section 4.1.4: two bytes instead of up to 255 keep answers small. */
function toPointer(offset: number): Buffer {
  const pointer = Buffer.alloc(2)
  pointer.writeUInt16BE(0xc000 + offset, 0)
  return pointer
}
