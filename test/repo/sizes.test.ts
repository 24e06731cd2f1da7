/** Files and functions stay small enough to read at one go. */

import t from 'tap'
import { type Finding, isProduct, lineCount, readProject, type Source, typeScriptOf } from './sources.ts'
import { parseAll } from './syntax.ts'

const MAX_FILE_LINES = 300
const MAX_FUNCTION_LINES = 50

function findSizeFaults(sources: readonly Source[]): Finding[] {
  const files = sources
    .map(({ path, text }) => ({ path, lines: lineCount(text) }))
    .filter(({ lines }) => lines > MAX_FILE_LINES)
    .map(({ path, lines }) => `${path} has ${lines} lines, ${MAX_FILE_LINES} are allowed`)
  const functions = parseAll(sources.filter(isProduct)).flatMap(({ source, functions }) =>
    functions
      .filter(({ lines }) => lines > MAX_FUNCTION_LINES)
      .map(
        ({ name, line, lines }) =>
          `${source.path}:${line} ${name} has ${lines} lines, ${MAX_FUNCTION_LINES} are allowed`,
      ),
  )
  return [...files, ...functions]
}

interface BiomeRules {
  readonly [group: string]: { readonly [rule: string]: unknown }
}

interface BiomeConfig {
  readonly linter?: { readonly rules?: BiomeRules }
  readonly overrides?: readonly {
    readonly includes?: readonly string[]
    readonly linter?: { readonly rules?: BiomeRules }
  }[]
}

/** The same limits have to stand in Biome's settings, and be lifted for tests and benchmarks alone. */
function findBiomeFaults({ linter, overrides = [] }: BiomeConfig): Finding[] {
  const wanted = [
    { group: 'complexity', rule: 'noExcessiveLinesPerFunction', maxLines: MAX_FUNCTION_LINES },
    { group: 'style', rule: 'noExcessiveLinesPerFile', maxLines: MAX_FILE_LINES },
  ]
  return wanted.flatMap(({ group, rule, maxLines }) => {
    const setting = JSON.stringify(linter?.rules?.[group]?.[rule])
    const expected = JSON.stringify({ level: 'error', options: { maxLines } })
    const lifted = overrides
      .filter((override) => override.linter?.rules?.[group]?.[rule] !== undefined)
      .flatMap(({ includes = [] }) => includes)
      .filter((pattern) => !/^(test|bench)\//.test(pattern))
    return [
      ...(setting === expected ? [] : [`biome.json: ${rule} must be ${expected}`]),
      ...lifted.map((pattern) => `biome.json: ${rule} is lifted for ${pattern}`),
    ]
  })
}

const project = readProject()

t.test('no file and no function of the project is too long', (t) => {
  t.same(findSizeFaults(typeScriptOf(project)), [])
  t.end()
})

t.test('Biome enforces the same limits', (t) => {
  t.same(findBiomeFaults(JSON.parse(project.find(({ path }) => path === 'biome.json')?.text ?? '{}')), [])
  t.end()
})

t.test('finds a file that is too long', (t) => {
  t.same(findSizeFaults([{ path: 'a.ts', text: 'x()\n'.repeat(300) }]), [])
  t.same(findSizeFaults([{ path: 'test/a.ts', text: 'x()\n'.repeat(301) }]), [
    'test/a.ts has 301 lines, 300 are allowed',
  ])
  t.end()
})

t.test('finds functions of every kind that are too long', (t) => {
  const body = (lines: number) => `{\n${'  x()\n'.repeat(lines - 2)}}`
  const kinds: ((body: string) => string)[] = [
    (body) => `function long() ${body}`,
    (body) => `const long = async () => ${body}`,
    (body) => `const long = function* () ${body}`,
    (body) => `class A { long() ${body} }`,
    (body) => `class A { #long() ${body} }`,
    (body) => `class A { constructor() ${body} }`,
    (body) => `class A { get long() ${body} }`,
    (body) => `const a = { long() ${body} }`,
    (body) => `a.on('x', () => ${body})`,
  ]
  for (const kind of kinds) {
    t.same(findSizeFaults([{ path: 'a.ts', text: kind(body(50)) }]), [])
    t.match(
      findSizeFaults([{ path: 'a.ts', text: kind(body(51)) }]),
      [/^a.ts:1 .* has 51 lines, 50 are allowed$/],
      kind('{}'),
    )
  }
  t.same(
    findSizeFaults([{ path: 'test/a.test.ts', text: `t.test('x', () => ${body(80)})` }]),
    [],
    'tests may',
  )
  t.same(
    findSizeFaults([{ path: 'a.ts', text: `${'/** Long. */\n'.repeat(60)}function x() ${body(5)}` }]),
    [],
  )
  t.end()
})

t.test('finds limits that are missing, changed or lifted', (t) => {
  const limit = (maxLines: number) => ({ level: 'error', options: { maxLines } })
  const rules = {
    complexity: { noExcessiveLinesPerFunction: limit(50) },
    style: { noExcessiveLinesPerFile: limit(300) },
  }
  const off = { linter: { rules: { complexity: { noExcessiveLinesPerFunction: 'off' } } } }
  t.same(findBiomeFaults({ linter: { rules }, overrides: [{ includes: ['test/**'], ...off }] }), [])
  t.equal(findBiomeFaults({}).length, 2)
  t.equal(
    findBiomeFaults({ linter: { rules: { ...rules, style: { noExcessiveLinesPerFile: limit(500) } } } })
      .length,
    1,
  )
  t.equal(findBiomeFaults({ linter: { rules }, overrides: [{ includes: ['proxy/**'], ...off }] }).length, 1)
  t.end()
})
