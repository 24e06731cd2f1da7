/** Puts dns-01 values into another name server by dynamic updates (RFC 2136), signed with a shared key. */

import { randomInt } from 'node:crypto'
import type { Endpoint } from '../../lib/address-text.ts'
import { codeOf } from '../../lib/node-error.ts'
import { AcmeError } from '../errors.ts'
import { exchange } from './exchange.ts'
import { findValues, findZoneServers, type NameResolver } from './text-values.ts'
import { findTsigFault, signMessage, type TsigKey } from './tsig.ts'
import type { DnsUpdater } from './updater.ts'
import {
  CLASSES,
  findInnerLabels,
  HEADER_BYTES,
  OPCODES,
  parseMessage,
  RCODES,
  TYPES,
  toLabels,
  toWireName,
  writeRecord,
  writeText,
} from './wire.ts'

export interface DnsUpdaterDeps {
  /** Finds the zone's name servers; absent: only the update server is asked whether a value is there. */
  readonly resolver?: NameResolver
}

export interface DnsUpdaterSettings {
  readonly server: Endpoint
  /** Lower case, as `example.com`. */
  readonly zone: string
  readonly key: TsigKey
  /** For one query or update. Default 5,000. */
  readonly timeoutMs?: number
  /** Of the zone's name servers. Default 53. */
  readonly nameserverPort?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

/** The CA reads it once; longer would only keep an old one alive in resolvers. */
const TTL_S = 1
const MAX_ENTRIES = 64

interface Change {
  readonly name: string
  readonly value: string
  readonly class: number
  readonly ttl: number
}

export function createDnsUpdater({ resolver }: DnsUpdaterDeps, settings: DnsUpdaterSettings): DnsUpdater {
  const { server, zone, timeoutMs = 5_000, nameserverPort = 53 } = settings
  const zoneLabels = toLabels(zone)
  const ask = (endpoint: Endpoint, name: string, signal: AbortSignal) =>
    findValues(name, { server: endpoint, timeoutMs, signal })

  return {
    covers: (name) => findInnerLabels(toLabels(name), zoneLabels) !== undefined,
    // RFC 2136 section 2.5.1, and 2.5.4 for one value alone.
    add: (name, value, signal) =>
      update({ name, value, class: CLASSES.IN, ttl: TTL_S }, { ...settings, timeoutMs, signal }),
    remove: (name, value, signal) =>
      update({ name, value, class: CLASSES.NONE, ttl: 0 }, { ...settings, timeoutMs, signal }),
    isVisible: async (name, value, signal) => {
      const first = await ask(server, name, signal)
      // An answer may be lost; whoever waits for the value asks again.
      if (first?.includes(value) !== true) return false
      const others = await findZoneServers({ resolver, zone, port: nameserverPort }, { timeoutMs, signal })
      const found = await Promise.all(others.map((other) => ask(other, name, signal)))
      return found.every((values) => values === undefined || values.includes(value))
    },
  }
}

interface UpdateSettings extends DnsUpdaterSettings {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

async function update(change: Change, settings: UpdateSettings): Promise<void> {
  const { key, zone, signal, now = Date.now } = settings
  const { bytes, mac } = signMessage(toMessage(change, zone), key, { now: now() })
  const answer = await exchange(bytes, settings).catch((cause: unknown) => {
    signal.throwIfAborted()
    const why = codeOf(cause) ?? (cause instanceof Error ? cause.message : '')
    throw refusal(`the DNS server cannot be updated: ${why}`, cause)
  })
  const fault = findTsigFault(answer, key, { requestMac: mac, now: now() })
  const rcode = parseMessage(answer, { entries: MAX_ENTRIES })?.rcode
  if (rcode !== RCODES.NOERROR || fault !== undefined) {
    throw refusal(`the DNS server answered ${toRcodeText(rcode)}${fault ? `; ${fault}` : ''}`)
  }
}

/** @throws AcmeError when the name cannot be one in DNS */
function toMessage({ name, value, class: cls, ttl }: Change, zone: string): Buffer {
  const head = Buffer.alloc(HEADER_BYTES)
  head.writeUInt16BE(randomInt(65_536), 0)
  head.writeUInt16BE(OPCODES.UPDATE << 11, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(1, 8)
  const zoneEnd = Buffer.from([0, TYPES.SOA, 0, CLASSES.IN])
  try {
    const record = { name: toWireName(name), type: TYPES.TXT, class: cls, ttl, data: writeText(value) }
    return Buffer.concat([head, toWireName(zone), zoneEnd, writeRecord(record)])
  } catch (cause) {
    throw refusal(`${name} cannot be a name in DNS`, cause)
  }
}

function toRcodeText(rcode: number | undefined): string {
  const [name = 'nonsense'] = Object.entries(RCODES).find(([, code]) => code === rcode) ?? []
  return name
}

function refusal(detail: string, cause?: unknown): AcmeError {
  return new AcmeError('certificate_dns_update', { detail, ...(cause !== undefined && { cause }) })
}
