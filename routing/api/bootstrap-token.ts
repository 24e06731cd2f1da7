/** The bootstrap token: a file in the data folder that only its owner can read. */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createPrivateFile } from '../../lib/private-file.ts'
import { RoutingError } from '../errors.ts'

/** The form of RFC 6750's b64token without padding, long enough not to be guessed. */
const TOKEN = /^[A-Za-z0-9_-]{32,512}$/

/** Reads `admin.token` in `folder`, or makes it. @throws RoutingError `api_token_unusable` */
export async function loadBootstrapToken(folder: string): Promise<string> {
  const path = join(folder, 'admin.token')
  const token = (await findToken(path)) ?? (await createToken(path))
  if (TOKEN.test(token)) return token
  throw new RoutingError('api_token_unusable', { detail: `${path} must hold 32 or more of A-Z a-z 0-9 - _.` })
}

/** Compares in constant time; hashing first makes the lengths equal. */
export function createTokenCheck(token: string): (given: string) => boolean {
  const expected = toDigest(token)
  return (given) => timingSafeEqual(toDigest(given), expected)
}

function toDigest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

async function findToken(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

async function createToken(path: string): Promise<string> {
  await createPrivateFile(path, `${randomBytes(32).toString('base64url')}\n`)
  return (await findToken(path)) ?? ''
}

function isSystemError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
