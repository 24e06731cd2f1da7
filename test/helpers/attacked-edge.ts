/** An edge with one VM behind it that notes every byte, and the checks that each attack ends with. */

import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { edgeFor, type TestEdge } from './edge.ts'
import { type RawOrigin, rawOriginFor } from './origin.ts'
import { exchange, isWhole, type RawAnswer } from './raw-client.ts'
import { until } from './until.ts'

export const APP = 'app.localhost'
const VM_ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const PROBE = `GET /after HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
const PROBE_LINE = 'GET /after HTTP/1.1'

export interface AttackedEdge extends TestEdge {
  /** Serves `app.localhost`: answers 200 to every head that it sees. */
  readonly vm: RawOrigin
  /** The request lines that the VM has seen so far. */
  requestLines(): string[]
}

export async function attackedEdgeFor(t: Test, env: Record<string, string> = {}): Promise<AttackedEdge> {
  const edge = await edgeFor(t, env)
  const answered: number[] = []
  const vm = await rawOriginFor(t, (socket, received, connection) => {
    const heads = received.split('\r\n\r\n').length - 1
    for (let done = answered[connection] ?? 0; done < heads; done += 1) socket.write(VM_ANSWER)
    answered[connection] = heads
  })
  await edge.route(APP, vm.port)
  return { ...edge, vm, requestLines: () => requestLinesIn(vm.received.join('\n')) }
}

export function requestLinesIn(text: string): string[] {
  return [...text.matchAll(/^[A-Z]+ \S+ HTTP\/1\.1(?=\r$)/gm)].map(([line]) => line)
}

export interface Refusal {
  /** One status, or those that would all be right. */
  readonly status: number | readonly number[]
  /** The stable code of the problem; undefined leaves it open. */
  readonly code?: string | undefined
}

/** Sends `bytes` over the plain port; passes when they are refused, the VM learns nothing and the connection closes. */
export async function refuses(t: Test, edge: AttackedEdge, bytes: string, { status, code }: Refusal) {
  const seen = edge.requestLines().length
  const socket = await edge.dialPlain()
  const later: Buffer[] = []
  const answer = await exchange(socket, bytes, isWhole)
  socket.on('data', (chunk: Buffer) => later.push(chunk))
  const isExpected = typeof status === 'number' ? answer.status === status : status.includes(answer.status)
  t.ok(isExpected, `status is ${status}`, { got: answer.status })
  if (code !== undefined) t.equal(codeOf(answer), code, 'code')
  t.ok(await isOver(socket), 'the connection is closed')
  t.equal(countAnswers(answer.text + Buffer.concat(later).toString('latin1')), 1, 'there is one answer only')
  await servesOnlyTheNext(t, edge, seen)
  return answer
}

/** Passes when a well-behaved request on a new connection works and is all that the VM has seen since `seen`. */
export async function servesOnlyTheNext(t: Test, edge: AttackedEdge, seen: number): Promise<void> {
  await serves(t, edge)
  t.same(edge.requestLines().slice(seen), [PROBE_LINE], 'the VM received the next request and nothing else')
}

/** Passes when a well-behaved request on a new connection is answered by the VM. */
export async function serves(t: Test, edge: TestEdge): Promise<void> {
  const socket = await edge.dialPlain()
  const answer = await exchange(socket, PROBE, isWhole)
  socket.destroy()
  t.equal(answer.status, 200, 'the next request is served')
}

/** The `code` of a problem+json answer; an empty text when it is none. */
export function codeOf({ body, headers }: Pick<RawAnswer, 'body' | 'headers'>): string {
  try {
    const own = body.slice(0, Number(headers['content-length']))
    return String((JSON.parse(own) as { code?: unknown }).code)
  } catch {
    return ''
  }
}

export function countAnswers(text: string): number {
  return [...text.matchAll(/HTTP\/1\.1 \d{3} /g)].length
}

/** Whether the edge closes the connection soon; what it has sent so far must be read by somebody. */
export async function isOver(socket: Socket, deadlineMs = 3_000): Promise<boolean> {
  socket.resume()
  try {
    await until(() => socket.readableEnded || socket.destroyed, 'the end of the connection', deadlineMs)
    return true
  } catch {
    return false
  }
}
