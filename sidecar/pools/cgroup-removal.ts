/** Ends all processes of a group in every hierarchy, and removes it. */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, unless } from '../../lib/node-error.ts'
import type { CgroupFiles } from './cgroup-files.ts'

export interface Removal {
  /** The first is in the v2 tree. */
  readonly trees: readonly [string, ...string[]]
  /** Of the group, below each tree. */
  readonly path: string
  /** Groups in it, in the v2 tree. */
  readonly leaves: readonly string[]
}

/** A process that waits for a disk cannot be killed before the disk has answered. */
const DEADLINE_MS = 10_000
const POLL_MS = 10

/** Does nothing when it is gone. @throws Error with EBUSY when it still has processes after 10 seconds */
export async function removeGroup(files: CgroupFiles, { trees, path, leaves }: Removal): Promise<void> {
  const [unified, ...others] = trees
  const deadline = performance.now() + DEADLINE_MS
  const folder = join(unified, path)
  const kill = () => files.write(join(folder, 'cgroup.kill'), '1').catch(unless('ENOENT', 'ENODEV'))
  for (const one of [...leaves.map((leaf) => join(folder, leaf)), folder]) {
    await removeWhenEmpty(files, one, { deadline, kill })
  }
  for (const tree of others) {
    const group = join(tree, path)
    await removeWhenEmpty(files, group, { deadline, kill: () => killEach(files, group) })
  }
}

async function removeWhenEmpty(
  files: CgroupFiles,
  folder: string,
  { deadline, kill }: { readonly deadline: number; readonly kill: () => Promise<void> },
): Promise<void> {
  for (;;) {
    try {
      return await files.remove(folder)
    } catch (error) {
      if (codeOf(error) !== 'EBUSY' || performance.now() > deadline) throw error
    }
    await kill()
    await sleep(POLL_MS)
  }
}

/** For hierarchies of v1: whatever is in them alone was started by a process that was ended while it entered them. */
async function killEach(files: CgroupFiles, folder: string): Promise<void> {
  const text = await files.read(join(folder, 'cgroup.procs')).catch(unless('ENOENT', 'ENODEV'))
  for (const pid of (text ?? '').split('\n').map(Number)) {
    // 0 stands for a process that we cannot see, and to kill(2) for our own group.
    if (pid > 0) killOne(pid)
  }
}

function killOne(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    unless('ESRCH')(error)
  }
}
