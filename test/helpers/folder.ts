/** Folders for programs that a test starts: as many as it wants, with short paths, gone when it ends. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

export function folderFor(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'landfall-test-'))
  // A program that was just ended may still be writing.
  t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  return folder
}
