/** The lock file names every package of every platform: `npm ci` refuses a lock that lacks one, even an optional one. */

import { readFileSync } from 'node:fs'
import t from 'tap'

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly resolved?: string
}

function findMissing(packages: Readonly<Record<string, Locked>>): string[] {
  const names = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, '')))
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {}, dependencies = {} }]) =>
    Object.keys({ ...optionalDependencies, ...dependencies })
      .filter((name) => !names.has(name))
      .map((name) => `${path} wants ${name}`),
  )
}

const { packages } = JSON.parse(readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8'))

t.test('no package is missing, those of other platforms included', async (t) => {
  t.same(findMissing(packages), [])
})

t.test('a missing one is found', async (t) => {
  t.same(findMissing({ 'node_modules/a': { optionalDependencies: { b: '1.0.0' } } }), [
    'node_modules/a wants b',
  ])
})

t.test('no download address of one machine is in it', async (t) => {
  for (const [path, { resolved }] of Object.entries<Locked>(packages)) t.equal(resolved, undefined, path)
})
