/** How much room a folder takes on its disk. */

import { lstat, opendir } from 'node:fs/promises'
import { join } from 'node:path'

/** Walking this many takes about a second. */
const MAX_ENTRIES = 50_000
const BYTES_PER_BLOCK = 512

/**
 * Bytes of the blocks below `folder`; symbolic links are not followed. What cannot be read counts nothing, and what
 * comes after the first 50,000 entries counts `beyond`: nothing unless given.
 */
export async function measureFolder(folder: string, maxEntries = MAX_ENTRIES, beyond = 0): Promise<number> {
  const folders = [folder]
  let bytes = 0
  let left = maxEntries
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for await (const path of entriesOf(next)) {
      const entry = await measureEntry(path)
      bytes += entry.bytes
      if (entry.isFolder) folders.push(path)
      left -= 1
      if (left === 0) return bytes + beyond
    }
  }
  return bytes
}

/** Ends early when the folder goes away. */
async function* entriesOf(folder: string): AsyncIterable<string> {
  try {
    for await (const { name } of await opendir(folder)) yield join(folder, name)
  } catch {
    // Deleted meanwhile, or no longer readable: it counts as far as it was read.
  }
}

async function measureEntry(path: string): Promise<{ readonly isFolder: boolean; readonly bytes: number }> {
  try {
    const stats = await lstat(path)
    return { isFolder: stats.isDirectory(), bytes: stats.blocks * BYTES_PER_BLOCK }
  } catch {
    return { isFolder: false, bytes: 0 }
  }
}
