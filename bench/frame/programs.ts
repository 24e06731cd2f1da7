/** The programs of other projects that benchmarks run: where they are, and which version. */

import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { BenchError } from './benchmark.ts'

interface ProgramFacts {
  readonly debianPackage: string
  readonly versionArgs: readonly string[]
  readonly version: RegExp
}

const PROGRAMS = {
  nginx: { debianPackage: 'nginx', versionArgs: ['-v'], version: /nginx\/(\S+)/ },
  haproxy: { debianPackage: 'haproxy', versionArgs: ['-v'], version: /version (\S+)/ },
  wrk: { debianPackage: 'wrk', versionArgs: ['-v'], version: /^wrk (\S+)/ },
  h2load: { debianPackage: 'nghttp2-client', versionArgs: ['--version'], version: /nghttp2\/(\S+)/ },
  'redis-server': { debianPackage: 'redis-server', versionArgs: ['--version'], version: /v=(\S+)/ },
  'qemu-system-x86_64': {
    debianPackage: 'qemu-system-x86',
    versionArgs: ['--version'],
    version: /version (\S+)/,
  },
  'qemu-storage-daemon': {
    debianPackage: 'qemu-system-common',
    versionArgs: ['--version'],
    version: /version (\S+)/,
  },
  taskset: { debianPackage: 'util-linux', versionArgs: ['--version'], version: /util-linux (\S+)/ },
} as const satisfies Record<string, ProgramFacts>

export type ProgramName = keyof typeof PROGRAMS

/** Servers stand in a folder that Debian leaves out of other users' PATH. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin']

export interface Program {
  readonly path: string
  readonly version: string
}

export type Programs = Readonly<Record<ProgramName, Program>>

/** @throws BenchError naming everything that is missing */
export async function loadPrograms(): Promise<Programs> {
  const names = Object.keys(PROGRAMS) as ProgramName[]
  const paths = names.map((name) => ({ name, path: findPath(name) }))
  const missing = paths.filter(({ path }) => path === undefined).map(({ name }) => name)
  if (missing.length > 0) throw absent(missing)
  const found = paths.map(async ({ name, path = name }) => {
    return [name, { path, version: await readVersion(path, PROGRAMS[name]) }] as const
  })
  return Object.fromEntries(await Promise.all(found)) as Programs
}

function absent(names: readonly ProgramName[]): BenchError {
  const packages = names.map((name) => PROGRAMS[name].debianPackage)
  return new BenchError(
    `not found: ${names.join(', ')}\nrun test/setup, which installs Debian's packages; missing here: ${packages.join(' ')}`,
  )
}

function findPath(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_FOLDERS]
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The exit code says nothing: wrk ends with 1 after telling its version. */
function readVersion(path: string, { versionArgs, version }: ProgramFacts): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  execFile(path, versionArgs, (_error, stdout, stderr) => {
    resolve(version.exec(`${stdout}${stderr}`)?.[1] ?? 'unknown')
  })
  return promise
}
