/** Ends a step of a build that fills the disk: what an archive says of its size is not to be believed. */

import { setTimeout as pause } from 'node:timers/promises'
import { SidecarError } from '../errors.ts'
import { measureFolder } from '../folder-size.ts'

const LOOK_EVERY_MS = 500
/** Of one image; what lies behind them would not be counted, and each takes an inode of the host. */
const MAX_ENTRIES = 2_000_000

export interface FolderLimit {
  readonly folder: string
  readonly maxBytes: number
  /** Files and folders; default 2,000,000. */
  readonly maxEntries?: number
}

/** Runs `step` until it settles, or until the folder takes more. @throws SidecarError image_build_failed */
export async function runWithin<Result>(
  { folder, maxBytes, maxEntries = MAX_ENTRIES }: FolderLimit,
  step: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const isFull = new AbortController()
  const isDone = new AbortController()
  const watching = watch()
  try {
    const result = await step(isFull.signal)
    // A fast step may have filled it between two looks.
    if (await isTooMuch()) isFull.abort()
    isFull.signal.throwIfAborted()
    return result
  } catch (cause) {
    if (!isFull.signal.aborted) throw cause
    const detail = `the image takes more than ${maxBytes} bytes or ${maxEntries} files unpacked`
    throw new SidecarError('image_build_failed', { cause, detail })
  } finally {
    isDone.abort()
    await watching
  }

  async function watch(): Promise<void> {
    while (!isDone.signal.aborted) {
      await pause(LOOK_EVERY_MS, undefined, { signal: isDone.signal }).catch(() => undefined)
      if (!isDone.signal.aborted && (await isTooMuch())) return isFull.abort()
    }
  }

  async function isTooMuch(): Promise<boolean> {
    return (await measureFolder(folder, maxEntries, Number.POSITIVE_INFINITY)) > maxBytes
  }
}
