/** Small files that are replaced as a whole: whoever reads one finds the old text or the new one. Owner only. */

import { open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from './private-file.ts'

const OWNER_ONLY = 0o600

/** One writer at a time. After a power cut the file may be damaged. @throws Node's errors */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(draftOf(path), text, { mode: OWNER_ONLY })
  await rename(draftOf(path), path)
}

/**
 * One writer at a time. After a power cut, too, there is the old text or the new one.
 * @throws Node's errors; the file is as it was, or has the new text
 */
export async function replaceDurably(path: string, text: string): Promise<void> {
  const draft = draftOf(path)
  try {
    await writeDraft(draft, text)
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

/** Gone after a power cut, too. */
export async function deleteDurably(path: string): Promise<void> {
  await rm(path, { force: true })
  await syncFolder(dirname(path))
}

function draftOf(path: string): string {
  return `${path}.new`
}

async function writeDraft(draft: string, text: string): Promise<void> {
  await using file = await open(draft, 'w', OWNER_ONLY)
  await file.writeFile(text)
  await file.sync()
}
