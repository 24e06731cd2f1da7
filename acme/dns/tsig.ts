/** Signs DNS messages with a shared key and checks the answers' signatures (RFC 8945), by HMAC with SHA-2 alone. */

import { createHmac, timingSafeEqual } from 'node:crypto'
import {
  CLASSES,
  parseMessage,
  readName,
  TYPES,
  toLabels,
  toWireName,
  type WireRecord,
  writeRecord,
} from './wire.ts'

/** RFC 8945 section 6; what is truncated or older is not spoken. */
export const TSIG_ALGORITHMS = {
  'hmac-sha256': 'sha256',
  'hmac-sha384': 'sha384',
  'hmac-sha512': 'sha512',
} as const

export type TsigAlgorithm = keyof typeof TSIG_ALGORITHMS

export interface TsigKey {
  readonly name: string
  readonly algorithm: TsigAlgorithm
  readonly secret: Buffer
}

export interface SignedMessage {
  readonly bytes: Buffer
  /** The answer's signature covers it. */
  readonly mac: Buffer
}

/** RFC 8945 section 10 recommends it. */
const FUDGE_S = 300
const MAX_ENTRIES = 64
const ERRORS: Readonly<Record<number, string>> = {
  16: 'the server says that the signature is wrong (BADSIG): the secrets differ',
  17: 'the server does not know the key (BADKEY)',
  18: 'the clocks differ by too much (BADTIME)',
  22: 'the server wants no shortened signature (BADTRUNC)',
}

interface TsigFields {
  /** Unix seconds. */
  readonly time: number
  readonly fudge: number
  readonly error: number
  readonly other: Buffer
}

interface TsigData extends TsigFields {
  readonly algorithm: readonly string[]
  readonly mac: Buffer
  readonly originalId: number
}

/** `message` has no signature yet; `now` is Unix milliseconds. */
export function signMessage(message: Buffer, key: TsigKey, { now }: { readonly now: number }): SignedMessage {
  const fields = { time: Math.floor(now / 1_000), fudge: FUDGE_S, error: 0, other: Buffer.alloc(0) }
  const mac = digest(key, [message, toVariables(key, fields)])
  const data = Buffer.concat([
    toWireName(key.algorithm),
    writeTime(fields),
    ...[writeUInt16(mac.length), mac, message.subarray(0, 2), writeUInt16(0), writeUInt16(0)],
  ])
  const record = writeRecord({
    name: toWireName(key.name),
    type: TYPES.TSIG,
    class: CLASSES.ANY,
    ttl: 0,
    data,
  })
  const bytes = Buffer.concat([message, record])
  bytes.writeUInt16BE(bytes.readUInt16BE(10) + 1, 10)
  return { bytes, mac }
}

/** What is wrong with the answer's signature, as a sentence's part; undefined when it is right. */
export function findTsigFault(
  answer: Buffer,
  key: TsigKey,
  { requestMac, now }: { readonly requestMac: Buffer; readonly now: number },
): string | undefined {
  const record = parseMessage(answer, { entries: MAX_ENTRIES })?.additionals.at(-1)
  if (record?.type !== TYPES.TSIG) return 'the answer is not signed'
  const data = parseData(record)
  if (data === undefined) return 'the signature of the answer cannot be read'
  if (!isSame(record.labels, key.name) || !isSame(data.algorithm, key.algorithm)) {
    return 'the answer is signed with another key'
  }
  // RFC 8945 section 5.3.2: about these two the server cannot sign.
  if (data.error === 16 || data.error === 17) return ERRORS[data.error]
  const unsigned = stripRecord(answer, record, data.originalId)
  const mac = digest(key, [writeUInt16(requestMac.length), requestMac, unsigned, toVariables(key, data)])
  if (mac.length !== data.mac.length || !timingSafeEqual(mac, data.mac)) {
    return 'the signature of the answer is wrong'
  }
  if (data.error !== 0) return ERRORS[data.error] ?? `the server says TSIG error ${data.error}`
  const isInTime = Math.abs(now / 1_000 - data.time) <= data.fudge + 1
  return isInTime ? undefined : 'the answer was signed at another time'
}

function isSame(labels: readonly string[], name: string): boolean {
  return labels.join('.') === toLabels(name).join('.')
}

function digest({ algorithm, secret }: TsigKey, parts: readonly Buffer[]): Buffer {
  const hmac = createHmac(TSIG_ALGORITHMS[algorithm], secret)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}

/** RFC 8945 section 4.3.3. */
function toVariables({ name, algorithm }: TsigKey, fields: TsigFields): Buffer {
  const { error, other } = fields
  return Buffer.concat([
    ...[
      toWireName(name),
      writeUInt16(CLASSES.ANY),
      Buffer.alloc(4),
      toWireName(algorithm),
      writeTime(fields),
    ],
    ...[writeUInt16(error), writeUInt16(other.length), other],
  ])
}

/** The message as it was before it was signed (RFC 8945 section 4.3.2): a forwarder may have changed its number. */
function stripRecord(message: Buffer, { start }: WireRecord, originalId: number): Buffer {
  const plain = Buffer.from(message.subarray(0, start))
  plain.writeUInt16BE(originalId, 0)
  plain.writeUInt16BE(plain.readUInt16BE(10) - 1, 10)
  return plain
}

function parseData({ data, class: cls, ttl }: WireRecord): TsigData | undefined {
  // RFC 8945 section 4.2: these two are not signed, they just have to be so.
  if (cls !== CLASSES.ANY || ttl !== 0) return undefined
  try {
    // The record's data alone, so that the algorithm's name cannot point out of it.
    const { labels, end } = readName(data, 0)
    const macEnd = end + 10 + data.readUInt16BE(end + 8)
    const otherEnd = macEnd + 6 + data.readUInt16BE(macEnd + 4)
    if (otherEnd !== data.length) return undefined
    return {
      ...{ algorithm: labels, time: data.readUIntBE(end, 6), fudge: data.readUInt16BE(end + 6) },
      ...{ mac: data.subarray(end + 10, macEnd), originalId: data.readUInt16BE(macEnd) },
      ...{ error: data.readUInt16BE(macEnd + 2), other: data.subarray(macEnd + 6, otherEnd) },
    }
  } catch {
    return undefined
  }
}

function writeTime({ time, fudge }: TsigFields): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUIntBE(time, 0, 6)
  bytes.writeUInt16BE(fudge, 6)
  return bytes
}

function writeUInt16(number: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(number, 0)
  return bytes
}
