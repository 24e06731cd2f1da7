/** A WebSocket over HTTP/2 (RFC 8441): an extended CONNECT, and frames on its stream. */

import { once } from 'node:events'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import type { Test } from 'tap'
import { clientFrame, type Message, messagesOf } from './ws-frames.ts'

export interface H2WebSocket {
  readonly stream: ClientHttp2Stream
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  /** All that came so far. */
  readonly messages: readonly Message[]
  /** Sends one whole frame; false means that `drain` should be waited for. */
  send(opcode: number, data: Buffer | string): boolean
}

/** Waits for the answer to the handshake, whatever it is. */
export async function openWsOverH2(
  t: Test,
  session: ClientHttp2Session,
  fields: Readonly<Record<string, string>> = {},
): Promise<H2WebSocket> {
  const stream = session.request(
    {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'https',
      ':path': '/',
      'sec-websocket-version': '13',
      ...fields,
    },
    { endStream: false },
  )
  t.teardown(() => stream.destroy())
  stream.on('error', () => {})
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
  return {
    stream,
    status: Number(headers[':status']),
    headers,
    messages: messagesOf(stream),
    send: (opcode, data) => stream.write(clientFrame(opcode, data)),
  }
}
