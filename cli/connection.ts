/** Which API the commands talk to: by environment, by `landfall login`, or the development instance of this folder. */

import { readFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { rootCertificates } from 'node:tls'
import type { Environment } from '../lib/env-reader.ts'
import { CliError, refuseUsage } from './errors.ts'
import { API_URL, isTokenText } from './kinds.ts'
import { findLogin, type Login, loginFileOf } from './login-file.ts'

export interface Connection {
  /** `https://admin.example.test`, without a final slash. */
  readonly url: string
  readonly token: string
  /** PEM of authorities to be trusted, in place of the system's. */
  readonly ca?: string
  /** Where that was read. */
  readonly caFile?: string
  /** Where it was found, for messages. */
  readonly from: string
}

interface Address {
  readonly url: string
  readonly caFile?: string
  /** The file is an edge's own, which may have got a certificate of a public authority since. */
  readonly isLocal?: true
  readonly from: string
}

/**
 * LANDFALL_TOKEN and LANDFALL_CA_FILE come before what is stored; a stored token goes only to the address that it was
 * stored with. @throws CliError `cli_not_connected`, `cli_token_missing`, `cli_file_unusable`, `cli_usage`
 */
export async function getConnection(env: Environment, warn: (line: string) => void): Promise<Connection> {
  const login = await findLogin(loginFileOf(env), warn)
  const address = await findAddress(env, login)
  if (address === undefined) throw new CliError('cli_not_connected')
  const token = settingOf(env, 'LANDFALL_TOKEN') ?? (await findToken(env, address, login))
  if (token === undefined)
    throw new CliError('cli_token_missing', { detail: `${address.from}: ${address.url}` })
  if (!isTokenText(token))
    throw new CliError('cli_token_missing', { detail: 'What is there cannot be a token.' })
  return { url: address.url, from: address.from, token, ...(await readTrust(env, address)) }
}

/** A file that somebody named is all that is trusted. @throws CliError `cli_file_unusable` */
async function readTrust(env: Environment, address: Address): Promise<Pick<Connection, 'ca' | 'caFile'>> {
  const named = settingOf(env, 'LANDFALL_CA_FILE')
  const caFile = named ?? address.caFile
  if (caFile === undefined) return {}
  const ca = await readText(caFile)
  const isBesidePublic = named === undefined && address.isLocal === true
  return { caFile, ca: isBesidePublic ? [ca, ...rootCertificates].join('\n') : ca }
}

/** A folder that is named comes before a login; one that is merely there comes after it. */
async function findAddress(env: Environment, login: Login | undefined): Promise<Address | undefined> {
  const url = settingOf(env, 'LANDFALL_API')
  if (url !== undefined) return { url: parseUrl(url, 'LANDFALL_API'), from: 'LANDFALL_API' }
  const isNamed = settingOf(env, 'LANDFALL_DATA') !== undefined
  const local = isNamed || login === undefined ? await findLocal(env) : undefined
  if (local !== undefined || login === undefined) return local
  return {
    url: login.api,
    from: loginFileOf(env),
    ...(login.caFile !== undefined && { caFile: login.caFile }),
  }
}

/** What a running `landfall dev` says of itself. @throws CliError `cli_file_unusable` */
async function findLocal(env: Environment): Promise<Address | undefined> {
  const folder = dataFolderOf(env)
  const file = join(folder, 'api.json')
  const text = await findText(file)
  if (text === undefined) return undefined
  try {
    const { url, caFile } = JSON.parse(text) as { url?: unknown; caFile?: unknown }
    const isThere = typeof caFile === 'string' && isAbsolute(caFile)
    return {
      url: parseUrl(String(url), '"url"'),
      caFile: isThere ? caFile : join(folder, 'ca.pem'),
      isLocal: true,
      from: file,
    }
  } catch (cause) {
    throw new CliError('cli_file_unusable', { cause, detail: `${file} is not what "landfall dev" writes.` })
  }
}

async function findToken(
  env: Environment,
  address: Address,
  login: Login | undefined,
): Promise<string | undefined> {
  const folder = dataFolderOf(env)
  if (address.from === join(folder, 'api.json')) return (await findText(join(folder, 'admin.token')))?.trim()
  return login?.api === address.url ? login.token : undefined
}

function parseUrl(text: string, what: string): string {
  return API_URL.find(text) ?? refuseUsage(`${what} must be ${API_URL.form} (got "${text}").`)
}

export function settingOf(env: Environment, name: string): string | undefined {
  const text = env[name]?.trim()
  return text === '' ? undefined : text
}

function dataFolderOf(env: Environment): string {
  return settingOf(env, 'LANDFALL_DATA') ?? '.landfall'
}

async function findText(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') return undefined
    throw new CliError('cli_file_unusable', { cause, detail: `${file}: ${cause.message}` })
  })
}

/** @throws CliError `cli_file_unusable` */
export async function readText(file: string): Promise<string> {
  const text = await findText(file)
  if (text === undefined) throw new CliError('cli_file_unusable', { detail: `${file} does not exist.` })
  return text
}
