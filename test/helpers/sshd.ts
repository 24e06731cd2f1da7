/** A real OpenSSH server on loopback that takes one key for this user; without its programs a test is skipped. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { folderFor } from './folder.ts'
import { findFreePort } from './free-port.ts'
import { until } from './until.ts'

export interface Sshd {
  readonly port: number
  /** `ssh-ed25519 AAAA…`. */
  readonly hostKey: string
  readonly user: string
  /** The private key that it takes. */
  readonly identity: string
  readonly folder: string
}

const SSHD = '/usr/sbin/sshd'
const PROGRAMS = [SSHD, '/usr/bin/ssh', '/usr/bin/ssh-keygen', '/usr/bin/scp', '/usr/bin/sftp']
/** Where sshd as root drops its rights to; its package makes it at boot. */
const PRIVILEGE_FOLDER = '/run/sshd'

/** What is missing here, or false. */
export function missingSsh(): string | false {
  const missing = PROGRAMS.filter((file) => !existsSync(file))
  return missing.length > 0 && `${missing.join(', ')} not installed`
}

export async function sshdFor(t: Test): Promise<Sshd> {
  const folder = folderFor(t)
  const [hostFile, identity, authorized] = ['host', 'id', 'authorized'].map((name) => join(folder, name))
  if (hostFile === undefined || identity === undefined || authorized === undefined)
    throw new Error('no paths')
  for (const file of [hostFile, identity]) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', file])
  }
  writeFileSync(authorized, readFileSync(`${identity}.pub`))
  if (userInfo().uid === 0) mkdirSync(PRIVILEGE_FOLDER, { recursive: true, mode: 0o755 })
  const port = await findFreePort()
  const config = join(folder, 'config')
  const lines = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${hostFile}`,
    `AuthorizedKeysFile ${authorized}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin prohibit-password',
    'PidFile none',
    'Subsystem sftp internal-sftp',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const server = spawn(SSHD, ['-D', '-e', '-f', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  server.stderr.on('data', (chunk: Buffer) => {
    said += chunk
  })
  const exited = once(server, 'close')
  t.teardown(async () => {
    server.kill('SIGTERM')
    await exited
  })
  await until(() => isListening(port), `sshd listens; it says ${said}`)
  const [type, key] = readFileSync(`${hostFile}.pub`, 'utf8').split(' ')
  return { port, hostKey: `${type} ${key?.trim()}`, user: userInfo().username, identity, folder }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
