/** A DNS server on UDP for one test: it answers from a list, and fails in the ways that real ones do. */

import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import type { Test } from 'tap'

/** What is known of a name: records by type, or a response code of RFC 1035 section 4.1.1, or no answer at all. */
export type DnsAnswer =
  | { readonly txt?: readonly (readonly string[])[]; readonly cname?: string }
  | 'SERVFAIL'
  | 'REFUSED'
  | 'silence'

export interface DnsServer {
  /** Names in lower case; whatever is not here does not exist. */
  readonly zone: Map<string, DnsAnswer>
  /** What was asked, as `TXT name`. */
  readonly asked: string[]
  /** Asks this server and no other. */
  readonly resolver: Resolver
}

const CODES = { SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const
const TYPES = { 5: 'CNAME', 16: 'TXT' } as const
/** A response, recursion wanted and offered. */
const FLAGS = 0x8180

export async function dnsServerFor(
  t: Test,
  zone: Iterable<readonly [string, DnsAnswer]> = [],
): Promise<DnsServer> {
  const socket = createSocket('udp4')
  const server = { zone: new Map(zone), asked: [] as string[] }
  socket.on('message', (query, { port, address }) => {
    const answer = answerTo(query, server)
    if (answer) socket.send(answer, port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const resolver = new Resolver({ timeout: 30_000, tries: 1 })
  resolver.setServers([`127.0.0.1:${socket.address().port}`])
  t.teardown(() => {
    resolver.cancel()
    socket.close()
  })
  return { ...server, resolver }
}

function answerTo(query: Buffer, { zone, asked }: Pick<DnsServer, 'zone' | 'asked'>): Buffer | undefined {
  const { name, end } = readName(query)
  const type = query.readUInt16BE(end)
  asked.push(`${TYPES[type as keyof typeof TYPES] ?? type} ${name}`)
  const known = zone.get(name)
  if (known === 'silence') return undefined
  const question = query.subarray(12, end + 4)
  if (known === undefined) return toMessage(query, { question, code: CODES.NXDOMAIN, records: [] })
  if (typeof known === 'string') return toMessage(query, { question, code: CODES[known], records: [] })
  const texts =
    type === 16 ? (known.txt ?? []).map((parts) => toRecord(16, Buffer.concat(parts.map(toText)))) : []
  const names = known.cname === undefined || type !== 5 ? [] : [toRecord(5, toName(known.cname))]
  return toMessage(query, { question, code: 0, records: [...texts, ...names] })
}

function readName(query: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 }
}

interface Reply {
  readonly question: Buffer
  readonly code: number
  readonly records: readonly Buffer[]
}

function toMessage(query: Buffer, { question, code, records }: Reply): Buffer {
  const head = Buffer.alloc(12)
  query.copy(head, 0, 0, 2)
  head.writeUInt16BE(FLAGS | code, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(records.length, 6)
  return Buffer.concat([head, question, ...records])
}

/** For the question's own name, which is at offset 12. */
function toRecord(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(0xc00c, 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(data.length, 10)
  return Buffer.concat([head, data])
}

function toName(name: string): Buffer {
  return Buffer.concat([...name.split('.').map(toText), Buffer.from([0])])
}

function toText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}
