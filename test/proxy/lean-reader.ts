/** Feeds our response parser the way the relay does: reads share one buffer that is overwritten after each. */

import { RelayError } from '../../proxy/errors.ts'
import { findField } from '../../proxy/field-lines.ts'
import { type ResponseHead, ResponseParser, type ResponseSink } from '../../proxy/response-parser.ts'
import { checkHandshake } from '../../proxy/websocket-handshake.ts'
import { type Asked, emptyOutcome, type Failure, type Head, type Outcome } from './response-outcome.ts'

/** Reads `bytes` cut at `cuts` (ascending), then the end of the stream, as the response to `asked`. */
export function readWithOurs(
  bytes: Buffer,
  asked: Asked,
  options: { readonly cuts?: readonly number[]; readonly parser?: ResponseParser } = {},
): Outcome {
  const { cuts = [], parser = new ResponseParser() } = options
  const outcome = emptyOutcome()
  parser.expect(asked, sinkOf(outcome))
  try {
    for (const piece of piecesOf(bytes, cuts)) {
      if (outcome.upgrade === undefined) feedShared(parser, piece)
      else outcome.upgrade.rest += piece.toString('latin1')
    }
    if (outcome.upgrade === undefined) parser.finish()
  } catch (error) {
    outcome.failure = toFailure(error)
  }
  return outcome
}

/** What was read must not change when the buffer of the read is used again. */
function feedShared(parser: ResponseParser, piece: Buffer): void {
  const shared = Buffer.from(piece)
  try {
    parser.feed(shared)
  } finally {
    shared.fill('!')
  }
}

function piecesOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts, bytes.length]
  return ends.map((end, at) => bytes.subarray(at === 0 ? 0 : ends[at - 1], end))
}

function sinkOf(outcome: Outcome): ResponseSink {
  return {
    inform: ({ status, headers }) => outcome.informs.push({ status, headers }),
    head(head) {
      if (outcome.head !== undefined) throw new Error('two heads')
      outcome.head = headOf(head)
      outcome.keepAlive = head.keepAlive
    },
    data(chunk) {
      if (outcome.head === undefined || outcome.isComplete) throw new Error('a body outside of a message')
      outcome.body += chunk.toString('latin1')
    },
    end(chunk, trailers) {
      if (outcome.isComplete) throw new Error('two ends')
      outcome.body += chunk?.toString('latin1') ?? ''
      outcome.trailers = trailers
      outcome.isComplete = true
    },
    upgraded(head, rest) {
      checkHandshake(head, findField(head.headers, 'sec-websocket-accept'))
      outcome.upgrade = { head: headOf(head), rest: rest.toString('latin1') }
      outcome.isComplete = true
    },
  }
}

function headOf({ status, reason, headers, names }: ResponseHead): Head {
  const lower = headers.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase())
  if (lower.join() !== names.join()) throw new Error(`names differ: ${names.join()}`)
  return { status, reason, headers }
}

/** Any other error is a fault of the parser or of this reader, and goes up. */
function toFailure(error: unknown): Failure {
  if (!(error instanceof RelayError)) throw error
  const isIncomplete = error.code === 'upstream_incomplete' || error.code === 'upstream_reset'
  return { kind: isIncomplete ? 'incomplete' : 'refused', code: error.code, detail: error.detail ?? '' }
}
