/** The command that puts a program into a jail: a user, and namespaces of mounts, processes and network of its own. */

import { lstat, readlink, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { runCommand } from './run-command.ts'

/** What a process may see and be. */
export interface Jail {
  readonly uid: number
  readonly gid: number
  /** A file of a network namespace, as ip-netns(8) makes them, or ours; when absent, one that leads nowhere. */
  readonly netns?: string | typeof OUR_NETWORK
  /** Files and folders that it may read, beside the system's programs and libraries. */
  readonly readable: readonly string[]
  /** Files and folders that it may write. */
  readonly writable: readonly string[]
  /** Devices, as `/dev/kvm`. */
  readonly devices: readonly string[]
}

/**
 * `root`: the jail's user, bubblewrap's mounts. `uid`: the jail's user, our mounts. `user`: bubblewrap's mounts in a
 * user namespace, our user. `none`: neither can be had.
 */
export type JailKind = 'root' | 'uid' | 'user' | 'none'

export const OUR_NETWORK = 'ours'

/** The descriptor on which bubblewrap tells the id of the process in the jail. */
export const INFO_FD = 3

const PROBE_TIMEOUT_MS = 5_000
const SYSTEM_FOLDERS = ['/bin', '/lib', '/lib32', '/lib64', '/libx32', '/sbin']
const GROUP_READ_WRITE = 0o060
/** Whatever it has started ends with it, and it finds no process but its own. */
const OWN_PROCESSES = ['--unshare-pid', '--as-pid-1']
const NO_NETWORK = '--unshare-net'
const PLAIN_DEVICES = ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom']

let found: Promise<JailKind> | undefined

/** Tried once in the life of this process: bubblewrap may be missing, and a kernel may forbid user namespaces. */
export function findJailKind(): Promise<JailKind> {
  found ??= probe()
  return found
}

async function probe(): Promise<JailKind> {
  const isRoot = process.getuid?.() === 0
  const apart = [...OWN_PROCESSES, NO_NETWORK, ...(isRoot ? [] : ['--unshare-user'])]
  const args = ['--ro-bind', '/', '/', ...apart, '--', 'true']
  const works = await runCommand('bwrap', args, { timeoutMs: PROBE_TIMEOUT_MS }).then(
    () => true,
    () => false,
  )
  if (isRoot) return works ? 'root' : 'uid'
  return works ? 'user' : 'none'
}

/** What goes before a command; it starts in `folder`, which is the same path within. Each program becomes the next. */
export async function toJailCommand(jail: Jail, kind: JailKind, folder: string): Promise<readonly string[]> {
  const isFile = jail.netns !== undefined && jail.netns !== OUR_NETWORK
  const netns = isFile ? ['nsenter', `--net=${jail.netns}`, '--'] : []
  if (kind === 'none') return netns
  if (kind === 'uid') return [...netns, ...(await toUser(jail))]
  const view = [...(await systemView()), ...toView(jail), '--chdir', folder]
  if (kind === 'user') return [...netns, 'bwrap', '--unshare-user', ...view, '--']
  return [...netns, 'bwrap', ...view, ...KEPT_UNTIL_USER, '--', ...(await toUser(jail))]
}

/** Bubblewrap runs as root and mounts; what it starts becomes the jail's user and then may nothing. */
const KEPT_UNTIL_USER = [
  '--cap-drop',
  'ALL',
  ...['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_DAC_READ_SEARCH'].flatMap((name) => [
    '--cap-add',
    name,
  ]),
]

async function toUser({ uid, gid, devices }: Jail): Promise<readonly string[]> {
  const caps = ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all']
  return [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${gid}`,
    ...(await toGroups(devices)),
    ...caps,
    '--no-new-privs',
    '--',
  ]
}

/** Those that its devices are open to, as /dev/kvm to the group `kvm`. */
async function toGroups(devices: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(devices.map((path) => stat(path)))
  const groups = found.filter(({ mode, gid }) => gid !== 0 && (mode & GROUP_READ_WRITE) !== 0)
  return groups.length === 0 ? ['--clear-groups'] : [`--groups=${groups.map(({ gid }) => gid).join()}`]
}

function toView({ netns, readable, writable, devices }: Jail): readonly string[] {
  return [
    ...OWN_PROCESSES,
    ...(netns === undefined ? [NO_NETWORK] : []),
    ...['--unshare-ipc', '--unshare-uts', '--new-session', '--info-fd', String(INFO_FD)],
    ...toParents([...readable, ...writable, ...devices, ...PLAIN_DEVICES]),
    ...readable.flatMap((path) => ['--ro-bind', path, path]),
    ...writable.flatMap((path) => ['--bind', path, path]),
    ...[...PLAIN_DEVICES, ...devices].flatMap((path) => ['--dev-bind', path, path]),
  ]
}

/** Bubblewrap would make them for root alone. */
function toParents(paths: readonly string[]): readonly string[] {
  const parents = new Set(paths.flatMap(parentsOf))
  return [...parents].toSorted().flatMap((path) => ['--perms', '0755', '--dir', path])
}

function parentsOf(path: string): readonly string[] {
  const parent = dirname(path)
  return parent === path || parent === '/' ? [] : [...parentsOf(parent), parent]
}

/** Programs and libraries as they lie on this machine; of /etc only where libraries are looked up. */
async function systemView(): Promise<readonly string[]> {
  const folders = await Promise.all(SYSTEM_FOLDERS.map(viewOf))
  return [
    '--ro-bind',
    '/usr',
    '/usr',
    ...['--perms', '0755', '--dir', '/etc'],
    '--ro-bind-try',
    '/etc/ld.so.cache',
    '/etc/ld.so.cache',
    ...folders.flat(),
  ]
}

async function viewOf(folder: string): Promise<readonly string[]> {
  const stats = await lstat(folder).catch(() => undefined)
  if (!stats) return []
  return stats.isSymbolicLink()
    ? ['--symlink', await readlink(folder), folder]
    : ['--ro-bind', folder, folder]
}
