/** The directions of imports, which keep the parts apart. */

import t from 'tap'
import { EXCEPTIONS, type Exception, findLayerFaults } from './layers.ts'
import { readProject, typeScriptOf } from './sources.ts'
import { parseAll } from './syntax.ts'

function faultsOf(path: string, text: string, exceptions: readonly Exception[] = []): string[] {
  return findLayerFaults(parseAll([{ path, text }]), exceptions)
}

t.test('every import of the project goes in an allowed direction', (t) => {
  t.same(findLayerFaults(parseAll(typeScriptOf(readProject())), EXCEPTIONS), [])
  t.end()
})

t.test('every exception gives its reason', (t) => {
  for (const { path, reason } of EXCEPTIONS) t.ok(reason.length > 20, path)
  t.end()
})

const ALLOWED = [
  [
    'main.ts',
    `import { serve } from './serve.ts'\nimport { runCli } from './cli/cli.ts'\nimport { takeNodeFlags } from './lib/node-flags.ts'`,
  ],
  ['serve.ts', `import { startEdge } from './edge.ts'\nimport { loadConfig } from './config.ts'`],
  ['edge.ts', `import { startProxy } from './proxy/proxy.ts'\nimport type { Config } from './config.ts'`],
  ['host.ts', `import { startVm } from './sidecar/lifecycle.ts'`],
  ['proxy/relay.ts', `import type { RouteRecord } from '../routing/records.ts'`],
  ['proxy/relay.ts', `export type { RouteRecord } from '../routing/records.ts'`],
  ['proxy/relay.ts', `type Route = import('../routing/records.ts').RouteRecord`],
  [
    'proxy/deep/relay.ts',
    `import { x } from '../other.ts'\nimport { LandfallError } from '../../lib/errors.ts'`,
  ],
  ['lib/log.ts', `import { join } from 'node:path'\nimport { x } from './errors.ts'`],
  ['acme/x.ts', `import { X509Certificate } from '@peculiar/x509'`],
  ['test/x.test.ts', `import '../proxy/relay.ts'\nawait import('../auth/x.ts')`],
  ['proxy/relay.ts', `const text = "import('./x.ts')" // import '../auth/x.ts'`],
] as const

t.test('allows what the design allows', (t) => {
  for (const [path, text] of ALLOWED) t.same(faultsOf(path, text), [], `${path}: ${text}`)
  t.end()
})

const FORBIDDEN = [
  ['main.ts', `import { x } from './edge.ts'`, 'main must not import edge'],
  ['serve.ts', `import { x } from './proxy/proxy.ts'`, 'serve must not import proxy'],
  ['edge.ts', `import { loadConfig } from './config.ts'`, 'edge may import only types of config'],
  ['edge.ts', `import { x } from './sidecar/vmm.ts'`, 'edge must not import sidecar'],
  ['host.ts', `import { x } from './proxy/proxy.ts'`, 'host must not import proxy'],
  ['proxy/relay.ts', `import { x } from '../routing/records.ts'`, 'proxy may import only types of routing'],
  [
    'proxy/relay.ts',
    `import { type X } from '../routing/records.ts'`,
    'proxy may import only types of routing',
  ],
  ['proxy/relay.ts', `export { x } from '../routing/records.ts'`, 'proxy may import only types of routing'],
  ['proxy/relay.ts', `export * from '../auth/x.ts'`, 'proxy may import only types of auth'],
  ['proxy/relay.ts', `import type { X } from '../sidecar/vmm.ts'`, 'proxy must not import sidecar'],
  ['proxy/relay.ts', `import type { X } from '../edge.ts'`, 'proxy must not import edge'],
  ['routing/x.ts', `import type { X } from '../auth/x.ts'`, 'routing must not import auth'],
  ['auth/x.ts', `import {\n  a,\n  b,\n} from '../routing/records.ts'`, 'auth must not import routing'],
  ['lib/x.ts', `import { x } from '../routing/records.ts'`, 'lib must not import routing'],
  ['lib/x.ts', `import pino from 'pino'`, 'lib must not import the package pino'],
  ['acme/x.ts', `import { x } from '../test/helpers/x.ts'`, 'acme must not import test'],
  ['new/x.ts', `import { x } from 'node:fs'`, 'new is no known part of the project'],
  ['proxy/x.ts', `import './own.ts'`, 'imports ./own.ts for its effect'],
  ['proxy/x.ts', `import 'pino'`, 'imports pino for its effect'],
  ['proxy/x.ts', `const x = await import('./own.ts')`, 'imports ./own.ts at run time'],
  ['proxy/x.ts', 'const x = (name: string) => import(name)', 'imports a computed module at run time'],
  ['proxy/x.ts', `import { createRequire } from 'node:module'`, 'imports node:module'],
] as const

t.test('finds what the design forbids', (t) => {
  for (const [path, text, expected] of FORBIDDEN) {
    const faults = faultsOf(path, text)
    t.equal(faults.length, 1, `${path}: ${text}`)
    t.ok(faults[0]?.startsWith(`${path}:1 ${expected}`), faults[0] ?? '')
  }
  t.end()
})

t.test('an exception holds for one import, and has to be needed', (t) => {
  const exception = { path: 'acme/x.ts', from: './effect.ts', reason: 'because' }
  t.same(faultsOf('acme/x.ts', `import './effect.ts'`, [exception]), [])
  t.match(faultsOf('acme/x.ts', `import './other.ts'`, [exception]), [
    /for its effect/,
    /remove the exception/,
  ])
  t.match(faultsOf('acme/x.ts', `import { x } from './effect.ts'`, [exception]), [/remove the exception/])
  t.end()
})
