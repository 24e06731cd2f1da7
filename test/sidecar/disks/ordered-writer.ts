/**
 * Writes numbers in order: to one place, flushed, then to another. A copy made at any moment holds a consistent prefix
 * if the second number is the first one or the one before it.
 */

import type { NbdDisk } from './nbd-client.ts'

const FIRST = 8 * 1_048_576
const SECOND = 40 * 1_048_576
const BLOCK = 4_096

export interface OrderedWriter {
  /** What is durable by now: the last number whose second write was flushed. */
  readonly written: number
  /** Ends it. @throws Error when a write failed */
  stop(): Promise<void>
}

/** Goes on behind `from`. */
export function startOrderedWriter(disk: NbdDisk, from = 0): OrderedWriter {
  let written = from
  let isOver = false
  const put = async (offset: number, number: number) => {
    const block = Buffer.alloc(BLOCK)
    block.writeUInt32BE(number)
    await disk.write(offset, block)
    await disk.flush()
  }
  const run = async () => {
    for (let number = from + 1; !isOver; number += 1) {
      await put(FIRST, number)
      await put(SECOND, number)
      written = number
      // More than two blocks: the layers are to have something in them.
      await disk.write(64 * 1_048_576 + (number % 512) * 65_536, Buffer.alloc(BLOCK, number))
    }
  }
  const running = run()
  running.catch(() => undefined)
  return {
    get written() {
      return written
    },
    stop: () => {
      isOver = true
      return running
    },
  }
}

/** The numbers that a disk holds. */
export async function readOrder(disk: NbdDisk): Promise<{ readonly first: number; readonly second: number }> {
  const [first, second] = [await disk.read(FIRST, BLOCK), await disk.read(SECOND, BLOCK)]
  return { first: first.readUInt32BE(), second: second.readUInt32BE() }
}
