/** The programs that make images, each with the Debian package that brings it. */

import { access, constants } from 'node:fs/promises'
import { SidecarError } from '../errors.ts'
import { type CommandOptions, runCommand } from '../run-command.ts'

/** Where the system's programs are; a shell of a user often has no sbin. */
const FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

const PACKAGES = {
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  dumpe2fs: 'e2fsprogs',
  'qemu-img': 'qemu-utils',
  fakeroot: 'fakeroot',
  mmdebstrap: 'mmdebstrap',
  skopeo: 'skopeo',
  umoci: 'umoci',
  prlimit: 'util-linux',
  unshare: 'util-linux',
  tar: 'tar',
} as const

export type BuildProgram = keyof typeof PACKAGES

/** @throws SidecarError image_build_failed naming every package that is missing */
export async function checkPrograms(
  programs: readonly BuildProgram[],
  folders: readonly string[] = FOLDERS,
): Promise<void> {
  const found = await Promise.all(programs.map((program) => isInstalled(program, folders)))
  const missing = programs.filter((_, at) => !found[at])
  if (missing.length === 0) return
  const packages = [...new Set(missing.map((program) => PACKAGES[program]))]
  throw new SidecarError('image_build_failed', {
    detail: `${missing.join(' and ')} not found: install ${packages.join(' ')} (apt-get install ${packages.join(' ')})`,
  })
}

async function isInstalled(program: string, folders: readonly string[]): Promise<boolean> {
  for (const folder of folders) {
    const isThere = await access(`${folder}/${program}`, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return true
  }
  return false
}

/** As `runCommand`, for a step of a build. @throws SidecarError image_build_failed with what the program wrote */
export async function runBuildStep(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  try {
    return await runCommand(file, args, options)
  } catch (cause) {
    if (!(cause instanceof SidecarError)) throw cause
    throw new SidecarError('image_build_failed', { cause, detail: cause.message })
  }
}

/** Root makes files of every owner; anybody else does so inside fakeroot, in which all of theirs are root's. */
export function isRoot(): boolean {
  return process.geteuid?.() === 0
}
