/**
 * Our parser of VM responses against Node's own: what Node refuses, ours refuses; what both accept, they read
 * alike; how the bytes were cut into reads changes nothing. `STRICTER` lists all that only ours refuses. A
 * counterexample, once mended, goes into the table of response-parser.test.ts.
 */

import { asyncProperty, tuple } from 'fast-check'
import t from 'tap'
import { ResponseParser } from '../../proxy/response-parser.ts'
import { fuzzFor } from '../helpers/fuzz.ts'
import { readWithOurs } from './lean-reader.ts'
import { readWithNode } from './node-reader.ts'
import { clean, type Hostile, hostile } from './response-mutations.ts'
import type { Failure, Outcome } from './response-outcome.ts'

/** What ours refuses and Node accepts: the code and detail of the refusal, and the reason for it. */
const STRICTER: readonly (readonly [refusal: RegExp, reason: string])[] = [
  [
    /^upstream_invalid: bytes after the end of the response$/,
    'Node skips empty lines and waits for the rest of a second response; here nothing was asked for, so nothing may come',
  ],
  [
    /^upstream_invalid: status line$/,
    'Node reads HTTP/0.9, HTTP/2.0, RTSP and ICE, statuses below 100, empty lines before the status line and control characters in the reason, which crash its own writer',
  ],
  [/^upstream_invalid: status [6-9]\d\d$/, 'RFC 9110 section 15: the first digit is 1 to 5'],
  [
    /^upstream_invalid: transfer coding /,
    'Node reads a response with a coding that does not end in chunked to the end of the stream; codings other than chunked cannot be relayed as they are',
  ],
  [
    /^upstream_invalid: transfer-encoding twice$/,
    'Node joins the lines; a proxy that looks at one of them would read another body',
  ],
  [
    /^upstream_invalid: tab behind the transfer coding$/,
    'Node does not see chunked before a tab and reads to the end of the stream; RFC 9110 section 5.5 cuts the tab off',
  ],
  [/^upstream_invalid: Transfer-Encoding in HTTP\/1\.0$/, 'RFC 9112 section 6.1 calls the framing faulty'],
  [
    /^upstream_invalid: Content-Length$/,
    'More than 15 digits are no exact JavaScript number; with a response that has no body Node does not mind',
  ],
  [
    /^upstream_invalid: chunk size$/,
    'Node takes extensions with an empty name or value (";=x", ";x="), against RFC 9112 section 7.1.1, and sizes of more than 12 digits',
  ],
  [
    /^upstream_invalid: framing field in the trailers$/,
    'Node takes Transfer-Encoding and some Content-Length in a trailer, where RFC 9110 section 6.5.1 forbids them',
  ],
  [
    /^upstream_invalid: informational response that closes the connection$/,
    'Node refuses what follows it; when nothing follows, it waits',
  ],
  [
    /^upstream_upgrade: /,
    'Node gives any 101 to its user; here it must answer the WebSocket handshake (RFC 6455 section 4.1)',
  ],
]

const fuzz = fuzzFor(t, { seconds: 8 })

t.test('valid responses are read as they are meant, by Node as well, however they are cut', async (t) => {
  const matches = asyncProperty(clean, async ({ asked, text, cuts, expected }) => {
    const bytes = Buffer.from(text, 'latin1')
    equal(readWithOurs(bytes, asked, { cuts }), expected)
    checkAgreement(expected, await readWithNode(bytes, asked), asked.method)
  })
  await fuzz.holds(t, matches, 0.2)
})

t.test('what Node refuses is refused, and what both accept is read alike', async (t) => {
  const agrees = asyncProperty(hostile, async ({ asked, text }) => {
    const bytes = Buffer.from(text, 'latin1')
    checkAgreement(readWithOurs(bytes, asked), await readWithNode(bytes, asked), asked.method)
  })
  await fuzz.holds(t, agrees, 0.5)
})

t.test('the outcome does not depend on how the bytes were cut into reads', async (t) => {
  const isSame = asyncProperty(hostile, async ({ asked, text, cuts }) => {
    const bytes = Buffer.from(text, 'latin1')
    equal(withoutDetail(readWithOurs(bytes, asked, { cuts })), withoutDetail(readWithOurs(bytes, asked)))
  })
  await fuzz.holds(t, isSame, 0.2)
})

t.test('a parser that has read a response reads the next one as a new parser does', async (t) => {
  const isFresh = asyncProperty(tuple(clean, hostile), async ([before, after]) => {
    const parser = new ResponseParser()
    readHostile(before, parser)
    if (parser.isIdle) equal(readHostile(after, parser), readHostile(after, new ResponseParser()))
  })
  await fuzz.holds(t, isFresh, 0.1)
})

function readHostile({ asked, text, cuts }: Hostile, parser: ResponseParser): Outcome {
  return readWithOurs(Buffer.from(text, 'latin1'), asked, { parser, cuts })
}

/** @throws Error that shows both outcomes */
function checkAgreement(ours: Outcome, node: Outcome, method: string): void {
  const fault = findDisagreement(ours, node, method)
  if (fault !== undefined)
    throw new Error(`${fault}\n  ours: ${JSON.stringify(ours)}\n  node: ${JSON.stringify(node)}`)
}

function findDisagreement(ours: Outcome, node: Outcome, method: string): string | undefined {
  if (node.failure !== undefined && ours.failure === undefined) return 'only Node refuses'
  if (!isPartOf(ours, node)) return 'read differently'
  if (ours.failure?.kind === 'incomplete' && node.isComplete) return 'only ours waits for more'
  if (ours.failure?.kind === 'refused' && node.failure === undefined && !isStricter(ours.failure))
    return 'only ours refuses'
  if (ours.failure !== undefined) return undefined
  if (!isSame([ours.trailers, ours.informs], [node.trailers, node.informs]) || ours.body !== node.body)
    return 'read differently'
  // RFC 9112 section 6.3: a response to HEAD needs no length; Node does not count on that. Node also heeds
  // Connection in trailers, and after an upgrade there is nothing to keep.
  const isComparable = method !== 'HEAD' && ours.upgrade === undefined && ours.trailers.length === 0
  if (isComparable && ours.keepAlive && !node.keepAlive) return 'only ours would use the connection again'
  return undefined
}

/** Whatever ours handed on before it refused, Node handed on too: a head or an end that only ours saw is a fault. */
function isPartOf(ours: Outcome, node: Outcome): boolean {
  const hasInforms = isSame(ours.informs, node.informs.slice(0, ours.informs.length))
  const hasHead = ours.head === undefined || isSame(ours.head, node.head)
  const hasUpgrade = ours.upgrade === undefined || isSame(ours.upgrade, node.upgrade)
  const hasBody = ours.isComplete ? node.body === ours.body : node.body.startsWith(ours.body)
  return hasInforms && hasHead && hasUpgrade && hasBody && (!ours.isComplete || node.isComplete)
}

function isStricter({ code, detail }: Failure): boolean {
  return STRICTER.some(([refusal]) => refusal.test(`${code}: ${detail}`))
}

function withoutDetail({ failure, ...rest }: Outcome) {
  return { ...rest, code: failure?.code }
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function equal(actual: unknown, expected: unknown): void {
  if (!isSame(actual, expected))
    throw new Error(`\n  is:     ${JSON.stringify(actual)}\n  wanted: ${JSON.stringify(expected)}`)
}
