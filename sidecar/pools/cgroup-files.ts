/** Reads and writes the files of cgroups, and makes and removes groups. */

import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { unless } from '../../lib/node-error.ts'

/** Failures are those of node:fs, with their `code`. */
export interface CgroupFiles {
  readonly read: (file: string) => Promise<string>
  readonly write: (file: string, value: string) => Promise<void>
  /** Leaves a group that is there. The parent has to be there. */
  readonly make: (folder: string) => Promise<void>
  /** @throws Error with EBUSY while a process or a group is in it */
  readonly remove: (folder: string) => Promise<void>
  /** The names of the groups in it; none when it is not there. */
  readonly list: (folder: string) => Promise<readonly string[]>
}

export const CGROUP_FILES: CgroupFiles = {
  read: (file) => readFile(file, 'latin1'),
  // Without O_CREAT: the kernel answers a file that it does not have with EACCES otherwise, as if we had no right to it.
  write: (file, value) => writeFile(file, value, { flag: 'r+' }),
  make: async (folder) => {
    await mkdir(folder).catch(unless('EEXIST'))
  },
  remove: async (folder) => {
    await rmdir(folder).catch(unless('ENOENT'))
  },
  list: async (folder) => {
    const entries = await readdir(folder, { withFileTypes: true }).catch(unless('ENOENT'))
    return entries?.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])) ?? []
  },
}

/** Makes the group and those that it is in, below the folder `from`, which is there. */
export async function makeGroups(files: CgroupFiles, folder: string, from: string): Promise<void> {
  if (folder === from) return
  await makeGroups(files, dirname(folder), from)
  await files.make(folder)
}

/** The number after a name, in files of lines as `usage_usec 1500`. */
export function findField(text: string, name: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? undefined : Number(line.slice(name.length + 1))
}
