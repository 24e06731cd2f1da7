/** Pools in this machine's cgroups for one test, and processes in them; all of it is gone after the test. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readdir, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { parseCgroupMounts } from '../../../sidecar/pools/cgroup-mounts.ts'
import type { OwnedPoolGroups } from '../../../sidecar/pools/cgroup-pools.ts'
import { openPoolGroups } from '../../../sidecar/pools/open-pool-groups.ts'
import { killIfThere } from '../../helpers/landfall.ts'
import { listLog } from '../vms.ts'

export const CREATED_AT = '2026-01-31T12:00:00.123Z'
export const MIB = 1_048_576
export const SPIN = 'while :; do :; done'
const ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"'

/** Why the tests with real groups cannot run here; false when they can. */
export function whyNotReal(): string | false {
  if (process.platform !== 'linux') return 'cgroups are of Linux'
  if (process.getuid?.() !== 0) return 'only root may make cgroups'
  const { unified } = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'))
  return unified === undefined ? 'the v2 tree of cgroups is not mounted' : false
}

export interface RealGroups {
  readonly groups: OwnedPoolGroups
  /** Opens them once more, as after a restart. */
  readonly reopen: () => Promise<OwnedPoolGroups>
  /** The subtree's folder in each hierarchy. */
  readonly roots: readonly string[]
}

export async function realGroupsFor(t: Test, { pids }: { pids?: number } = {}): Promise<RealGroups> {
  const root = `landfall-test-${crypto.randomUUID().slice(0, 8)}`
  const folder = t.testdir()
  const { unified = '', v1 } = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'))
  const roots = [...new Set([unified, ...v1.values()])].map((mount) => join(mount, root))
  t.teardown(() => removeTrees(roots))
  const open = () => openPoolGroups({ log: listLog().log }, { root, folder, ...(pids && { pids }) })
  const groups = await open()
  if (groups.kind === 'none') throw new Error('root was not given any cgroup')
  return { groups, reopen: open, roots }
}

async function removeTrees(roots: readonly string[]): Promise<void> {
  for (const root of roots) {
    const entries = await readdir(root, { withFileTypes: true, recursive: true }).catch(() => [])
    const folders = entries.flatMap((one) => (one.isDirectory() ? [join(one.parentPath, one.name)] : []))
    for (const folder of [...folders.toSorted().toReversed(), root]) await endAndRemove(folder)
  }
}

async function endAndRemove(folder: string): Promise<void> {
  const deadline = performance.now() + 5_000
  for (;;) {
    const pids = readPids(folder)
    for (const pid of pids) killIfThere(pid)
    const isGone = await rmdir(folder).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
    )
    if (isGone) return
    if (performance.now() > deadline) throw new Error(`${folder} cannot be removed`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export function readPids(folder: string): number[] {
  try {
    const text = readFileSync(join(folder, 'cgroup.procs'), 'latin1')
    return text
      .split('\n')
      .map(Number)
      .filter((pid) => pid > 0)
  } catch {
    return []
  }
}

/** Runs a command in groups (`VmGroup.vmm`); it is killed after the test at the latest. */
export function runIn(t: Test, groups: readonly string[], command: readonly string[]): ChildProcess {
  const child = spawn('/bin/sh', ['-c', ENTER, 'sh', ...groups, '--', ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => undefined)
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  return child
}

/** Takes so much memory for each line "bytes" on its input, instead of what it had, and says so. */
export const HOLDER = [
  'perl',
  '-e',
  '$| = 1; while (<STDIN>) { undef $x; $x = "x"; $x x= $_; print length($x), "\\n" }',
]

export async function hold(child: ChildProcess, bytes: number): Promise<void> {
  child.stdin?.write(`${bytes}\n`)
  if (child.stdout) await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
}

/** The folders of a VM's own groups; the v2 tree's first. */
export function foldersOf(group: { readonly vmm: readonly string[] }): string[] {
  const folders = group.vmm.map((file, at) => (at === 0 ? dirname(dirname(file)) : dirname(file)))
  return folders.filter((folder) => !folder.endsWith('.pool'))
}
