/** Makes the files that every guest boots with, from Debian packages, once for each set of package versions. */

import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Apt,
  openFreshApt,
  openSystemApt,
  type Package,
  resolvePackages,
  unpackPackages,
} from './boot-packages.ts'
import { loadInitScript, MODULES, toInitramfs } from './initramfs.ts'
import { findKernel, unpackKernel } from './kernel.ts'
import { loadModules } from './modules.ts'
import { toRefreshProgram } from './refresh-program.ts'
import { loadScripts, readBusybox, writeToolsDisk } from './tools-disk.ts'

/** Each a file that is never written again. */
export interface BootFiles {
  /** SHA-256, in hex, of what they are made from: package versions and our own files. */
  readonly digest: string
  /** An uncompressed kernel with a PVH entry. */
  readonly kernelFile: string
  readonly initramfsFile: string
  /** A raw ext4 image, read-only for guests. */
  readonly toolsFile: string
}

export interface BuildOptions {
  /** Told of each step as it begins, in a few words. */
  readonly progress?: (step: string) => void
  readonly signal?: AbortSignal
}

const PACKAGES = {
  complete: ['busybox-static', 'dropbear-bin', 'e2fsprogs', 'util-linux'],
  // The first depends on the newest kernel of its kind; neither is wanted with what it would be configured by.
  alone: {
    from: ['linux-image-cloud-amd64', 'openssh-sftp-server'],
    pick: /^(linux-image-\d.*-cloud-amd64|openssh-sftp-server)$/,
  },
} as const
/** To be raised when the way in which the files are made changes, beside the files that go in. */
const RECIPE = 1
const STALE_MS = 3_600_000
const NAMES = { kernelFile: 'vmlinux', initramfsFile: 'initramfs', toolsFile: 'tools.img' } as const

/**
 * Files below `<folder>/boot/<digest>/`: those that are there already, else new ones. Builders at the same time do not
 * disturb each other. Needs no rights. @throws SidecarError image_build_failed, command_failed
 */
export async function buildBootFiles(folder: string, options: BuildOptions = {}): Promise<BootFiles> {
  const parent = join(folder, 'boot')
  await mkdir(parent, { recursive: true })
  await removeLeftovers(parent)
  const work = await mkdtemp(join(parent, '.new-'))
  try {
    const [apt, packages] = await findPackages(work, options)
    const digest = await digestOf(packages)
    const target = join(parent, digest)
    if (!(await isThere(target))) {
      await buildInto(join(work, 'result'), { work, apt, packages, options })
      await publish(join(work, 'result'), target)
    }
    return toBootFiles(target, digest)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Those of an earlier build; undefined when they are not all there. */
export async function findBootFiles(folder: string, digest: string): Promise<BootFiles | undefined> {
  const target = join(folder, 'boot', digest)
  return (await isThere(target)) ? toBootFiles(target, digest) : undefined
}

/** The system's package lists may be missing or name what is no longer offered; then lists of our own are fetched. */
async function findPackages(work: string, { progress, signal }: BuildOptions): Promise<[Apt, Package[]]> {
  progress?.('looking for the newest kernel')
  try {
    const apt = await openSystemApt(join(work, 'apt'), signal)
    return [apt, await resolvePackages(apt, PACKAGES)]
  } catch (error) {
    if (signal?.aborted) throw error
    progress?.('fetching package lists')
    const apt = await openFreshApt(join(work, 'fresh-apt'), signal)
    return [apt, await resolvePackages(apt, PACKAGES)]
  }
}

async function digestOf(packages: readonly Package[]): Promise<string> {
  const hash = createHash('sha256')
  hash.update(JSON.stringify([RECIPE, MODULES, packages]))
  for (const [path, text] of await loadScripts()) hash.update(JSON.stringify([path, text.toString('utf8')]))
  hash.update(await loadInitScript())
  hash.update(toRefreshProgram())
  return hash.digest('hex')
}

interface Build {
  readonly work: string
  readonly apt: Apt
  readonly packages: readonly Package[]
  readonly options: BuildOptions
}

async function buildInto(
  result: string,
  { work, apt, packages, options: { progress } }: Build,
): Promise<void> {
  const unpacked = join(work, 'unpacked')
  progress?.(`fetching ${packages.length} Debian packages`)
  await unpackPackages(apt, packages, { downloads: join(work, 'downloads'), target: unpacked })
  await mkdir(result)
  progress?.('unpacking the kernel')
  const kernel = await findKernel(unpacked)
  await unpackKernel(kernel.bzImage, join(work, 'vmlinux'))
  await rename(join(work, 'vmlinux'), join(result, NAMES.kernelFile))
  progress?.('making the initramfs and the tools disk')
  const modules = await loadModules(kernel.modules, MODULES)
  const initramfs = toInitramfs({
    busybox: await readBusybox(unpacked),
    modules,
    init: await loadInitScript(),
  })
  await writeFile(join(result, NAMES.initramfsFile), initramfs)
  const toolsWork = join(work, 'tools')
  await mkdir(toolsWork)
  await writeToolsDisk(unpacked, toolsWork, join(result, NAMES.toolsFile))
}

/** The folder is whole on the disk before it gets its name. */
async function publish(from: string, target: string): Promise<void> {
  for (const name of Object.values(NAMES)) {
    await chmod(join(from, name), 0o444)
    await using file = await open(join(from, name), 'r')
    await file.sync()
  }
  await chmod(from, 0o755)
  try {
    await rename(from, target)
  } catch (error) {
    // Another builder was faster; what it made is the same.
    if (!(await isThere(target))) throw error
  }
}

async function isThere(target: string): Promise<boolean> {
  const found = await Promise.all(
    Object.values(NAMES).map((name) => stat(join(target, name)).catch(() => undefined)),
  )
  return found.every((item) => item !== undefined)
}

function toBootFiles(target: string, digest: string): BootFiles {
  return {
    digest,
    kernelFile: join(target, NAMES.kernelFile),
    initramfsFile: join(target, NAMES.initramfsFile),
    toolsFile: join(target, NAMES.toolsFile),
  }
}

/** What a builder that was killed has left; a living one is done within the hour. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith('.new-')) continue
    const found = await stat(join(parent, name)).catch(() => undefined)
    if (found && Date.now() - found.mtimeMs > STALE_MS)
      await rm(join(parent, name), { recursive: true, force: true })
  }
}
