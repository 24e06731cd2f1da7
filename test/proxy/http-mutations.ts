/** Ways to spoil a message of HTTP/1: bytes at the places where parsers differ, odd lines, odd sizes, early ends. */

import { type Arbitrary, constant, constantFrom, integer, nat, oneof, record, tuple } from 'fast-check'
import { BYTES, LINE_ENDS, NAMES, SIZES, VALUES } from './http-oddities.ts'

/** Of a message as latin1 text. */
export type Mutation = (text: string) => string

export const byte = oneof(
  constantFrom(...BYTES),
  integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
)
export const oddLine = tuple(
  constantFrom(...NAMES),
  constantFrom(':', ':', ': ', ': ', ':\t', ' :', ''),
  constantFrom(...VALUES),
  constantFrom(...LINE_ENDS),
).map((parts) => parts.join(''))
/** What two parsers may both take, and have to take in the same way. */
export const meaningfulLine = tuple(
  constantFrom('Content-Length', 'Transfer-Encoding', 'Connection', 'Proxy-Connection', 'Upgrade', 'X'),
  constantFrom(': ', ':', ':\t', ':  '),
  constantFrom(...VALUES),
).map((parts) => `${parts.join('')}\r\n`)

/** Places next to what parsers look at are as likely as all others together. */
const place = oneof(
  record({ kind: constant('any' as const), at: nat(100_000), by: constant(0) }),
  record({ kind: constant('sign' as const), at: nat(1_000), by: integer({ min: -2, max: 2 }) }),
)

function indexIn(text: string, { kind, at, by }: { kind: 'any' | 'sign'; at: number; by: number }): number {
  const signs = kind === 'sign' ? [...text.matchAll(/\r\n|[:;]/g)].map(({ index }) => index) : []
  if (signs.length === 0) return at % (text.length + 1)
  return Math.min(text.length, Math.max(0, (signs[at % signs.length] ?? 0) + by))
}

function splice(text: string, at: number, parts: { remove: number; insert: string }): string {
  return text.slice(0, at) + parts.insert + text.slice(at + parts.remove)
}

export const change: Arbitrary<Mutation> = tuple(
  place,
  constantFrom(0, 0, 1, 1, 2, 5),
  oneof(byte, byte, constant('')),
).map(
  ([where, remove, insert]) =>
    (text) =>
      splice(text, indexIn(text, where), { remove, insert }),
)
export const addLine: Arbitrary<Mutation> = tuple(
  nat(10),
  oneof(oddLine, meaningfulLine, meaningfulLine),
).map(([which, line]) => (text) => {
  const ends = [...text.matchAll(/\r\n/g)].map(({ index }) => index + 2)
  return splice(text, ends[which % Math.max(1, ends.length)] ?? 0, { remove: 0, insert: line })
})
export const repeatLine: Arbitrary<Mutation> = nat(20).map((which) => (text) => {
  const lines = text.split('\r\n')
  const at = which % lines.length
  return lines.toSpliced(at, 0, lines[at] ?? '').join('\r\n')
})
export const oddSize: Arbitrary<Mutation> = tuple(nat(5), constantFrom(...SIZES)).map(
  ([which, size]) =>
    (text) => {
      const body = text.indexOf('\r\n\r\n') + 2
      let seen = 0
      const spoil = (line: string) => (seen++ === which ? `\r\n${size}` : line)
      return text.slice(0, body) + text.slice(body).replace(/\r\n[0-9a-f]+[^\r]*/gi, spoil)
    },
)
export const truncate: Arbitrary<Mutation> = place.map(
  (where) => (text) => text.slice(0, indexIn(text, where)),
)
