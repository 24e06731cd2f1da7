/** Files that only their owner may read, made once, by whichever process comes first. */

import { randomBytes } from 'node:crypto'
import { link, mkdir, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf } from './node-error.ts'

const OWNER_ONLY = 0o600
const OWNER_ONLY_FOLDER = 0o700

/**
 * Makes the file, whole and on disk when this resolves, and its folder when there is none. Leaves a file that is there
 * already as it is. @throws Node's errors
 */
export async function createPrivateFile(path: string, text: string): Promise<void> {
  const folder = dirname(path)
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await mkdir(folder, { recursive: true, mode: OWNER_ONLY_FOLDER })
  try {
    await writeDurably(draft, text)
    // A link, unlike a rename, never replaces the file of a process that was faster.
    await link(draft, path)
    await syncFolder(folder)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'wx', OWNER_ONLY)
  await file.writeFile(text)
  await file.sync()
}

/** Until then a power cut may forget the names of files in the folder. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path)
  await folder.sync()
}
