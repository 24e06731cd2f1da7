/** Finds the SSH key that signs a token: in a file, or in ssh-agent for one that is encrypted or lives elsewhere. */

import { createPrivateKey, type KeyObject, sign, verify } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../lib/env-reader.ts'
import { CliError } from './errors.ts'
import { parseOpensshKey } from './openssh-key.ts'
import { signWithAgent } from './ssh-agent.ts'
import { parsePublicBlob, type SshPublicKey, toSshPublicKey } from './ssh-public-key.ts'
import { WireError } from './ssh-wire.ts'

export interface SigningKey {
  /** `EdDSA`, `ES256`, `ES384` or `ES512`. */
  readonly alg: string
  /** `SHA256:…` */
  readonly fingerprint: string
  /** The file that it was read from. */
  readonly file: string
  /** The signature as JWS has it. @throws CliError `cli_agent_failed`; Interrupted */
  sign(data: Buffer): Promise<Buffer>
}

export interface KeyDemand {
  /** Undefined for the usual ones of ssh. */
  readonly file: string | undefined
  readonly env: Environment
  readonly signal: AbortSignal
  readonly warn: (line: string) => void
}

/** One of the two halves that a file holds. */
interface KeyFile {
  readonly publicKey: SshPublicKey
  /** Undefined where only ssh-agent can use it. */
  readonly privateKey: KeyObject | undefined
}

const DEFAULT_FILES = ['id_ed25519', 'id_ecdsa']
const OTHERS = 0o077
const MAX_FILE_BYTES = 65_536
const OPENSSH = '-----BEGIN OPENSSH PRIVATE KEY-----'
/** RFC 7468 sections 10 and 11, and RFC 5915 section 4 with the headers of RFC 1421 where it is encrypted. */
const PEM = /^-----BEGIN ([A-Z ]+)-----\r?\n(Proc-Type: 4,ENCRYPTED)?/
const PUBLIC_LINE = /^([A-Za-z0-9@.-]{1,100})[ \t]+([A-Za-z0-9+/]{4,16000}={0,2})(?:[ \t][^\r\n]*)?\r?\n?$/

/** @throws CliError `cli_file_unusable`, `cli_key_unusable` */
export async function loadSigningKey({ file: named, env, signal, warn }: KeyDemand): Promise<SigningKey> {
  const file = named ?? (await findDefault(env))
  const text = await readKeyFile(file)
  const { publicKey, privateKey } = await parseKeyFile(file, text)
  if (text.includes('PRIVATE KEY-----')) await warnOfOthers(file, warn)
  const { type, fingerprint } = publicKey
  return {
    alg: type.alg,
    fingerprint,
    file,
    sign: async (data) => {
      const signature = privateKey
        ? signWith(privateKey, publicKey, data)
        : await signWithAgent(publicKey, data, { socketPath: findSocket(env, file), signal })
      checkSignature(publicKey, data, signature)
      return signature
    },
  }
}

async function findDefault({ HOME = '' }: Environment): Promise<string> {
  const files = DEFAULT_FILES.map((name) => join(HOME, '.ssh', name))
  for (const file of files) if (await isThere(file)) return file
  const detail = `There is neither ${files.join(' nor ')}.`
  throw new CliError('cli_key_unusable', {
    detail,
    next: 'Name a key with --key, or make one with ssh-keygen.',
  })
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

async function readKeyFile(file: string): Promise<string> {
  const text = await readFile(file, 'latin1').catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'There is no such file' : cause.message
    throw new CliError('cli_file_unusable', { cause, detail: `${file}: ${why}.` })
  })
  if (text.length > MAX_FILE_BYTES) throw unusable(file, 'it is too long for a key')
  return text
}

async function parseKeyFile(file: string, text: string): Promise<KeyFile> {
  try {
    if (text.startsWith(OPENSSH)) return parseOpensshKey(text)
    const [, label, encrypted] = PEM.exec(text) ?? []
    if (label === undefined) return { publicKey: parsePublicLine(text), privateKey: undefined }
    if (encrypted !== undefined || label === 'ENCRYPTED PRIVATE KEY') return await readPublicBeside(file)
    const privateKey = parsePem(text, label)
    return { publicKey: toSshPublicKey(privateKey), privateKey }
  } catch (error) {
    throw error instanceof WireError ? unusable(file, error.message, error) : error
  }
}

/** PKCS#8 or SEC 1. */
function parsePem(text: string, label: string): KeyObject {
  if (!label.endsWith('PRIVATE KEY')) throw new WireError(`it holds a ${label}`)
  try {
    return createPrivateKey(text)
  } catch (cause) {
    throw new WireError('it is not whole', { cause })
  }
}

/** `ssh-ed25519 AAAA… comment` */
function parsePublicLine(text: string): SshPublicKey {
  const [, name, base64 = ''] = PUBLIC_LINE.exec(text) ?? []
  const blob = Buffer.from(base64, 'base64')
  if (name === undefined || blob.toString('base64') !== base64) throw new WireError('it holds no SSH key')
  const publicKey = parsePublicBlob(blob)
  if (publicKey.type.name !== name) throw new WireError('its type and its key differ')
  return publicKey
}

/** Other than OpenSSH's own form, these hide the public half as well. */
async function readPublicBeside(file: string): Promise<KeyFile> {
  const beside = `${file}.pub`
  const text = await readFile(beside, 'latin1').catch(() => undefined)
  if (text === undefined) throw new WireError(`it is encrypted, and there is no ${beside}`)
  return { publicKey: parsePublicLine(text), privateKey: undefined }
}

/** ssh itself would not use such a key; here it is said and left to its owner. */
async function warnOfOthers(file: string, warn: (line: string) => void): Promise<void> {
  const { mode } = await stat(file)
  if ((mode & OTHERS) !== 0)
    warn(`landfall: others can read the private key in ${file}; run: chmod 600 ${file}`)
}

function findSocket({ SSH_AUTH_SOCK = '' }: Environment, file: string): string {
  if (SSH_AUTH_SOCK !== '') return SSH_AUTH_SOCK
  const detail = `${file} is encrypted or holds no private key, and SSH_AUTH_SOCK is not set.`
  throw new CliError('cli_agent_failed', { detail })
}

function signWith(privateKey: KeyObject, { type: { curve } }: SshPublicKey, data: Buffer): Buffer {
  return sign(curve?.digest, data, { key: privateKey, dsaEncoding: 'ieee-p1363' })
}

/** What an agent sends is a stranger's word; a token with a wrong signature would only fail where it is used. */
function checkSignature({ type: { curve }, key }: SshPublicKey, data: Buffer, signature: Buffer): void {
  if (verify(curve?.digest, data, { key, dsaEncoding: 'ieee-p1363' }, signature)) return
  throw new CliError('cli_agent_failed', { detail: 'ssh-agent: its signature is not one of this key.' })
}

function unusable(file: string, why: string, cause?: unknown): CliError {
  return new CliError('cli_key_unusable', { cause, detail: `${file}: ${why}.` })
}
