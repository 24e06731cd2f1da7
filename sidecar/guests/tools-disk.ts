/** The read-only disk that every guest has beside its own: our init and agent, SSH, and what they run, for any root file system. */

import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { SidecarError } from '../errors.ts'
import { runCommand } from '../run-command.ts'
import { findNeededLibraries, withInterpreter, withString } from './elf.ts'
import { toRefreshProgram } from './refresh-program.ts'

/** Where the disk is mounted in a guest. Paths in patched programs start with it. */
const MOUNT = '/.landfall'
const LOADER = `${MOUNT}/lib/ld.so`

/** In the packages → on the disk. */
const PROGRAMS = [
  ['usr/sbin/dropbear', 'dropbear'],
  ['usr/bin/dropbearconvert', 'dropbearconvert'],
  // As short as the path that dropbear is built with.
  ['usr/lib/openssh/sftp-server', 'sftp'],
  ['usr/sbin/resize2fs', 'resize2fs'],
  ['usr/bin/setpriv', 'setpriv'],
] as const

/** Ours → on the disk; those named without a suffix are run as programs. */
const SCRIPTS = [
  ['init.sh', 'init'],
  ['agent.sh', 'bin/agent'],
  ['settings.sh', 'bin/settings.sh'],
  ['file-systems.sh', 'bin/file-systems.sh'],
  ['network.sh', 'bin/network.sh'],
  ['identity.sh', 'bin/identity.sh'],
  ['shut-down.sh', 'bin/shut-down.sh'],
  ['observe-ports.awk', 'bin/observe-ports.awk'],
] as const

/** A name that the loader never finds: libraries of the guest must not get into our programs. */
const LOADER_STRINGS = [
  ['/etc/ld.so.cache', `${MOUNT}/cache`],
  ['/etc/ld.so.preload', `${MOUNT}/preload`],
] as const
/** The loader keeps the lengths of its folders elsewhere, so each is replaced by one of the same length. */
const LIBRARY_FOLDER = '/lib/x86_64-linux-gnu/'
const OUR_LIBRARY_FOLDER = `${MOUNT}/lib/shared/`

const KIB = 1024
/** Room for inodes and tables beside the files. */
const SPARE_KIB = 1024
/** Any will do; always the same, so that the same files give the same disk. */
const DISK_UUID = '6c616e64-6661-6c6c-8000-746f6f6c7300'

/** The scripts, in a fixed order, for those who ask what the disk is made of. */
export async function loadScripts(): Promise<readonly (readonly [string, Buffer])[]> {
  return Promise.all(
    SCRIPTS.map(
      async ([from, to]) => [to, await readFile(new URL(`guest/${from}`, import.meta.url))] as const,
    ),
  )
}

/** Writes the disk from unpacked packages. `work` is an empty folder for the taking. @throws SidecarError */
export async function writeToolsDisk(unpacked: string, work: string, target: string): Promise<void> {
  const tree = join(work, 'tree')
  await mkdir(join(tree, 'bin'), { recursive: true })
  await mkdir(join(tree, 'lib/shared'), { recursive: true })
  await addPrograms(unpacked, tree)
  for (const [path, text] of await loadScripts()) {
    await addFile(join(tree, path), text, path.includes('.') ? 0o644 : 0o755)
  }
  await addFile(join(tree, 'bin/refresh'), toRefreshProgram(), 0o755)
  await packTree(tree, target)
}

async function addPrograms(unpacked: string, tree: string): Promise<void> {
  const libraries = await findLibraries(unpacked)
  await addFile(join(tree, 'bin/busybox'), await readBusybox(unpacked), 0o755)
  await symlink('busybox', join(tree, 'bin/sh'))
  const needed = new Set<string>()
  for (const [from, name] of PROGRAMS) {
    const program = await readFirst(unpacked, from)
    await need(findNeededLibraries(program), { libraries, needed })
    await addFile(join(tree, 'bin', name), patchProgram(name, program), 0o755)
  }
  for (const name of needed) {
    const data = await readFile(getLibrary(libraries, name))
    await addFile(join(tree, 'lib/shared', name), name.startsWith('ld-') ? patchLoader(data) : data, 0o755)
  }
  const loader = [...needed].find((name) => name.startsWith('ld-'))
  if (loader !== undefined) await symlink(`shared/${loader}`, join(tree, 'lib/ld.so'))
}

/** Adds libraries with those that they need in turn. */
async function need(
  names: readonly string[],
  known: { readonly libraries: ReadonlyMap<string, string>; readonly needed: Set<string> },
): Promise<void> {
  for (const name of names) {
    if (known.needed.has(name)) continue
    known.needed.add(name)
    await need(findNeededLibraries(await readFile(getLibrary(known.libraries, name))), known)
  }
}

function getLibrary(libraries: ReadonlyMap<string, string>, name: string): string {
  const file = libraries.get(name)
  if (file === undefined) throw new SidecarError('image_build_failed', { detail: `no package holds ${name}` })
  return file
}

/** By name; links of packages lead to files beside them. */
async function findLibraries(unpacked: string): Promise<Map<string, string>> {
  const folders = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'].map((path) => join(unpacked, path))
  const lists = await Promise.all(
    folders.map(async (folder) => {
      const names = await readdir(folder).catch(() => [])
      return names
        .filter((name) => /\.so(\.|$)/.test(name))
        .map((name) => [name, join(folder, name)] as const)
    }),
  )
  return new Map(lists.flat())
}

export function readBusybox(unpacked: string): Promise<Buffer> {
  return readFirst(unpacked, 'usr/bin/busybox')
}

/** Debian 12 has some of its programs outside of usr/, later ones have none. */
async function readFirst(unpacked: string, path: string): Promise<Buffer> {
  const places = [path, path.replace(/^usr\//, '')].map((place) => join(unpacked, place))
  for (const place of places) {
    if (await stat(place).catch(() => undefined)) return readFile(place)
  }
  throw new SidecarError('image_build_failed', { detail: `no package holds ${path}` })
}

function patchProgram(name: string, program: Buffer): Buffer {
  const patched = withInterpreter(program, LOADER)
  if (basename(name) !== 'dropbear') return patched
  return withString(patched, '/usr/lib/sftp-server', `${MOUNT}/bin/sftp`)
}

function patchLoader(loader: Buffer): Buffer {
  const patched = LOADER_STRINGS.reduce((file, [from, to]) => withString(file, from, to), loader)
  return withText(patched, LIBRARY_FOLDER, OUR_LIBRARY_FOLDER)
}

/** Every occurrence, within longer strings too. */
function withText(file: Buffer, from: string, to: string): Buffer {
  if (from.length !== to.length) throw new RangeError(`${to} is not as long as ${from}`)
  return Buffer.from(file.toString('latin1').replaceAll(from, to), 'latin1')
}

async function addFile(path: string, data: Uint8Array, mode: number): Promise<void> {
  await writeFile(path, data)
  await chmod(path, mode)
}

/** No journal: nobody ever writes to it. */
async function packTree(tree: string, target: string): Promise<void> {
  const used = Number((await runCommand('du', ['-sk', '--apparent-size', tree])).split('\t')[0])
  const sizeKib = Math.ceil((used * 1.2 + SPARE_KIB) / KIB) * KIB
  const options = `root_owner=0:0,hash_seed=${DISK_UUID},lazy_itable_init=0`
  const args = ['-q', '-F', '-t', 'ext4', '-O', '^has_journal,^resize_inode', '-m', '0', '-b', '4096']
  await runCommand('fakeroot', [
    'mke2fs',
    ...args,
    ...['-U', DISK_UUID, '-L', 'landfall-tools', '-E', options, '-d', tree, target, `${sizeKib}k`],
  ])
}
