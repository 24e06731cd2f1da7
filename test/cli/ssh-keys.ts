/** SSH keys as the system's own ssh-keygen writes them, and agents that hold them. */

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JWK } from 'jose'
import type { Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { until } from '../helpers/until.ts'

export interface KeyKind {
  readonly type: 'ed25519' | 'ecdsa' | 'rsa'
  readonly bits?: number
  readonly alg: string
}

export interface KeyOptions {
  readonly passphrase?: string
  readonly comment?: string
  /** Of ssh-keygen -m. */
  readonly format?: 'PEM' | 'PKCS8'
}

export interface Agent {
  readonly socketPath: string
  add(file: string): void
}

export const KINDS: readonly KeyKind[] = [
  { type: 'ed25519', alg: 'EdDSA' },
  { type: 'ecdsa', bits: 256, alg: 'ES256' },
  { type: 'ecdsa', bits: 384, alg: 'ES384' },
  { type: 'ecdsa', bits: 521, alg: 'ES512' },
]

export function missingKeygen(): string | false {
  const missing = ['ssh-keygen', 'ssh-agent', 'ssh-add'].filter((name) => !existsSync(`/usr/bin/${name}`))
  return missing.length > 0 && `${missing.join(', ')} not installed`
}

/** Makes `file` and `file`.pub. */
export function writeKey(file: string, { type, bits }: KeyKind, options: KeyOptions = {}): string {
  const { passphrase = '', comment = 'ann@laptop', format } = options
  execFileSync('ssh-keygen', [
    ...['-q', '-t', type, '-N', passphrase, '-C', comment, '-f', file],
    ...(bits === undefined ? [] : ['-b', String(bits)]),
    ...(format === undefined ? [] : ['-m', format]),
  ])
  return file
}

/** Encrypts a key that is there. */
export function lockKey(file: string, { format }: Pick<KeyOptions, 'format'> = {}): void {
  const form = format === undefined ? [] : ['-m', format]
  execFileSync('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'a passphrase', ...form, '-f', file])
}

export function fingerprintOf(file: string): string {
  return execFileSync('ssh-keygen', ['-l', '-f', file]).toString().split(' ')[1] ?? ''
}

/** The public key out of the end of the blob, where its point is. */
export function jwkOf(file: string, { type, bits = 0 }: KeyKind): JWK {
  const blob = Buffer.from(readFileSync(`${file}.pub`, 'utf8').split(' ')[1] ?? '', 'base64')
  if (type === 'ed25519') return { kty: 'OKP', crv: 'Ed25519', x: blob.subarray(-32).toString('base64url') }
  const bytes = Math.ceil(bits / 8)
  const [x, y] = [blob.subarray(-2 * bytes, -bytes), blob.subarray(-bytes)]
  return { kty: 'EC', crv: `P-${bits}`, x: x.toString('base64url'), y: y.toString('base64url') }
}

export async function agentFor(t: Test): Promise<Agent> {
  const socketPath = join(folderFor(t), 'agent')
  const agent = spawn('ssh-agent', ['-D', '-a', socketPath], { stdio: 'ignore' })
  t.teardown(() => void agent.kill('SIGKILL'))
  await until(() => existsSync(socketPath), 'the socket of ssh-agent')
  const env = { PATH: process.env.PATH, SSH_AUTH_SOCK: socketPath }
  return { socketPath, add: (file) => void execFileSync('ssh-add', ['-q', file], { env, stdio: 'ignore' }) }
}
