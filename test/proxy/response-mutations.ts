/** Valid and spoilt responses, and the reads that they come in. */

import { type Arbitrary, array, constant, constantFrom, nat, oneof, record, string, tuple } from 'fast-check'
import {
  addLine,
  byte,
  change,
  type Mutation,
  meaningfulLine,
  oddLine,
  oddSize,
  repeatLine,
  truncate,
} from './http-mutations.ts'
import { CODES, REASONS, SIZES, VERSIONS } from './http-oddities.ts'
import { response, type Sample, upgrade } from './response-grammar.ts'
import type { Asked } from './response-outcome.ts'

export interface Hostile {
  readonly asked: Asked
  /** Latin1. */
  readonly text: string
  /** Where a read ends, ascending. */
  readonly cuts: readonly number[]
}

const statusLine = tuple(
  constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', ...VERSIONS),
  constantFrom(' ', ' ', ' ', ' ', '  ', '\t', ''),
  constantFrom('200', '404', ...CODES),
  constantFrom('', ' OK', ' OK', ...REASONS),
).map((parts) => parts.join(''))
const oddStart: Arbitrary<Mutation> = statusLine.map((line) => (text) => text.replace(/^[^\r]*/, () => line))
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
