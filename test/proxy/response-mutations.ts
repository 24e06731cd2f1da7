/** Ways to spoil a response: bytes at the places where parsers differ, odd lines, and cuts into reads. */

import {
  type Arbitrary,
  array,
  constant,
  constantFrom,
  integer,
  nat,
  oneof,
  record,
  string,
  tuple,
} from 'fast-check'
import { response, type Sample, upgrade } from './response-grammar.ts'
import { BYTES, CODES, LINE_ENDS, NAMES, REASONS, SIZES, VALUES, VERSIONS } from './response-oddities.ts'
import type { Asked } from './response-outcome.ts'

export interface Hostile {
  readonly asked: Asked
  /** Latin1. */
  readonly text: string
  /** Where a read ends, ascending. */
  readonly cuts: readonly number[]
}

type Mutation = (text: string) => string

const byte = oneof(
  constantFrom(...BYTES),
  integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
)
const statusLine = tuple(
  constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', ...VERSIONS),
  constantFrom(' ', ' ', ' ', ' ', '  ', '\t', ''),
  constantFrom('200', '404', ...CODES),
  constantFrom('', ' OK', ' OK', ...REASONS),
).map((parts) => parts.join(''))
const oddLine = tuple(
  constantFrom(...NAMES),
  constantFrom(':', ':', ': ', ': ', ':\t', ' :', ''),
  constantFrom(...VALUES),
  constantFrom(...LINE_ENDS),
).map((parts) => parts.join(''))
/** What both parsers may take, and have to take in the same way. */
const meaningfulLine = tuple(
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

const change: Arbitrary<Mutation> = tuple(
  place,
  constantFrom(0, 0, 1, 1, 2, 5),
  oneof(byte, byte, constant('')),
).map(
  ([where, remove, insert]) =>
    (text) =>
      splice(text, indexIn(text, where), { remove, insert }),
)
const addLine: Arbitrary<Mutation> = tuple(nat(10), oneof(oddLine, meaningfulLine, meaningfulLine)).map(
  ([which, line]) =>
    (text) => {
      const ends = [...text.matchAll(/\r\n/g)].map(({ index }) => index + 2)
      return splice(text, ends[which % Math.max(1, ends.length)] ?? 0, { remove: 0, insert: line })
    },
)
const repeatLine: Arbitrary<Mutation> = nat(20).map((which) => (text) => {
  const lines = text.split('\r\n')
  const at = which % lines.length
  return lines.toSpliced(at, 0, lines[at] ?? '').join('\r\n')
})
const oddStart: Arbitrary<Mutation> = statusLine.map((line) => (text) => text.replace(/^[^\r]*/, () => line))
const oddSize: Arbitrary<Mutation> = tuple(nat(5), constantFrom(...SIZES)).map(([which, size]) => (text) => {
  const body = text.indexOf('\r\n\r\n') + 2
  let seen = 0
  const spoil = (line: string) => (seen++ === which ? `\r\n${size}` : line)
  return text.slice(0, body) + text.slice(body).replace(/\r\n[0-9a-f]+[^\r]*/gi, spoil)
})
const truncate: Arbitrary<Mutation> = place.map((where) => (text) => text.slice(0, indexIn(text, where)))
const append: Arbitrary<Mutation> = constantFrom(
  '\r\n',
  'x',
  '\0',
  'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n',
).map((more) => (text) => text + more)

const mutation = oneof(
  change,
  change,
  change,
  addLine,
  addLine,
  repeatLine,
  oddStart,
  oddSize,
  truncate,
  append,
)

const spoilt = tuple(
  oneof(response, response, response, upgrade),
  array(mutation, { minLength: 1, maxLength: 2 }),
).map(([{ asked, text }, mutations]) => ({
  asked,
  text: mutations.reduce((now, mutate) => mutate(now), text),
}))

const asked = constantFrom<Asked>(
  { method: 'GET', isUpgrade: false },
  { method: 'GET', isUpgrade: false },
  { method: 'HEAD', isUpgrade: false },
  { method: 'GET', isUpgrade: true },
)

const chunks = oneof(byte, constantFrom('5\r\nhello\r\n', '0\r\n\r\n', 'hello', '\r\nhello\r\n', ...SIZES))

/** Fragments in any order, for shapes that no grammar would give. */
const soup = record({
  asked,
  text: tuple(
    oneof(
      constant('HTTP/1.1 200 OK\r\n'),
      statusLine.map((line) => `${line}\r\n`),
    ),
    array(oneof(oddLine, meaningfulLine, meaningfulLine), { maxLength: 3 }).map((lines) => lines.join('')),
    constantFrom('\r\n', '\r\n', '\r\n', '\n', ''),
    oneof(
      array(chunks, { maxLength: 6 }).map((parts) => parts.join('')),
      constantFrom(...SIZES).map((size) => `${size}\r\nhello\r\n0\r\n\r\n`),
      meaningfulLine.map((line) => `5\r\nhello\r\n0\r\n${line}\r\n`),
    ),
  ).map((parts) => parts.join('')),
})

const noise = record({ asked, text: string({ unit: byte, maxLength: 60 }) })

/** Positions as parts of the length, so that they fit every text. */
const cutting = oneof(
  constant('every' as const),
  array(nat(10_000), { maxLength: 6 }),
  array(nat(10_000), { minLength: 1, maxLength: 1 }),
)

function cutsOf(text: string, cut: 'every' | readonly number[]): number[] {
  if (cut === 'every') return Array.from({ length: Math.max(0, text.length - 1) }, (_, at) => at + 1)
  const inside = cut.map((part) => Math.floor((part * text.length) / 10_001))
  return [...new Set(inside)].filter((at) => at > 0).sort((a, b) => a - b)
}

function withCuts<Base extends { readonly text: string }>(
  base: Arbitrary<Base>,
): Arbitrary<Base & { cuts: number[] }> {
  return tuple(base, cutting).map(([sample, cut]) => ({ ...sample, cuts: cutsOf(sample.text, cut) }))
}

/** Valid responses, in any number of reads. */
export const clean: Arbitrary<Sample & Hostile> = withCuts(oneof(response, response, response, upgrade))

/** Anything that a VM could send. */
export const hostile: Arbitrary<Hostile> = withCuts(
  oneof({ weight: 10, arbitrary: spoilt }, { weight: 9, arbitrary: soup }, { weight: 1, arbitrary: noise }),
)
