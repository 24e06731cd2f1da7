/** A VM that records every request byte by byte and answers exactly what a test tells it, valid HTTP or not. */

import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { type RawOrigin, rawOriginFor } from './origin.ts'

export interface VmRequest {
  /** Request line and fields, without the empty line, as latin1 text. */
  readonly head: string
  /** What stood behind the head, still chunked if it came so. */
  readonly body: string
  /** Number of the connection, from 0. */
  readonly connection: number
}

export interface ScriptedVm extends RawOrigin {
  /** In the order of their arrival; a request counts once its body is whole. */
  readonly requests: VmRequest[]
}

export type VmAnswer = string | ((socket: Socket, request: VmRequest) => void)

export const VM_OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

/** A text is written as latin1, so that any byte can be said. */
export async function scriptedVmFor(t: Test, answer: VmAnswer = VM_OK): Promise<ScriptedVm> {
  const requests: VmRequest[] = []
  const taken: number[] = []
  const origin = await rawOriginFor(t, (socket, received, connection) => {
    for (;;) {
      const found = takeRequest(received, taken[connection] ?? 0)
      if (found === undefined) return
      taken[connection] = found.end
      const request = { head: found.head, body: found.body, connection }
      requests.push(request)
      if (typeof answer === 'string') socket.write(answer, 'latin1')
      else answer(socket, request)
    }
  })
  return { ...origin, requests }
}

function takeRequest(received: string, start: number) {
  const headEnd = received.indexOf('\r\n\r\n', start)
  if (headEnd < 0) return undefined
  const head = received.slice(start, headEnd)
  const bodyStart = headEnd + 4
  const end = bodyEnd(received, bodyStart, head)
  if (end === undefined) return undefined
  return { head, body: received.slice(bodyStart, end), end }
}

function bodyEnd(received: string, start: number, head: string): number | undefined {
  if (/^connection:.*upgrade/im.test(head)) return Number.POSITIVE_INFINITY
  if (/^transfer-encoding: *chunked/im.test(head)) {
    const last = /(^|\r\n)0\r\n([^\r\n]+\r\n)*\r\n/.exec(received.slice(start))
    return last === null ? undefined : start + last.index + last[0].length
  }
  const end = start + Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
  return received.length < end ? undefined : end
}

/** The value of a field in a request head; several are joined with a comma, undefined when there is none. */
export function fieldOf(head: string, name: string): string | undefined {
  const values = fieldLines(head)
    .filter(([key]) => key.toLowerCase() === name.toLowerCase())
    .map(([, value]) => value)
  return values.length === 0 ? undefined : values.join(', ')
}

/** Names as written and values. */
export function fieldLines(head: string): [string, string][] {
  return head
    .split('\r\n')
    .slice(1)
    .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()])
}

/** A correct 101 for a WebSocket request (RFC 6455 section 4.2.2); `extra` are more field lines, each with CRLF. */
export function switchingProtocols(head: string, extra = ''): string {
  const accept = createHash('sha1')
    .update(`${fieldOf(head, 'sec-websocket-key')}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  return (
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n' +
    `sec-websocket-accept: ${accept}\r\n${extra}\r\n`
  )
}

/** A WebSocket handshake as a browser sends it; `extra` are more field lines, each with CRLF. */
export function upgradeRequest(host: string, extra = '', path = '/'): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`
  )
}
