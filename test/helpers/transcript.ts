/** Everything that comes on a raw connection, for conversations that go back and forth. */

import type { Duplex } from 'node:stream'
import { until } from './until.ts'

export interface Transcript {
  /** What has come so far, as latin1. */
  readonly text: string
  /** The other side has said its last, in order. */
  readonly isEnded: boolean
  readonly isClosed: boolean
  /** Waits until `part` has come. */
  has(part: string): Promise<void>
  /** Waits until the connection is closed, or ended by the other side. */
  ends(deadlineMs?: number): Promise<void>
}

/** Starts to read at once. */
export function transcriptOf(socket: Duplex): Transcript {
  const transcript = { text: '', isEnded: false, isClosed: false }
  socket.on('data', (chunk: Buffer) => {
    transcript.text += chunk.toString('latin1')
  })
  socket.on('end', () => {
    transcript.isEnded = true
  })
  socket.on('close', () => {
    transcript.isClosed = true
  })
  return Object.assign(transcript, {
    has: (part: string) =>
      until(
        () => transcript.text.includes(part),
        `${JSON.stringify(part)} comes; last was ${JSON.stringify(transcript.text.slice(-200))}`,
      ),
    ends: (deadlineMs?: number) =>
      until(() => transcript.isEnded || transcript.isClosed, 'the connection ends', deadlineMs),
  })
}
