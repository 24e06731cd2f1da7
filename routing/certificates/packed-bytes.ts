/** How certificates and renewals are laid out as bytes: a head of 64 that both begin with, the record's key, and the rest. */

import { toMoment } from '../../lib/moment.ts'
import type { CertificateRecord, KeyType, RenewalRecord } from '../records/certificates.ts'
import { KEY_TYPES } from '../records/certificates.ts'
import { CERTIFICATES } from '../records/record-kinds.ts'
import type { KnownRenewal } from './known-certificate.ts'
import { parseRenewalOf, type RenewalSubject } from './renewal-of.ts'
import type { SharedTexts } from './shared-texts.ts'

/** Where an entry is. */
export interface Place {
  readonly bytes: Buffer
  readonly start: number
}

const REVISION_AT = 0
const KEY_LENGTH_AT = 8
const NAMES_LENGTH_AT = 10
const FLAGS_AT = 12
const CHAIN_COUNT_AT = 13
const SEALED_LENGTH_AT = 14
const NOT_BEFORE_AT = 16
const NOT_AFTER_AT = 24
const CREATED_AT = 32
const LEAF_LENGTH_AT = 40
const CA_AT = 44
const PROFILE_AT = 48
const KEY_ID_AT = 52
/** Of a renewal, which has no names. */
const RENEW_AT = 16
const ASK_AT = 24
const WINDOW_START_AT = 32
const WINDOW_END_AT = 40
const OF_NOT_AFTER_AT = 48
const OF_CREATED_AT = 56
const REASON_AT = 12
const HEAD_BYTES = 64

const NUMBER_BYTES = 4
const UPLOADED = 2
const LINE_END = 10
/** More than the largest record that its schema lets through, and less than a slab. */
const scratch = Buffer.alloc(196_608)

export interface Packing {
  readonly key: string
  readonly revision: number
}

/** Holds texts; to be copied before the next call. */
export function packCertificate(
  record: CertificateRecord,
  { key, revision }: Packing,
  texts: SharedTexts,
): Buffer {
  const [leaf = '', ...intermediates] = record.chain
  const names = [...new Set(record.names)].map((name) => `${name}\n`).join('')
  let at = writeKey({ key, revision })
  at += scratch.write(names, at, 'latin1')
  for (const text of intermediates) at = scratch.writeUInt32LE(texts.hold(text), at)
  const leafLength = scratch.write(leaf, at, 'base64')
  at += leafLength
  const sealedLength = scratch.write(record.sealedKey.data, at, 'base64url')
  at += sealedLength
  scratch.writeUInt16LE(names.length, NAMES_LENGTH_AT)
  scratch.writeUInt8(
    KEY_TYPES.indexOf(record.keyType) + (record.source === 'upload' ? UPLOADED : 0),
    FLAGS_AT,
  )
  scratch.writeUInt8(intermediates.length, CHAIN_COUNT_AT)
  scratch.writeUInt16LE(sealedLength, SEALED_LENGTH_AT)
  scratch.writeDoubleLE(Date.parse(record.notBefore), NOT_BEFORE_AT)
  scratch.writeDoubleLE(Date.parse(record.notAfter), NOT_AFTER_AT)
  scratch.writeDoubleLE(Date.parse(record.createdAt), CREATED_AT)
  scratch.writeUInt32LE(leafLength, LEAF_LENGTH_AT)
  scratch.writeUInt32LE(texts.hold(record.ca), CA_AT)
  scratch.writeUInt32LE(texts.hold(record.profile), PROFILE_AT)
  scratch.writeUInt32LE(texts.hold(record.sealedKey.keyId), KEY_ID_AT)
  return scratch.subarray(0, at)
}

/** As `packCertificate`. */
export function packRenewal(record: RenewalRecord, packing: Packing, texts: SharedTexts): Buffer {
  const end = writeKey(packing)
  const of = parseRenewalOf(record.of)
  scratch.writeUInt32LE(texts.hold(record.reason), REASON_AT)
  scratch.writeDoubleLE(Date.parse(record.renewAt), RENEW_AT)
  scratch.writeDoubleLE(Date.parse(record.askAt), ASK_AT)
  scratch.writeDoubleLE(Date.parse(record.windowStart ?? ''), WINDOW_START_AT)
  scratch.writeDoubleLE(Date.parse(record.windowEnd ?? ''), WINDOW_END_AT)
  scratch.writeDoubleLE(of.notAfterMs, OF_NOT_AFTER_AT)
  scratch.writeDoubleLE(of.createdAtMs, OF_CREATED_AT)
  return scratch.subarray(0, end)
}

/** Gives back what packing it has held. */
export function releaseTexts(place: Place, texts: SharedTexts): void {
  if (!isCertificateAt(place)) {
    texts.release(numberAt(place, REASON_AT))
    return
  }
  for (const at of [CA_AT, PROFILE_AT, KEY_ID_AT]) texts.release(numberAt(place, at))
  const from = chainAt(place)
  for (let index = 0; index < chainCountOf(place); index += 1) {
    texts.release(numberAt(place, from + index * NUMBER_BYTES))
  }
}

export function revisionAt(place: Place): number {
  return timeAt(place, REVISION_AT)
}

/** `certificate/example.test/ec` */
export function keyAt({ bytes, start }: Place): string {
  return bytes.toString(
    'latin1',
    start + HEAD_BYTES,
    start + HEAD_BYTES + bytes.readUInt16LE(start + KEY_LENGTH_AT),
  )
}

export function isKeyAt({ bytes, start }: Place, key: string): boolean {
  return bytes.readUInt16LE(start + KEY_LENGTH_AT) === key.length && isTextAt(bytes, start + HEAD_BYTES, key)
}

/** A renewal has no names, a certificate one at least. */
export function isCertificateAt(place: Place): boolean {
  return namesLengthOf(place) > 0
}

export function namesAt(place: Place): readonly string[] {
  const { bytes } = place
  const from = namesStartOf(place)
  const end = from + namesLengthOf(place)
  return end === from ? [] : bytes.toString('latin1', from, end - 1).split('\n')
}

export function hasNameAt(place: Place, name: string): boolean {
  const { bytes } = place
  const end = namesStartOf(place) + namesLengthOf(place)
  for (let at = namesStartOf(place); at < end; at = bytes.indexOf(LINE_END, at) + 1) {
    if (bytes[at + name.length] === LINE_END && isTextAt(bytes, at, name)) return true
  }
  return false
}

/** `example.test` of `certificate/example.test/ec` */
export function nameAt(place: Place): string {
  const key = keyAt(place)
  return key.slice(CERTIFICATES.prefix.length, key.lastIndexOf('/'))
}

export function keyTypeAt({ bytes, start }: Place): KeyType {
  return (bytes.readUInt8(start + FLAGS_AT) & 1) === 0 ? 'ec' : 'rsa'
}

export function sourceAt({ bytes, start }: Place): CertificateRecord['source'] {
  return (bytes.readUInt8(start + FLAGS_AT) & UPLOADED) === 0 ? 'acme' : 'upload'
}

export function notBeforeAt(place: Place): number {
  return timeAt(place, NOT_BEFORE_AT)
}

export function notAfterAt(place: Place): number {
  return timeAt(place, NOT_AFTER_AT)
}

export function createdAt(place: Place): number {
  return timeAt(place, CREATED_AT)
}

/** Moments are told to the millisecond, whatever was written. */
export function readCertificate(place: Place, texts: SharedTexts): CertificateRecord {
  const { bytes, start } = place
  const leafStart = start + chainAt(place) + chainCountOf(place) * NUMBER_BYTES
  const leafEnd = leafStart + numberAt(place, LEAF_LENGTH_AT)
  const intermediates = Array.from({ length: chainCountOf(place) }, (_, index) =>
    textAt(place, chainAt(place) + index * NUMBER_BYTES, texts),
  )
  const sealedEnd = leafEnd + bytes.readUInt16LE(start + SEALED_LENGTH_AT)
  const ca = texts.find(numberAt(place, CA_AT))
  const profile = texts.find(numberAt(place, PROFILE_AT))
  return Object.freeze({
    ...{ name: nameAt(place), keyType: keyTypeAt(place), names: namesAt(place), source: sourceAt(place) },
    chain: [bytes.toString('base64', leafStart, leafEnd), ...intermediates],
    sealedKey: {
      sealed: 'v1' as const,
      keyId: textAt(place, KEY_ID_AT, texts),
      data: bytes.toString('base64url', leafEnd, sealedEnd),
    },
    notBefore: toMoment(notBeforeAt(place)),
    notAfter: toMoment(notAfterAt(place)),
    createdAt: toMoment(createdAt(place)),
    ...(ca !== undefined && { ca }),
    ...(profile !== undefined && { profile }),
  })
}

/** All that is kept of it; the text of `of` may be another one of the same moments. */
export function readRenewal(place: Place, texts: SharedTexts): RenewalRecord {
  const [, name = '', keyType = ''] = keyAt(place).split('/')
  const moment = (at: number) => new Date(timeAt(place, at)).toISOString()
  const [windowStart, windowEnd] = [WINDOW_START_AT, WINDOW_END_AT].map((at) =>
    Number.isNaN(timeAt(place, at)) ? undefined : moment(at),
  )
  const reason = texts.find(numberAt(place, REASON_AT))
  return {
    ...{ name, keyType: keyType as KeyType },
    of: `${moment(OF_NOT_AFTER_AT)} ${moment(OF_CREATED_AT)}`,
    ...{ renewAt: moment(RENEW_AT), askAt: moment(ASK_AT) },
    ...(windowStart !== undefined && { windowStart }),
    ...(windowEnd !== undefined && { windowEnd }),
    ...(reason !== undefined && { reason }),
  }
}

/** Undefined when it speaks of another certificate. */
export function findRenewalAt(
  place: Place,
  of: RenewalSubject,
  texts: SharedTexts,
): KnownRenewal | undefined {
  const isOf =
    timeAt(place, OF_NOT_AFTER_AT) === of.notAfterMs && timeAt(place, OF_CREATED_AT) === of.createdAtMs
  if (!isOf) return undefined
  const windowStartMs = timeAt(place, WINDOW_START_AT)
  const windowEndMs = timeAt(place, WINDOW_END_AT)
  const reason = texts.find(numberAt(place, REASON_AT))
  return {
    renewAtMs: timeAt(place, RENEW_AT),
    askAtMs: timeAt(place, ASK_AT),
    ...(!Number.isNaN(windowStartMs) && { windowStartMs }),
    ...(!Number.isNaN(windowEndMs) && { windowEndMs }),
    ...(reason !== undefined && { reason }),
  }
}

/** Returns where the rest begins. */
function writeKey({ key, revision }: Packing): number {
  scratch.fill(0, 0, HEAD_BYTES)
  scratch.writeDoubleLE(revision, REVISION_AT)
  scratch.writeUInt16LE(key.length, KEY_LENGTH_AT)
  return HEAD_BYTES + scratch.write(key, HEAD_BYTES, 'latin1')
}

function isTextAt(bytes: Buffer, at: number, text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false
  }
  return true
}

function namesStartOf({ bytes, start }: Place): number {
  return start + HEAD_BYTES + bytes.readUInt16LE(start + KEY_LENGTH_AT)
}

function namesLengthOf({ bytes, start }: Place): number {
  return bytes.readUInt16LE(start + NAMES_LENGTH_AT)
}

/** From the entry's start. */
function chainAt(place: Place): number {
  return namesStartOf(place) - place.start + namesLengthOf(place)
}

function chainCountOf({ bytes, start }: Place): number {
  return bytes.readUInt8(start + CHAIN_COUNT_AT)
}

function numberAt({ bytes, start }: Place, at: number): number {
  return bytes.readUInt32LE(start + at)
}

function timeAt({ bytes, start }: Place, at: number): number {
  return bytes.readDoubleLE(start + at)
}

function textAt(place: Place, at: number, texts: SharedTexts): string {
  return texts.find(numberAt(place, at)) ?? ''
}
