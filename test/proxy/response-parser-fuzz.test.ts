/**
 * Our parser of VM responses against Node's own: what Node refuses, ours refuses; what both accept, they read
 * alike; how the bytes were cut into reads changes nothing. `STRICTER` lists all that only ours refuses.
 */

import { assert, asyncProperty, property, tuple } from 'fast-check'
import t from 'tap'
import { ResponseParser } from '../../proxy/response-parser.ts'
import { fuzzFor } from '../helpers/fuzz.ts'
import { readWithOurs } from './lean-reader.ts'
import { readWithNode } from './node-reader.ts'
import { clean, type Hostile, hostile } from './response-mutations.ts'
import type { Outcome } from './response-outcome.ts'

/** What ours refuses and Node accepts, by the detail of the refusal, with the reason. */
const STRICTER: readonly [detail: RegExp, reason: string][] = []

const fuzz = fuzzFor(t, { seconds: 8 })

t.test('valid responses are read as they are meant, by Node as well, however they are cut', async (t) => {
  const matches = asyncProperty(clean, async ({ asked, text, cuts, expected }) => {
    const bytes = Buffer.from(text, 'latin1')
    equal(readWithOurs(bytes, asked, { cuts }), expected)
    equal(comparable(await readWithNode(bytes, asked), asked.method), comparable(expected, asked.method))
  })
  await assert(matches, fuzz.options(0.25))
  t.end()
})

t.test('what Node refuses is refused, and what both accept is read alike', async (t) => {
  const agrees = asyncProperty(hostile, async ({ asked, text }) => {
    const bytes = Buffer.from(text, 'latin1')
    checkAgreement(readWithOurs(bytes, asked), await readWithNode(bytes, asked), asked.method)
  })
  await assert(agrees, fuzz.options(0.45))
  t.end()
})

t.test('the outcome does not depend on how the bytes were cut into reads', (t) => {
  const isSame = property(hostile, ({ asked, text, cuts }) => {
    const bytes = Buffer.from(text, 'latin1')
    equal(withoutDetail(readWithOurs(bytes, asked, { cuts })), withoutDetail(readWithOurs(bytes, asked)))
  })
  assert(isSame, fuzz.options(0.2))
  t.end()
})

t.test('a parser that read a response before reads the next one as a new parser does', (t) => {
  const isFresh = property(tuple(clean, hostile), ([before, after]) => {
    const parser = new ResponseParser()
    readWithOurs(Buffer.from(before.text, 'latin1'), before.asked, { parser, cuts: before.cuts })
    if (!parser.isIdle) return
    equal(readHostile(after, parser), readHostile(after, new ResponseParser()))
  })
  assert(isFresh, fuzz.options(0.1))
  t.end()
})

function readHostile({ asked, text, cuts }: Hostile, parser: ResponseParser): Outcome {
  return readWithOurs(Buffer.from(text, 'latin1'), asked, { parser, cuts })
}

function checkAgreement(ours: Outcome, node: Outcome, method: string): void {
  const show = `\n  ours: ${JSON.stringify(ours)}\n  node: ${JSON.stringify(node)}`
  if (node.failure !== undefined && ours.failure === undefined) throw new Error(`only Node refuses${show}`)
  if (!isPartOf(ours, node)) throw new Error(`read differently${show}`)
  if (ours.failure === undefined) equal(comparable(ours, method), comparable(node, method))
  if (ours.failure?.kind === 'incomplete' && node.isComplete)
    throw new Error(`only ours waits for more${show}`)
  if (ours.failure?.kind !== 'refused' || node.failure !== undefined) return
  const { code, detail } = ours.failure
  if (!STRICTER.some(([pattern]) => pattern.test(`${code}: ${detail}`)))
    throw new Error(`only ours refuses${show}`)
}

/** Whatever ours handed on before it refused, Node handed on too: a head or an end that only ours saw is a fault. */
function isPartOf(ours: Outcome, node: Outcome): boolean {
  const informs = JSON.stringify(node.informs.slice(0, ours.informs.length)) === JSON.stringify(ours.informs)
  const hasHead = ours.head === undefined || JSON.stringify(ours.head) === JSON.stringify(node.head)
  const hasUpgrade =
    ours.upgrade === undefined || JSON.stringify(ours.upgrade) === JSON.stringify(node.upgrade)
  const hasBody = ours.isComplete ? node.body === ours.body : node.body.startsWith(ours.body)
  return informs && hasHead && hasUpgrade && hasBody && (!ours.isComplete || node.isComplete)
}

/** Node does not count on a response to HEAD without a length to leave the connection usable; RFC 9112 section 6.3 does. */
function comparable({ keepAlive, failure: _, ...rest }: Outcome, method: string) {
  return { ...rest, keepAlive: method === 'HEAD' || rest.upgrade !== undefined ? undefined : keepAlive }
}

function withoutDetail({ failure, ...rest }: Outcome) {
  return { ...rest, code: failure?.code }
}

function equal(actual: unknown, expected: unknown): void {
  const [is, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (is !== wanted) throw new Error(`\n  is:     ${is}\n  wanted: ${wanted}`)
}
