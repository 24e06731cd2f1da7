/** Picks kernel modules and puts them into the order in which they can be loaded. */

import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { SidecarError } from '../errors.ts'
import { runCommand } from '../run-command.ts'

export interface KernelModule {
  /** As the kernel names it, with underscores. */
  readonly name: string
  readonly data: Buffer
}

/** The modules with all that they depend on, each behind those that it needs. @throws SidecarError image_build_failed */
export async function loadModules(folder: string, wanted: readonly string[]): Promise<KernelModule[]> {
  const files = await findModuleFiles(folder)
  const loaded = new Map<string, KernelModule>()
  const add = async (name: string) => {
    if (loaded.has(name)) return
    const file = files.get(name)
    if (file === undefined) {
      throw new SidecarError('image_build_failed', { detail: `the kernel has no module ${name}` })
    }
    const data = await readModule(file)
    for (const needed of findDependencies(data)) await add(needed)
    loaded.set(name, { name, data })
  }
  for (const name of wanted) await add(name)
  return [...loaded.values()]
}

/** The names in the `depends=` entry of a module's .modinfo section. */
export function findDependencies(module: Buffer): string[] {
  const mark = Buffer.from('\0depends=')
  const at = module.indexOf(mark)
  if (at < 0) return []
  const start = at + mark.length
  const text = module.toString('latin1', start, module.indexOf(0, start))
  return text.split(',').filter(Boolean).map(toModuleName)
}

async function findModuleFiles(folder: string): Promise<Map<string, string>> {
  const names = await readdir(folder, { recursive: true })
  const files = names.filter((name) => /\.ko(\.xz)?$/.test(name))
  return new Map(files.map((name) => [toModuleName(basename(name)), join(folder, name)]))
}

function toModuleName(file: string): string {
  return file.replace(/\.ko(\.xz)?$/, '').replaceAll('-', '_')
}

async function readModule(file: string): Promise<Buffer> {
  if (!file.endsWith('.xz')) return readFile(file)
  await runCommand('xz', ['-d', '-k', '-f', file])
  return readFile(file.slice(0, -'.xz'.length))
}
