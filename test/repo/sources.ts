/** The project's own files, for the checks of this folder. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Not kept in the repository, as .gitignore says too. */
const SKIPPED = new Set(['.git', 'node_modules', '.landfall', '.tap'])

export interface Source {
  /** From the project's root, with slashes. */
  readonly path: string
  readonly text: string
}

/** What is wrong where; one line. */
export type Finding = string

/** Every text file. */
export function readProject(folder = ''): Source[] {
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true })
  return entries.flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (SKIPPED.has(entry.name) || path.endsWith('.tmp')) return []
    if (entry.isDirectory()) return readProject(path)
    const text = entry.isFile() ? readFileSync(join(ROOT, path), 'utf8') : '\0'
    return text.includes('\0') ? [] : [{ path, text }]
  })
}

export function typeScriptOf(sources: readonly Source[]): Source[] {
  return sources.filter(({ path }) => path.endsWith('.ts'))
}

/** Tests and benchmarks may do what the product may not. */
export function isProduct({ path }: Source): boolean {
  return !path.startsWith('test/') && !path.startsWith('bench/')
}

export function lineCount(text: string): number {
  return text.replace(/\n$/, '').split('\n').length
}
