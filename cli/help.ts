/** Help pages, made of the table of commands. */

import { findCommand, GLOBAL_OPTIONS } from './arguments.ts'
import type { ArgumentSpec, Command, OptionSpec } from './command.ts'
import { refuseUsage } from './errors.ts'
import { EXIT_MEANINGS } from './exit-codes.ts'
import { meant } from './spelling.ts'
import { layOut } from './text-table.ts'

/** Characters of a line of verbs in the overview. */
const MAX_VERBS = 40

/** What each noun is, in the order of the overview. */
export type Nouns = Readonly<Record<string, string>>

/** The page of a command, of a noun, or of everything. @throws CliError `cli_usage` */
export function helpOf(commands: readonly Command[], nouns: Nouns, words: readonly string[]): string {
  const [noun] = words
  if (noun === undefined) return overview(commands, nouns)
  if (noun === 'exit-codes') return exitCodes()
  const below = commands.filter((command) => command.words[0] === noun)
  const command = findCommand(below, words)
  const verbs = below.filter((it) => it.words.length > 1)
  if (verbs.length > 0 && words.length === 1) return nounPage(below, noun, nouns[noun] ?? '')
  if (command !== undefined) return commandPage(command)
  const known = below.length > 0 ? verbs.flatMap((it) => it.words.slice(1)) : Object.keys(nouns)
  const typed = words[below.length > 0 ? 1 : 0] ?? ''
  return refuseUsage(`There is no command "${words.join(' ')}".${meant(typed, known)}`)
}

/** `landfall vm new [NAME] [options]`. */
export function usageOf({ words, arguments: args, options }: Command): string {
  const names = Object.values(args).map(placeholderOf)
  const required = Object.entries(options)
    .filter(([, { isRequired }]) => isRequired)
    .map(([name, spec]) => optionOf(name, spec))
  const hasMore = Object.keys(options).length > required.length
  return ['landfall', ...words, ...names, ...required, ...(hasMore ? ['[options]'] : [])].join(' ')
}

/** `--pool POOL`. */
export function optionOf(name: string, { kind }: OptionSpec): string {
  return kind === undefined ? `--${name}` : `--${name} ${kind.placeholder}`
}

function placeholderOf({ kind, isOptional, isRepeated }: ArgumentSpec): string {
  const name = `${kind.placeholder}${isRepeated ? '…' : ''}`
  return isOptional ? `[${name}]` : name
}

function overview(commands: readonly Command[], nouns: Nouns): string {
  const rows = Object.entries(nouns).flatMap(([noun, meaning]) => {
    const verbs = commands.filter(({ words }) => words[0] === noun).flatMap(({ words }) => words.slice(1))
    const [first = '', ...more] = wrapped(verbs)
    return [[noun, first, meaning], ...more.map((line) => ['', line, ''])]
  })
  return `usage: landfall COMMAND [arguments] [options]

${indented(rows)}

Options of every command:
${optionRows(GLOBAL_OPTIONS)}

landfall help COMMAND    says more of one; landfall help exit-codes; landfall help --agent: the whole on one page
LANDFALL_API, LANDFALL_TOKEN and LANDFALL_CA_FILE say where the API is, or "landfall login" keeps it.
Without them a "landfall dev" that runs in this folder is used.`
}

/** Lines of words. */
function wrapped(words: readonly string[]): string[] {
  const lines: string[] = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < MAX_VERBS)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

function nounPage(commands: readonly Command[], noun: string, meaning: string): string {
  const rows = commands.map((command) => [usageOf(command), command.summary])
  return `${noun}: ${meaning}\n\n${indented(rows)}`
}

function commandPage(command: Command): string {
  const { summary, details, arguments: args, examples = [] } = command
  const argumentRows = Object.values(args).map((spec) => [placeholderOf(spec), spec.summary])
  const parts = [
    `usage: ${usageOf(command)}`,
    `${summary}.${details === undefined ? '' : `\n${details}`}`,
    ...(argumentRows.length > 0 ? [`Arguments:\n${indented(argumentRows)}`] : []),
    `Options:\n${optionRows({ ...command.options, ...GLOBAL_OPTIONS })}`,
    ...(examples.length > 0 ? [`Examples:\n${examples.map((line) => `  ${line}`).join('\n')}`] : []),
  ]
  return parts.join('\n\n')
}

function optionRows(options: Readonly<Record<string, OptionSpec>>): string {
  const rows = Object.entries(options).map(([name, spec]) => {
    const notes = [
      ...(spec.kind?.choices ? [spec.kind.choices.join(', ')] : []),
      ...(spec.isRequired ? ['required'] : []),
      ...(spec.isRepeated ? ['may be repeated'] : []),
    ]
    return [optionOf(name, spec), `${spec.summary}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`]
  })
  return indented(rows)
}

function exitCodes(): string {
  const rows = Object.entries(EXIT_MEANINGS)
  return `Exit codes:\n${indented(rows)}`
}

function indented(rows: readonly (readonly string[])[]): string {
  const [titles = [], ...rest] = rows
  return layOut({ titles, rows: rest }, { hasColours: false })
    .map((line) => `  ${line}`)
    .join('\n')
}
