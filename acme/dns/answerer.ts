/** From one query's bytes to its answer's bytes: an authoritative server that knows one zone and asks nobody. */

import {
  CLASSES,
  FLAGS,
  findInnerLabels,
  HEADER_BYTES,
  type Labels,
  OPCODES,
  parseMessage,
  RCODES,
  TYPES,
  toLabels,
  type WireMessage,
  type WireQuestion,
  type WireRecord,
  writeRecord,
} from './wire.ts'
import type { Zone, ZoneFindings } from './zone.ts'

/** A longest name with EDNS, cookie and client subnet needs fewer. */
export const MAX_QUERY_BYTES = 512
/** RFC 1035 section 4.2.1: without EDNS. */
const PLAIN_UDP_BYTES = 512
/** No IP fragments on any usual path, as the DNS flag day of 2020 has it. */
const EDNS_UDP_BYTES = 1_232
const TCP_BYTES = 65_535
/** One question, its OPT, and a signature that nobody here can check. */
const QUERY_ENTRIES = 3
const ROOT = Buffer.from([0])
const DNSSEC_OK = 0x8000
/** RFC 6895 section 3.1: not kinds of data but of transactions. */
const META_TYPES = { from: 128, to: 254 }

export type Transport = 'udp' | 'tcp'

export interface Answerer {
  /** Undefined when silence is right: for what is no query. Never throws, whatever the bytes. */
  answer(query: Buffer, transport: Transport): Buffer | undefined
  /** Says "come over TCP" in as many bytes as the question had, or fewer. */
  truncate(query: Buffer): Buffer | undefined
}

interface Edns {
  readonly udpBytes: number
  readonly version: number
  readonly isDnssecOk: boolean
}

interface Reply {
  readonly rcode: number
  /** AA and TC. */
  readonly flags?: number
  readonly question?: WireQuestion
  readonly edns?: Edns
  readonly findings?: Pick<ZoneFindings, 'answers' | 'authorities'>
}

export function createAnswerer(
  { zone }: { readonly zone: Zone },
  settings: { readonly zone: string },
): Answerer {
  const zoneLabels = toLabels(settings.zone)
  return {
    answer: (query, transport) => {
      if (!isQuery(query)) return undefined
      const reply = judge(query, { zone, zoneLabels })
      const answer = write(query, reply)
      if (answer.length <= findLimit(transport, reply.edns)) return answer
      return write(query, cut(reply))
    },
    truncate: (query) => {
      if (!isQuery(query)) return undefined
      const { question, edns } = judge(query, { zone, zoneLabels })
      if (question === undefined) return undefined
      return write(query, {
        rcode: RCODES.NOERROR,
        flags: FLAGS.AA | FLAGS.TC,
        question,
        ...(edns && { edns }),
      })
    },
  }
}

/** Answers of others are never answered, so two servers cannot be made to talk to each other for ever. */
function isQuery(bytes: Buffer): boolean {
  return bytes.length >= HEADER_BYTES && (bytes.readUInt16BE(2) & FLAGS.QR) === 0
}

function judge(query: Buffer, home: { readonly zone: Zone; readonly zoneLabels: Labels }): Reply {
  if (((query.readUInt16BE(2) >> 11) & 15) !== OPCODES.QUERY) return { rcode: RCODES.NOTIMP }
  const message = query.length > MAX_QUERY_BYTES ? undefined : parseMessage(query, { entries: QUERY_ENTRIES })
  const [question] = message?.questions ?? []
  if (message === undefined || question === undefined || !isPlainQuery(message)) {
    return { rcode: RCODES.FORMERR }
  }
  const edns = findEdns(message.additionals)
  const shared = { question, ...(edns && { edns }) }
  if (edns && edns.version > 0) return { ...shared, rcode: RCODES.BADVERS }
  const inner = findInnerLabels(question.labels, home.zoneLabels)
  if (inner === undefined || isForeign(question)) return { ...shared, rcode: RCODES.REFUSED }
  const { rcode, ...findings } = home.zone.find(inner, question.type)
  return { ...shared, rcode, flags: rcode === RCODES.SERVFAIL ? 0 : FLAGS.AA, findings }
}

/** RFC 9619: one question; RFC 6891 section 6.1.1: at most one OPT, at the root. */
function isPlainQuery({ questions, answers, authorities, additionals }: WireMessage): boolean {
  const options = additionals.filter(({ type }) => type === TYPES.OPT)
  const hasOneQuestion = questions.length === 1 && answers.length === 0 && authorities.length === 0
  return hasOneQuestion && options.length <= 1 && options.every(({ labels }) => labels.length === 0)
}

function isForeign({ type, class: cls }: WireQuestion): boolean {
  const isMeta = type === TYPES.OPT || (type >= META_TYPES.from && type <= META_TYPES.to)
  return isMeta || (cls !== CLASSES.IN && cls !== CLASSES.ANY)
}

/** RFC 6891 section 6.1.3. Options are not read: each of them may be ignored (section 6.1.2). */
function findEdns(additionals: readonly WireRecord[]): Edns | undefined {
  const option = additionals.find(({ type }) => type === TYPES.OPT)
  if (option === undefined) return undefined
  const { class: udpBytes, ttl } = option
  return { udpBytes, version: (ttl >> 16) & 255, isDnssecOk: (ttl & DNSSEC_OK) !== 0 }
}

function findLimit(transport: Transport, edns: Edns | undefined): number {
  if (transport === 'tcp') return TCP_BYTES
  if (edns === undefined) return PLAIN_UDP_BYTES
  return Math.min(Math.max(edns.udpBytes, PLAIN_UDP_BYTES), EDNS_UDP_BYTES)
}

/** RFC 2181 section 9: no part of a record set, so the client comes over TCP. */
function cut({ findings: _, ...reply }: Reply): Reply {
  return { ...reply, flags: (reply.flags ?? 0) | FLAGS.TC }
}

/** The question is copied as it came, in its own case (draft-vixie-dnsext-dns0x20), and RD with it. */
function write(query: Buffer, { rcode, flags = 0, question, edns, findings }: Reply): Buffer {
  const { answers = [], authorities = [] } = findings ?? {}
  const additionals = edns ? [writeEdns(rcode, edns)] : []
  const head = Buffer.alloc(HEADER_BYTES)
  query.copy(head, 0, 0, 2)
  const kept = query.readUInt16BE(2) & (FLAGS.RD | (15 << 11))
  head.writeUInt16BE(FLAGS.QR | kept | flags | (rcode & 15), 2)
  const sections = [
    question ? [query.subarray(HEADER_BYTES, question.end)] : [],
    answers,
    authorities,
    additionals,
  ]
  for (const [index, section] of sections.entries()) head.writeUInt16BE(section.length, 4 + index * 2)
  return Buffer.concat([head, ...sections.flat()])
}

function writeEdns(rcode: number, { isDnssecOk }: Edns): Buffer {
  const ttl = (rcode >> 4) * 2 ** 24 + (isDnssecOk ? DNSSEC_OK : 0)
  return writeRecord({ name: ROOT, type: TYPES.OPT, class: EDNS_UDP_BYTES, ttl, data: Buffer.alloc(0) })
}
