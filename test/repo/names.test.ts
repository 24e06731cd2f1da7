/** Names of files, and names that must not stand in them. */

import { dirname } from 'node:path'
import t from 'tap'
import { type Finding, ROOT, readProject, type Source } from './sources.ts'

const KEBAB = /^[a-z0-9]+(-[a-z0-9]+)*$/
/** Names that tell nothing of what is inside, and barrel files. */
const EMPTY_WORDS = /(^|-)(utils?|helpers?|managers?|misc|common|index)(-|$)/
/** Folders that others may use as well; a path in them is no trace of this machine. */
const PUBLIC_FOLDERS = ['/', '/tmp', '/var/tmp', '/opt', '/srv', '/home', '/usr/src']

function findNameFaults(sources: readonly Source[]): Finding[] {
  return sources.flatMap(({ path }) => {
    const segments = path.split('/')
    const file = segments.pop() ?? ''
    const folders = segments.filter((folder) => !folder.startsWith('.'))
    const stem = file.replace(/(\.test)?\.ts$/, '')
    const names = file.endsWith('.ts') ? [...folders, stem] : folders
    const isHelper = path.startsWith('test/helpers/')
    return names.flatMap((name, depth) => {
      if (!KEBAB.test(name)) return [`${path}: ${name} is not kebab-case`]
      if (EMPTY_WORDS.test(name) && !(isHelper && depth === 1)) return [`${path}: ${name} says nothing`]
      return []
    })
  })
}

/** `machinePaths` are folders of whoever runs this. */
function findTraces(sources: readonly Source[], machinePaths: readonly string[]): Finding[] {
  // A folder of a user, whoever that is, and hosts that packages are fetched from.
  const patterns = [
    /\/(home|Users)\/[a-z][\w.-]*\//,
    /(?<![\w.])\/root\//,
    /\bregistry\.[a-z0-9-]+\.[a-z]{2,}/i,
    /\b[a-z0-9.-]*(artifactory|jfrog|verdaccio|nexus)[a-z0-9-]*\.[a-z0-9-]+\.[a-z]{2,}/i,
  ]
  return sources.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => {
      const found =
        machinePaths.find((folder) => line.includes(folder)) ??
        patterns.map((it) => it.exec(line)?.[0]).find(Boolean)
      return found === undefined ? [] : [`${path}:${index + 1} names ${found}`]
    }),
  )
}

function machinePaths(): string[] {
  const root = ROOT.replace(/\/$/, '')
  const folders = [root, dirname(root)].filter((folder) => !PUBLIC_FOLDERS.includes(folder))
  return folders.map((folder) => `${folder}/`)
}

const project = readProject()

t.test('files and folders of the project have telling names in kebab-case', (t) => {
  t.same(findNameFaults(project), [])
  t.end()
})

t.test('no file of the project names a folder of this machine or a package registry', (t) => {
  t.same(findTraces(project, machinePaths()), [])
  t.end()
})

t.test('accepts good names', (t) => {
  const paths = [
    'main.ts',
    'lib/env-reader.ts',
    'test/lib/env-reader.test.ts',
    'test/helpers/edge.ts',
    'README.md',
    '.ci/Check.yaml',
    'proxy/h2-listener.ts',
    'auth/management.ts',
  ]
  t.same(findNameFaults(paths.map((path) => ({ path, text: '' }))), [])
  t.end()
})

t.test('finds bad names', (t) => {
  const paths = [
    'lib/envReader.ts',
    'lib/Env.ts',
    'lib/env_reader.ts',
    'lib/utils.ts',
    'lib/string-util.ts',
    'proxy/helpers.ts',
    'proxy/helpers/x.ts',
    'acme/cert-manager.ts',
    'lib/index.ts',
    'test/helpers/utils.ts',
    'test/proxy/helpers/x.ts',
    'Lib/x.ts',
    'a.b/x.ts',
  ]
  for (const path of paths) t.equal(findNameFaults([{ path, text: '' }]).length, 1, path)
  t.end()
})

t.test('finds paths of a machine and hosts of registries', (t) => {
  // Put together here, so that this file itself is clean.
  const lines = [
    ['', 'home', 'ann', 'x'].join('/'),
    ['', 'Users', 'ann', 'x'].join('/'),
    ['', 'root', 'x'].join('/'),
    `see ${['', 'builds', '17', 'x'].join('/')}`,
    `https://${['registry', 'example', 'org'].join('.')}/x`,
    ['npm', 'artifactory', 'example', 'com'].join('.'),
  ]
  for (const line of lines) {
    t.match(
      findTraces([{ path: 'a.md', text: `ok\n${line}\n` }], [['', 'builds', '17', ''].join('/')]),
      [/^a.md:2 names /],
      line,
    )
  }
  const clean = [
    '/homework/ann/',
    'the npm registry',
    'a.registry',
    'chroot/root/x',
    'https://example.test/home/',
  ]
  for (const line of clean) t.same(findTraces([{ path: 'a.md', text: line }], []), [], line)
  t.end()
})
