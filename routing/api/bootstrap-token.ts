/** The admin API's token: a file in the data folder that only its owner can read. */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RoutingError } from '../errors.ts'

/** The form of RFC 6750's b64token without padding, long enough not to be guessed. */
const TOKEN = /^[A-Za-z0-9_-]{32,512}$/
const OWNER_ONLY = 0o600

/** Reads `admin.token` in `folder`, or makes it. @throws RoutingError `api_token_unusable` */
export async function loadAdminToken(folder: string): Promise<string> {
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
  const token = randomBytes(32).toString('base64url')
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
  try {
    await writeDurably(draft, `${token}\n`)
    // A link, unlike a rename, never replaces the token of a process that was faster.
    await link(draft, path)
    return token
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error
    return (await findToken(path)) ?? ''
  } finally {
    await rm(draft, { force: true })
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'wx', OWNER_ONLY)
  await file.writeFile(text)
  await file.sync()
}

function isSystemError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
