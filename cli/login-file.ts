/** The file in which `landfall login` keeps an API's address and token, for its owner alone. */

import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Environment } from '../lib/env-reader.ts'
import { CliError } from './errors.ts'

export interface Login {
  readonly api: string
  readonly token: string
  /** An absolute path. */
  readonly caFile?: string
}

const OWNER_ONLY = 0o600
const OWNER_ONLY_FOLDER = 0o700
const OTHERS = 0o077

/** `$XDG_CONFIG_HOME/landfall/config.json`, below `~/.config` when that is not set. */
export function loginFileOf(env: Environment): string {
  const { XDG_CONFIG_HOME = '', HOME = '' } = env
  return join(XDG_CONFIG_HOME === '' ? join(HOME, '.config') : XDG_CONFIG_HOME, 'landfall', 'config.json')
}

/** Warns when others can read the token. @throws CliError `cli_file_unusable` */
export async function findLogin(file: string, warn: (line: string) => void): Promise<Login | undefined> {
  try {
    const login = parseLogin(await readFile(file, 'utf8'))
    const { mode } = await stat(file)
    if ((mode & OTHERS) !== 0) warn(`landfall: others can read the token in ${file}; run: chmod 600 ${file}`)
    return login
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    const next = 'Run "landfall login" again, or delete the file.'
    throw new CliError('cli_file_unusable', { cause, detail: `${file}: ${message}`, next })
  }
}

function parseLogin(text: string): Login {
  const { api, token, caFile } = JSON.parse(text) as Partial<Record<keyof Login, unknown>>
  if (typeof api !== 'string' || typeof token !== 'string')
    throw new TypeError('"api" and "token" are missing')
  return { api, token, ...(typeof caFile === 'string' && { caFile }) }
}

/** Replaces the file in one step. @throws CliError `cli_file_unusable` */
export async function writeLogin(file: string, login: Login): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  try {
    await mkdir(dirname(file), { recursive: true, mode: OWNER_ONLY_FOLDER })
    await writeDurably(draft, `${JSON.stringify(login, null, 2)}\n`)
    await rename(draft, file)
  } catch (cause) {
    throw new CliError('cli_file_unusable', { cause, detail: `${file}: ${(cause as Error).message}` })
  } finally {
    // Where it could not even be written there is nothing to take away.
    await rm(draft, { force: true }).catch(() => {})
  }
}

/** True when there was one. */
export async function deleteLogin(file: string): Promise<boolean> {
  const isThere = await stat(file).then(
    () => true,
    () => false,
  )
  if (isThere) await rm(file, { force: true })
  return isThere
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'wx', OWNER_ONLY)
  await file.writeFile(text)
  await file.sync()
}
