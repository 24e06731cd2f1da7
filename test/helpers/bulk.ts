/** Bodies too large to hold: written from one block and counted while they are thrown away, each with a pause half way. */

import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

const BLOCK = Buffer.alloc(262_144, 'landfall\n')

export interface Bulk {
  readonly bytes: number
  /** How long the sender or the reader does nothing, half way through: what is not held back then piles up. */
  readonly pauseMs: number
}

/** Writes `bytes` and ends. */
export async function writeBulk(to: Writable, { bytes, pauseMs }: Bulk): Promise<void> {
  let isPauseDue = pauseMs > 0
  for (let left = bytes; left > 0; left -= BLOCK.length) {
    if (!to.write(BLOCK.subarray(0, left))) await once(to, 'drain')
    if (isPauseDue && left < bytes / 2) {
      isPauseDue = false
      await sleep(pauseMs)
    }
  }
  to.end()
}

/** Reads to the end and returns how many bytes came. */
export async function readBulk(from: Readable, { bytes, pauseMs }: Bulk): Promise<number> {
  let read = 0
  let isPauseDue = pauseMs > 0
  from.on('data', (chunk: Buffer) => {
    read += chunk.length
    if (!isPauseDue || read < bytes / 2) return
    isPauseDue = false
    from.pause()
    setTimeout(() => from.resume(), pauseMs)
  })
  await once(from, 'end')
  return read
}
