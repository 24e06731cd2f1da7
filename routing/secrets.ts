/** The key that seals secrets in the store: read from a file, or made beside a store that only this process has. */

import { randomBytes } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { createPrivateFile } from '../lib/private-file.ts'
import { KEY_BYTES, parseSealKeys, SealError, type Sealer } from '../lib/seal.ts'
import { RoutingError } from './errors.ts'

export interface SecretKeySettings {
  /** Empty for `secret.key` in the data folder. */
  readonly file: string
  /** The data folder. */
  readonly folder: string
  /** Several processes share the store: each needs the same key, so none is made. */
  readonly isFleet: boolean
}

const OTHERS = 0o077

/**
 * 32 bytes each; the first seals, all of them open. The file holds one a line, in base64, and nobody but its owner may
 * read it. @throws RoutingError `secret_key_unusable`
 */
export async function loadSecretKeys(settings: SecretKeySettings): Promise<readonly Buffer[]> {
  const { file, folder, isFleet } = settings
  if (file !== '') return readKeys(file)
  if (isFleet)
    throw new RoutingError('secret_key_unusable', { detail: 'LANDFALL_SECRET_KEY_FILE is not set.' })
  const path = join(folder, 'secret.key')
  try {
    await createPrivateFile(path, `${randomBytes(KEY_BYTES).toString('base64')}\n`)
  } catch (cause) {
    throw unusable(path, cause)
  }
  return readKeys(path)
}

/** `boundTo` is the key of the record that holds the value. @throws RoutingError `secret_unreadable` */
export function openSecret(sealer: Sealer, sealed: unknown, boundTo: string): Buffer {
  try {
    return sealer.open(sealed, boundTo)
  } catch (cause) {
    if (!(cause instanceof SealError)) throw cause
    throw new RoutingError('secret_unreadable', { cause, detail: boundTo })
  }
}

async function readKeys(path: string): Promise<readonly Buffer[]> {
  try {
    await using file = await open(path)
    await checkMode(file)
    const keys = parseSealKeys(await file.readFile('utf8'))
    if (keys.length === 0) throw new SealError('there is no key in the file')
    return keys
  } catch (cause) {
    throw unusable(path, cause)
  }
}

async function checkMode(file: FileHandle): Promise<void> {
  const { mode } = await file.stat()
  if ((mode & OTHERS) !== 0) throw new SealError('others than its owner may use the file (chmod 600)')
}

/** What is wrong with a key is said without the key. */
function unusable(path: string, cause: unknown): RoutingError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new RoutingError('secret_key_unusable', { cause, detail: `${path}: ${reason}` })
}
