/** Starts a process that outlives us: in its cgroups from its first instruction, in its jail, its output in a file. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { constants } from 'node:os'
import { Readable } from 'node:stream'
import { SidecarError } from './errors.ts'
import { findJailKind, INFO_FD, type JailKind, type Jail as JailSpec, toJailCommand } from './jail.ts'
import { findProcess, type ProcessIdentity } from './process-identity.ts'

export type Jail = JailSpec

export const INPUT_FD = INFO_FD + 1

export interface LaunchSpec {
  readonly command: string
  readonly args: readonly string[]
  /** Takes what it writes to its output and its error output. */
  readonly logFile: string
  /** Files of cgroups that take process ids (`cgroup.procs`). */
  readonly groups: readonly string[]
  /** Where it starts, and what its relative paths mean; `/` when absent. A jail must show it. */
  readonly folder?: string
  /** Without one it runs as we do. */
  readonly jail?: Jail
  /** An open file that it gets as the descriptor `INPUT_FD`, whatever its jail shows it. */
  readonly input?: number
}

/** Exactly one of them is set. */
export interface ProcessExit {
  readonly code?: number
  readonly signal?: string
}

export interface LaunchedProcess extends ProcessIdentity {
  /** How it ended; never rejects. Known to its parent alone: who finds the process again has to look for itself. */
  readonly exited: Promise<ProcessExit>
}

/** Enters the cgroups, then becomes the program; the arguments up to `--` are the groups. A core would hold a guest's memory. */
const ENTER =
  'ulimit -c 0; while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"'
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
const MAX_INFO_CHARACTERS = 4_096
/** A shell's and bubblewrap's way to say that a child was ended by a signal. */
const SIGNAL_BASE = 128

/** @throws SidecarError vm_start_failed when it cannot be started at all */
export async function launch(spec: LaunchSpec): Promise<LaunchedProcess> {
  const kind: JailKind = spec.jail ? await findJailKind() : 'none'
  const child = await start(spec, kind)
  const exited = watchExit(child)
  const isWrapped = kind === 'root' || kind === 'user'
  const pid = isWrapped ? await readInnerPid(child) : child.pid
  child.unref()
  const identity = findProcess(pid ?? 0)
  if (identity) return { ...identity, exited }
  throw new SidecarError('vm_start_failed', {
    detail: `${spec.command} ended at once; ${spec.logFile} says why`,
  })
}

async function start(spec: LaunchSpec, kind: JailKind): Promise<ChildProcess> {
  const { command, args, groups, jail, input, folder = '/' } = spec
  const prefix = jail ? await toJailCommand(jail, kind, folder) : []
  await using log = await open(spec.logFile, 'a', 0o600)
  const child = spawn('/bin/sh', ['-c', ENTER, 'sh', ...groups, '--', ...prefix, command, ...args], {
    cwd: folder,
    env: ENVIRONMENT,
    // What comes after the log is INFO_FD and INPUT_FD.
    stdio: ['ignore', log.fd, log.fd, 'pipe', ...(input === undefined ? [] : [input])],
    detached: true,
  })
  await once(child, 'spawn').catch((cause: unknown) => {
    throw new SidecarError('vm_start_failed', { cause, detail: `${command}: ${String(cause)}` })
  })
  child.on('error', () => undefined)
  if (kind === 'none' || kind === 'uid') child.stdio[INFO_FD]?.destroy()
  return child
}

function watchExit(child: ChildProcess): Promise<ProcessExit> {
  const { promise, resolve } = Promise.withResolvers<ProcessExit>()
  child.once('exit', (code, signal) => resolve(toExit(code, signal)))
  return promise
}

function toExit(code: number | null, signal: string | null): ProcessExit {
  if (signal !== null) return { signal }
  const name = code === null ? undefined : signalNameOf(code - SIGNAL_BASE)
  return name === undefined ? { code: code ?? 0 } : { signal: name }
}

function signalNameOf(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
}

/** Undefined when bubblewrap ended before there was a process. */
async function readInnerPid(child: ChildProcess): Promise<number | undefined> {
  const info = child.stdio[INFO_FD]
  if (!(info instanceof Readable)) return undefined
  let text = ''
  try {
    for await (const chunk of info) {
      text += String(chunk)
      // To its end: bubblewrap would die of a pipe that nobody reads.
      const pid = /"child-pid": (\d+)[^}]*\}/.exec(text)?.[1]
      if (pid !== undefined) return Number(pid)
      if (text.length > MAX_INFO_CHARACTERS) return undefined
    }
  } finally {
    info.destroy()
  }
  return undefined
}
