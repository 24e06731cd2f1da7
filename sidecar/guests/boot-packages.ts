/** Fetches Debian packages and all that they need with apt-get, as any user, and unpacks them into a folder. */

import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '../run-command.ts'

export interface Package {
  readonly name: string
  readonly version: string
}

/** How apt-get is to be called: with which lists, and with folders of our own for all that it writes. */
export interface Apt {
  readonly options: readonly string[]
  readonly signal?: AbortSignal
}

/** What is wanted: `complete` with everything that they depend on; of `alone` with what it depends on only what `pick` matches. */
export interface PackageWish {
  readonly complete: readonly string[]
  readonly alone: { readonly from: readonly string[]; readonly pick: RegExp }
}

const DOWNLOAD_TIMEOUT_MS = 600_000
/** "Inst libc6 (2.36-9 Debian:12.13/stable [amd64])", as `apt-get --simulate` says. */
const INSTALLED = /^Inst (\S+) (?:\[\S+\] )?\((\S+) /gm

/** The system's package lists as they are. */
export async function openSystemApt(folder: string, signal?: AbortSignal): Promise<Apt> {
  await mkdir(join(folder, 'cache/archives/partial'), { recursive: true })
  // An empty list of what is installed: all that a package needs is named, whatever this machine has.
  await writeFile(join(folder, 'status'), '')
  const options = [
    `Dir::State::status=${join(folder, 'status')}`,
    `Dir::Cache=${join(folder, 'cache')}`,
    'Debug::NoLocking=1',
    'APT::Sandbox::User=root',
    'Acquire::Retries=2',
  ].flatMap((option) => ['-o', option])
  return { options, ...(signal && { signal }) }
}

/** Package lists of our own from the system's sources, fetched now. */
export async function openFreshApt(folder: string, signal?: AbortSignal): Promise<Apt> {
  const apt = await openSystemApt(folder, signal)
  const lists = join(folder, 'lists')
  await mkdir(join(lists, 'partial'), { recursive: true })
  const fresh = { ...apt, options: [...apt.options, '-o', `Dir::State::lists=${lists}`] }
  await aptGet(fresh, ['update'])
  return fresh
}

/** Sorted by name. @throws SidecarError command_failed when a package is not to be had */
export async function resolvePackages(apt: Apt, { complete, alone }: PackageWish): Promise<Package[]> {
  const needed = await simulate(apt, complete)
  const single = (await simulate(apt, alone.from)).filter(({ name }) => alone.pick.test(name))
  const byName = new Map([...needed, ...single].map((item) => [item.name, item]))
  return [...byName.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

async function simulate(apt: Apt, names: readonly string[]): Promise<Package[]> {
  const text = await aptGet(apt, ['--simulate', '--no-install-recommends', 'install', ...names])
  return [...text.matchAll(INSTALLED)].map(([, name = '', version = '']) => ({ name, version }))
}

/** Their files below `target`, as dpkg-deb lays them out. apt-get checks signatures and sums. */
export async function unpackPackages(
  apt: Apt,
  packages: readonly Package[],
  folders: { readonly downloads: string; readonly target: string },
): Promise<void> {
  await mkdir(folders.downloads, { recursive: true })
  await mkdir(folders.target, { recursive: true })
  await aptGet(
    apt,
    ['download', ...packages.map(({ name, version }) => `${name}=${version}`)],
    folders.downloads,
  )
  for (const file of await readdir(folders.downloads)) {
    if (file.endsWith('.deb')) {
      await runCommand('dpkg-deb', ['-x', join(folders.downloads, file), folders.target], {
        ...(apt.signal && { signal: apt.signal }),
      })
    }
  }
}

function aptGet({ options, signal }: Apt, args: readonly string[], cwd?: string): Promise<string> {
  return runCommand('apt-get', ['-q', '-y', ...options, ...args], {
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
    ...(cwd !== undefined && { cwd }),
    ...(signal && { signal }),
  })
}
