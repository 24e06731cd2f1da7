/** README.md's table lists every setting with its default. */

import t from 'tap'
import { loadConfig } from '../../config.ts'
import { EnvReader } from '../../lib/env-reader.ts'
import { type Finding, readProject } from './sources.ts'

/** Name → default as written in the table; an empty default is an empty cell. */
type Settings = ReadonlyMap<string, string>

/** Asks for the settings by loading them from an environment that writes down what was asked. */
function recordSettings(load: (env: Record<string, string | undefined>) => unknown): Settings {
  const asked = new Set<string>()
  const env = new Proxy<Record<string, string | undefined>>(
    {},
    {
      get: (_, name) => void asked.add(String(name)),
      ownKeys: () => [],
    },
  )
  const defaults = recordDefaults(() => load(env))
  return new Map([...asked].map((name) => [name, defaults.get(name) ?? '']))
}

/** The reader's methods all take a setting's name and, but for lists, its default. */
function recordDefaults(load: () => unknown): Map<string, string> {
  const defaults = new Map<string, string>()
  const methods = Object.getOwnPropertyDescriptors(EnvReader.prototype)
  const names = Object.keys(methods).filter((name) => !['constructor', 'finish'].includes(name))
  try {
    for (const name of names) {
      const original = Object.getOwnPropertyDescriptor(EnvReader.prototype, name)?.value
      Object.defineProperty(EnvReader.prototype, name, {
        configurable: true,
        value(this: EnvReader, setting: string, fallback: unknown, ...rest: unknown[]) {
          if (!defaults.has(setting)) defaults.set(setting, name === 'list' ? '' : String(fallback))
          return original.call(this, setting, fallback, ...rest)
        },
      })
    }
    load()
  } finally {
    Object.defineProperties(EnvReader.prototype, methods)
  }
  return defaults
}

/** Rows as: | `LANDFALL_X` | `default` | meaning |, wherever they stand. */
function parseTable(markdown: string): { settings: Settings; faults: Finding[] } {
  const settings = new Map<string, string>()
  const faults: Finding[] = []
  for (const line of markdown.split('\n').filter((text) => /^\|\s*`?LANDFALL_/.test(text))) {
    const row = /^\| `(LANDFALL_[A-Z0-9_]+)` +\| +(?:`([^`]+)`)? *\| *(.*?) *\|$/.exec(line)
    const [, name = '', value = '', meaning = ''] = row ?? []
    if (!row || meaning === '')
      faults.push(`README.md: the row is not | \`NAME\` | \`default\` | meaning |: ${line}`)
    else if (settings.has(name)) faults.push(`README.md lists ${name} twice`)
    else settings.set(name, value)
  }
  return { settings, faults }
}

function findSettingFaults(actual: Settings, markdown: string): Finding[] {
  const { settings: listed, faults } = parseTable(markdown)
  const missing = [...actual.keys()].filter((name) => !listed.has(name))
  const unknown = [...listed.keys()].filter((name) => !actual.has(name))
  const wrong = [...actual].filter(([name, value]) => listed.has(name) && listed.get(name) !== value)
  return [
    ...faults,
    ...missing.map((name) => `README.md does not list ${name} (default ${actual.get(name) || 'empty'})`),
    ...unknown.map((name) => `README.md lists ${name}, which is no setting`),
    ...wrong.map(
      ([name, value]) => `README.md gives ${name} the default ${listed.get(name)}; it is ${value || 'empty'}`,
    ),
  ]
}

t.test('README.md lists exactly the settings that there are', (t) => {
  const readme = readProject().find(({ path }) => path === 'README.md')?.text ?? ''
  t.same(findSettingFaults(recordSettings(loadConfig), readme), [])
  t.end()
})

t.test('knows each setting and its default', (t) => {
  const settings = recordSettings(loadConfig)
  t.ok(settings.size > 15)
  t.equal(settings.get('LANDFALL_DATA'), '.landfall', 'text')
  t.equal(settings.get('LANDFALL_HTTPS_PORT'), '8443', 'int')
  t.equal(settings.get('LANDFALL_DOMAIN'), 'localhost', 'checked')
  t.equal(settings.get('LANDFALL_STORE'), 'sqlite', 'choice')
  t.equal(settings.get('LANDFALL_TRUSTED_PROXIES'), '', 'list')
  t.ok([...settings.keys()].every((name) => name.startsWith('LANDFALL_')))
  t.end()
})

t.test('leaves the reader as it was', (t) => {
  const before = EnvReader.prototype.int
  recordSettings(loadConfig)
  t.equal(EnvReader.prototype.int, before)
  t.throws(() =>
    recordSettings(() => {
      throw new Error('broken')
    }),
  )
  t.equal(EnvReader.prototype.int, before)
  t.end()
})

t.test('finds every way the table can be wrong', (t) => {
  const actual: Settings = new Map([
    ['LANDFALL_A', '1'],
    ['LANDFALL_B', ''],
  ])
  const good =
    '| Name | Default | Meaning |\n| --- | --- | --- |\n| `LANDFALL_A` | `1` | The a. |\n| `LANDFALL_B` |  | The b. |\n'
  t.same(findSettingFaults(actual, good), [])
  const cases: [string, string, RegExp][] = [
    ['a row is missing', good.replace(/.*LANDFALL_B.*\n/, ''), /does not list LANDFALL_B \(default empty\)/],
    ['a name is misspelt', good.replace('LANDFALL_A', 'LANDFALL_AA'), /LANDFALL_AA, which is no setting/],
    ['a default is wrong', good.replace('`1`', '`2`'), /gives LANDFALL_A the default 2; it is 1/],
    ['a default is invented', good.replace('|  |', '| `x` |'), /gives LANDFALL_B the default x; it is empty/],
    ['a row stands there twice', `${good}| \`LANDFALL_A\` | \`1\` | Again. |\n`, /lists LANDFALL_A twice/],
    ['a meaning is missing', good.replace('The a.', ''), /the row is not/],
    ['backticks are missing', good.replace('`LANDFALL_A`', 'LANDFALL_A'), /the row is not/],
  ]
  for (const [name, table, expected] of cases) {
    t.ok(
      findSettingFaults(actual, table).some((fault) => expected.test(fault)),
      name,
    )
  }
  t.end()
})
