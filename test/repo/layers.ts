/** Which part of the project may import which, and how. */

import { posix } from 'node:path'
import type { Finding } from './sources.ts'
import type { Import, Syntax } from './syntax.ts'

interface Rule {
  /** Parts whose values may be imported; those of the part itself always may. */
  readonly values: readonly string[]
  /** Parts of which only types may be imported. */
  readonly types?: readonly string[]
}

/** A root file is a part of its own; so is a folder. main → cli, serve → edge, host → parts → lib. */
const RULES: Readonly<Record<string, Rule>> = {
  main: { values: ['serve', 'cli', 'images', 'lib'] },
  images: { values: ['sidecar', 'lib'] },
  // In one process edge and host share one store, so serve opens it; that is all it takes from routing.
  serve: { values: ['edge', 'host', 'images', 'config', 'routing', 'lib'] },
  edge: { values: ['proxy', 'routing', 'acme', 'auth', 'lib'], types: ['config'] },
  host: { values: ['sidecar', 'routing', 'lib'], types: ['config'] },
  config: { values: ['lib'] },
  cli: { values: ['lib'], types: ['config'] },
  proxy: { values: ['lib'], types: ['routing', 'acme', 'auth'] },
  sidecar: { values: ['lib'], types: ['routing', 'acme', 'auth'] },
  routing: { values: ['lib'] },
  acme: { values: ['lib'] },
  auth: { values: ['lib'] },
  lib: { values: [] },
}

/** Parts above the rules: they try everything out, and nothing may import them. */
const OUTSIDE = ['test', 'bench']

export interface Exception {
  readonly path: string
  readonly from: string
  readonly reason: string
}

/** Imports that run a module for its effect or at run time, each with the reason why it may. */
export const EXCEPTIONS: readonly Exception[] = [
  {
    path: 'main.ts',
    from: './images.ts',
    reason: 'images are built by the sidecar, which a call of the admin API need not wait for',
  },
  {
    path: 'main.ts',
    from: './serve.ts',
    reason: 'a call of the admin API need not wait until everything that a server is made of has been read',
  },
  {
    path: 'acme/x509.ts',
    from: 'reflect-metadata',
    reason:
      '@peculiar/x509 refuses to load before Reflect has metadata functions, and imports are run in order',
  },
]

/** Files with forbidden imports, and exceptions that nothing needs any more. */
export function findLayerFaults(files: readonly Syntax[], exceptions: readonly Exception[]): Finding[] {
  const used = new Set<Exception>()
  const faults = files.flatMap(({ source: { path }, imports }) =>
    imports.flatMap((item) => {
      const exception = exceptions.find((known) => known.path === path && known.from === item.from)
      if (exception && isIndirect(item)) used.add(exception)
      const reason = exception
        ? findDirectionFault(path, item)
        : (findKindFault(path, item) ?? findDirectionFault(path, item))
      return reason === undefined ? [] : [`${path}:${item.line} ${reason}`]
    }),
  )
  const unused = exceptions.filter((exception) => !used.has(exception))
  return [
    ...faults,
    ...unused.map(({ path, from }) => `${path} no longer imports ${from}: remove the exception`),
  ]
}

function isIndirect({ kind }: Import): boolean {
  return kind === 'effect' || kind === 'dynamic'
}

function findKindFault(path: string, { kind, from }: Import): string | undefined {
  if (OUTSIDE.includes(partOf(path))) return undefined
  if (kind === 'effect') return `imports ${from} for its effect`
  if (kind === 'dynamic') return `imports ${from || 'a computed module'} at run time`
  return from === 'node:module' ? 'imports node:module, which can load what this check cannot see' : undefined
}

function findDirectionFault(path: string, item: Import): string | undefined {
  const part = partOf(path)
  if (OUTSIDE.includes(part)) return undefined
  const rule = RULES[part]
  if (!rule) return `${part} is no known part of the project`
  if (!item.from.startsWith('.')) return findPackageFault(part, item)
  const target = partOf(posix.join(posix.dirname(path), item.from))
  if (target === part || rule.values.includes(target)) return undefined
  if (!rule.types?.includes(target)) return `${part} must not import ${target}`
  return item.kind === 'type' ? undefined : `${part} may import only types of ${target}`
}

function findPackageFault(part: string, { from }: Import): string | undefined {
  return part === 'lib' && !from.startsWith('node:') ? `lib must not import the package ${from}` : undefined
}

function partOf(path: string): string {
  const [first = ''] = path.split('/')
  return first.replace(/\.ts$/, '')
}
