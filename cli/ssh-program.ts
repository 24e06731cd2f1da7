/** The system's ssh, told how to reach a VM through the edge and which host key the VM has. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import type { Environment } from '../lib/env-reader.ts'
import { CliError } from './errors.ts'

export interface SshTarget {
  readonly vm: string
  readonly hostname: string
  readonly user: string
  /** What the VM's host reports; undefined when it is not known. */
  readonly hostKey: string | undefined
  /** A file with a private key, in place of those that ssh finds itself. */
  readonly identity: string | undefined
  readonly isTerminalWanted: boolean
  readonly words: readonly string[]
}

/** One line of the kind that `ssh-keyscan` prints, without the name: anything else could say more than a key. */
const HOST_KEY = /^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,2000}={0,2}$/
const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url))
/** Sent on, so that whoever ends this process ends ssh. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }

/** Runs ssh on this process's own terminal; the exit code is ssh's own. @throws CliError `cli_program_missing` */
export async function runSsh(target: SshTarget, env: Environment): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'landfall-ssh-'))
  try {
    const trust = await writeKnownHosts(target, join(folder, 'known_hosts'))
    return await run([...trust, ...sshArguments(target)], env)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Without a known key ssh asks, as for any host; the name stands for the VM wherever the edge is. */
async function writeKnownHosts({ hostname, hostKey = '' }: SshTarget, file: string): Promise<string[]> {
  if (!HOST_KEY.test(hostKey)) return []
  await writeFile(file, `${hostname} ${hostKey}\n`)
  return toOptions({
    UserKnownHostsFile: `"${file}"`,
    GlobalKnownHostsFile: '/dev/null',
    StrictHostKeyChecking: 'yes',
    UpdateHostKeys: 'no',
  })
}

function sshArguments({ vm, hostname, user, identity, isTerminalWanted, words }: SshTarget): string[] {
  return [
    ...toOptions({ ProxyCommand: proxyCommand(vm), HostKeyAlias: hostname, CheckHostIP: 'no' }),
    ...(identity === undefined ? [] : ['-i', identity, ...toOptions({ IdentitiesOnly: 'yes' })]),
    ...(isTerminalWanted ? ['-t'] : []),
    '-l',
    user,
    // Behind it ssh reads no more options, neither in the name nor in the command.
    '--',
    hostname,
    ...words,
  ]
}

function toOptions(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => ['-o', `${name}=${value}`])
}

/** ssh gives it to a shell, and replaces what begins with %. */
function proxyCommand(vm: string): string {
  const words = [process.execPath, MAIN, 'tunnel', vm, '22']
  return words.map((word) => `'${word.replaceAll("'", `'\\''`).replaceAll('%', '%%')}'`).join(' ')
}

async function run(args: readonly string[], env: Environment): Promise<number> {
  const child = spawn('ssh', args, { stdio: 'inherit', env: { ...env } })
  const sendOn = (signal: NodeJS.Signals) => void child.kill(signal)
  for (const signal of SIGNALS) process.on(signal, sendOn)
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    return code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0)
  } catch (cause) {
    throw new CliError('cli_program_missing', { cause, detail: `ssh: ${(cause as Error).message}` })
  } finally {
    for (const signal of SIGNALS) process.off(signal, sendOn)
  }
}
