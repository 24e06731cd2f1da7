/** docs/cli.md lists exactly the commands, options and exit codes that there are. */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { ArgumentSpec, Command, OptionSpec } from '../../cli/command.ts'
import { COMMANDS, NOUNS } from '../../cli/commands.ts'
import { CliError, FAULTS } from '../../cli/errors.ts'
import { EXIT_MEANINGS } from '../../cli/exit-codes.ts'
import { helpOf } from '../../cli/help.ts'

const DOC = readFileSync(fileURLToPath(new URL('../../docs/cli.md', import.meta.url)), 'utf8')

function argumentText({ kind, isOptional, isRepeated }: ArgumentSpec): string {
  const text = `${kind.placeholder}${isRepeated ? '…' : ''}`
  return isOptional ? `[${text}]` : text
}

function optionText([name, { kind, isRequired, isRepeated }]: [string, OptionSpec]): string {
  const text = `--${name}${kind === undefined ? '' : ` ${kind.placeholder}`}${isRepeated ? '…' : ''}`
  return isRequired ? text : `[${text}]`
}

/** The row of a command, with all its options. */
function rowOf({ words, summary, arguments: args, options }: Command): string {
  const given = [...Object.values(args).map(argumentText), ...Object.entries(options).map(optionText)]
  return `| \`${['landfall', ...words, ...given].join(' ')}\` | ${summary} |`
}

const rowsLike = (pattern: RegExp) => DOC.split('\n').filter((line) => pattern.test(line))

t.test('every command with all its options, and no other', (t) => {
  t.same(rowsLike(/^\| `landfall /).sort(), COMMANDS.map(rowOf).sort())
  t.end()
})

t.test('every exit code', (t) => {
  const rows = Object.entries(EXIT_MEANINGS).map(([code, meaning]) => `| ${code} | ${meaning} |`)
  t.same(rowsLike(/^\| \d+ \|/), rows)
  t.end()
})

t.test('every code of the command line itself', (t) => {
  const rows = Object.entries(FAULTS).map(
    ([code, { exit, title, next }]) => `| \`${code}\` | ${exit} | ${title} | ${next} |`,
  )
  t.same(rowsLike(/^\| `cli_/), rows)
  t.end()
})

t.test('every setting that the command line reads', (t) => {
  const names = rowsLike(/^\| `[A-Z0-9_]+` \|/).map((line) => /`([A-Z0-9_]+)`/.exec(line)?.[1])
  const wanted = [
    'LANDFALL_API',
    'LANDFALL_CA_FILE',
    'LANDFALL_DATA',
    'LANDFALL_PKCS12_PASSPHRASE',
    'LANDFALL_TOKEN',
    'NO_COLOR',
    'SSH_AUTH_SOCK',
    'XDG_CONFIG_HOME',
  ]
  t.same(names.sort(), wanted)
  t.end()
})

t.test('help has a page for everything, each with all that it takes', (t) => {
  const overview = helpOf(COMMANDS, NOUNS, [])
  for (const command of COMMANDS) {
    const [noun = ''] = command.words
    t.ok(NOUNS[noun], `${noun} is explained`)
    t.match(overview, new RegExp(`^  ${noun} `, 'm'))
    const hasVerbs = COMMANDS.some(({ words }) => words[0] === noun && words.length > 1)
    if (hasVerbs) t.ok(helpOf(COMMANDS, NOUNS, [noun]).includes(command.summary))
    if (hasVerbs && command.words.length === 1) continue
    const page = helpOf(COMMANDS, NOUNS, command.words)
    t.match(page, `usage: landfall ${command.words.join(' ')}`)
    for (const spec of Object.values(command.arguments)) t.ok(page.includes(spec.summary))
    for (const [name, { summary }] of Object.entries(command.options)) {
      t.match(page, new RegExp(`--${name} .*`))
      t.ok(page.includes(summary), `${command.words.join(' ')} --${name}`)
    }
  }
  t.same(Object.keys(NOUNS).sort(), [...new Set(COMMANDS.map(({ words: [noun = ''] }) => noun))].sort())
  for (const line of overview.split('\n')) t.ok(line.length <= 120, line)
  t.end()
})

t.test('help of what there is not says what was meant', (t) => {
  const cases: [string[], RegExp][] = [
    [['vms'], /no command "vms"\. Did you mean "vm"\?/],
    [['vm', 'lst'], /no command "vm lst"\. Did you mean "list"\?/],
    [['vm', 'new', 'x'], /no command "vm new x"/],
  ]
  for (const [words, expected] of cases) {
    try {
      helpOf(COMMANDS, NOUNS, words)
      t.fail(words.join(' '))
    } catch (error) {
      t.ok(error instanceof CliError)
      t.match((error as Error).message, expected)
    }
  }
  t.match(helpOf(COMMANDS, NOUNS, ['exit-codes']), /130 {2}Ctrl-C/)
  t.end()
})

t.test('summaries are sentences without a full stop', (t) => {
  for (const { words, summary } of COMMANDS) t.match(summary, /^[A-Z].*[^.]$/, words.join(' '))
  t.end()
})
