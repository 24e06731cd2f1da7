/** One request on an HTTP/2 session, and everything that comes back: informational responses, head, body, trailers, end. */

import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2'

export interface H2Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly trailers: Readonly<Record<string, string>>
  /** Informational responses, in order. */
  readonly informed: readonly Readonly<Record<string, string>>[]
  /** The code the stream was reset with; 0 after an orderly end. */
  readonly resetCode: number
}

export interface H2Call {
  readonly stream: ClientHttp2Stream
  /** What has come so far. */
  readonly answer: H2Answer
  /** Settles when the stream is closed, however that comes. */
  readonly closed: Promise<H2Answer>
}

export interface H2CallOptions {
  readonly hasBody?: boolean
  /** Sent after the body; needs `hasBody`. */
  readonly trailers?: OutgoingHttpHeaders
}

/** Opens a request and collects its answer; the caller writes and ends the body, if `hasBody`. */
export function h2Call(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  { hasBody = false, trailers }: H2CallOptions = {},
): H2Call {
  const stream = session.request(headers, { endStream: !hasBody, waitForTrailers: trailers !== undefined })
  if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers))
  const answer = { status: 0, headers: {}, body: '', trailers: {}, informed: [], resetCode: 0 } as Mutable
  stream.on('headers', (informed) => answer.informed.push(toTexts(informed)))
  stream.on('response', (head) => {
    answer.status = Number(head[':status'])
    answer.headers = toTexts(head)
  })
  stream.on('trailers', (trailers) => {
    answer.trailers = toTexts(trailers)
  })
  stream.on('data', (chunk: Buffer) => {
    answer.body += chunk.toString('latin1')
  })
  stream.on('error', () => {})
  const closed = new Promise<H2Answer>((resolve) => {
    stream.once('close', () => {
      answer.resetCode = stream.rstCode
      resolve(answer)
    })
  })
  return { stream, answer, closed }
}

/** A whole exchange: sends `body` if there is one, and waits for the end. */
export async function h2Exchange(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string,
): Promise<H2Answer> {
  const call = h2Call(session, headers, { hasBody: body !== undefined })
  if (body !== undefined) call.stream.end(body)
  return call.closed
}

type Mutable = {
  -readonly [Key in keyof H2Answer]: Key extends 'informed' ? Record<string, string>[] : H2Answer[Key]
}

function toTexts(headers: object): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}
