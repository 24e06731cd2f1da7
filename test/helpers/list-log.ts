/** A log that keeps its lines, for tests that ask what was said. */

import type { Log } from '../../lib/log.ts'

export interface Line extends Record<string, unknown> {
  readonly level: keyof Log
  readonly message: string
}

export interface ListLogOptions {
  /** Shared with other logs. */
  readonly lines?: Line[]
  /** Of the dead nothing is heard. */
  readonly isDead?: () => boolean
}

export function createListLog(options: ListLogOptions = {}): Log & { readonly lines: readonly Line[] } {
  const { lines = [], isDead = () => false } = options
  const write = (level: keyof Log) => (fields: Record<string, unknown>, message: string) => {
    if (!isDead()) lines.push({ ...fields, level, message })
  }
  return { lines, debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}
