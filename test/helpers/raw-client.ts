/** Sends exact bytes and reads exact bytes: what an HTTP library would tidy up stays as it is. */

import type { Socket } from 'node:net'
import { until } from './until.ts'

export interface RawAnswer {
  readonly status: number
  /** Names in lower case; several fields of one name are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Everything that came, as latin1 text. */
  readonly text: string
}

/** Writes `request` and reads until the connection closes, or until `isDone` holds of the text so far. */
export async function exchange(
  socket: Socket,
  request: string,
  isDone: (text: string) => boolean = () => false,
): Promise<RawAnswer> {
  let text = ''
  let isClosed = false
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  socket.on('close', () => {
    isClosed = true
  })
  socket.on('end', () => {
    isClosed = true
  })
  socket.write(request, 'latin1')
  await until(
    () => isClosed || isDone(text),
    `an answer to ${JSON.stringify(request.slice(0, 60))}, got ${text.slice(0, 200)}`,
  )
  return parseAnswer(text)
}

/** True once a response with a Content-Length has come whole; for keep-alive connections. */
export function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end + 2))?.[1]
  return end >= 0 && length !== undefined && text.length >= end + 4 + Number(length)
}

export function parseAnswer(text: string): RawAnswer {
  const end = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = text.slice(0, Math.max(0, end)).split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const name = line.slice(0, line.indexOf(':')).toLowerCase()
    const value = line.slice(line.indexOf(':') + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return { status: Number(statusLine.split(' ')[1] ?? 0), headers, body: text.slice(end + 4), text }
}
