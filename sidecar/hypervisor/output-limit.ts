/** Keeps what a process of a VM writes to its output from filling the disk. */

import { stat, truncate } from 'node:fs/promises'

const MAX_BYTES = 1_048_576

/** Begins the file anew when it has grown too large: guests can make a VMM complain as often as they like. Never rejects. */
export async function limitOutput(file: string): Promise<void> {
  const stats = await stat(file).catch(() => undefined)
  // Whoever writes it appends, wherever its end is.
  if (stats && stats.size > MAX_BYTES) await truncate(file).catch(() => undefined)
}
