/** Turns a command line into a command and its values, and says precisely what is wrong with it. */

import { parseArgs } from 'node:util'
import type { ArgumentSpec, Command, Kind, OptionSpec } from './command.ts'
import { refuseUsage } from './errors.ts'
import { meant } from './spelling.ts'

export interface Parsed {
  readonly command: Command
  readonly args: Record<string, unknown>
  readonly options: Record<string, unknown>
  readonly isJson: boolean
}

/** Words of the command that help was asked for; none for the whole table. */
export interface HelpWanted {
  readonly help: readonly string[]
}

/** Options of every command. */
export const GLOBAL_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  json: { summary: "Print the API's JSON" },
  help: { summary: 'Say what the command does' },
}

type Specs = Readonly<Record<string, OptionSpec>>

interface Token {
  readonly kind: string
  readonly name?: string
  readonly rawName?: string
  readonly value?: string | undefined
  readonly inlineValue?: boolean | undefined
}

/** @throws CliError `cli_usage` */
export function parseCommandLine(commands: readonly Command[], line: readonly string[]): Parsed | HelpWanted {
  const { words, rest: given } = splitWords(commands, line)
  const rest = markVerbatim(findCommand(commands, words), given)
  if (words.length === 0 && rest.includes('--version')) return parseCommandLine(commands, ['version'])
  const isHelp = findOwn(rest).some((text) => text === '--help' || text === '-h')
  const command = findCommand(commands, words)
  if (isHelp && (command !== undefined || words.length < 2)) return checkNoun(commands, words)
  if (command === undefined) return refuseWords(commands, words, rest)
  return { command, ...readValues(command, rest) }
}

/** Options end where a verbatim argument begins, as if `--` stood there. */
function markVerbatim(command: Command | undefined, rest: readonly string[]): readonly string[] {
  const args = Object.values(command?.arguments ?? {})
  if (command === undefined || args.at(-1)?.isVerbatim !== true) return rest
  const { tokens } = parseTokens(specsOf(command), rest)
  const at = tokens.filter(({ kind }) => kind === 'positional')[args.length - 2]?.index
  if (at === undefined || rest.slice(0, at + 2).includes('--')) return rest
  return [...rest.slice(0, at + 1), '--', ...rest.slice(at + 1)]
}

/** What precedes `--`. */
function findOwn(rest: readonly string[]): readonly string[] {
  const end = rest.indexOf('--')
  return end < 0 ? rest : rest.slice(0, end)
}

/** The noun and, where the noun has verbs, the word after it; options may stand between. */
function splitWords(commands: readonly Command[], line: readonly string[]) {
  const words: string[] = []
  const rest: string[] = []
  for (const text of line) {
    const isOption = text.startsWith('-') || rest.includes('--')
    const wantsMore = words.length === 0 || (words.length === 1 && hasVerbs(commands, words[0]))
    if (isOption || !wantsMore) rest.push(text)
    else words.push(text)
  }
  return { words, rest }
}

function hasVerbs(commands: readonly Command[], noun: string | undefined): boolean {
  return commands.some(({ words }) => words.length > 1 && words[0] === noun)
}

export function findCommand(commands: readonly Command[], wanted: readonly string[]): Command | undefined {
  return commands.find(({ words }) => words.join(' ') === wanted.join(' '))
}

function checkNoun(commands: readonly Command[], words: readonly string[]): HelpWanted {
  const [noun] = words
  if (noun === undefined || commands.some((command) => command.words[0] === noun)) return { help: words }
  return refuseNoun(commands, noun)
}

function refuseWords(commands: readonly Command[], words: readonly string[], rest: readonly string[]): never {
  const [noun, verb] = words
  if (noun === undefined) {
    const [option] = rest
    refuseUsage(option === undefined ? 'There is no command.' : `There is no command before "${option}".`)
  }
  const verbs = commands.filter((command) => command.words[0] === noun).flatMap((it) => it.words.slice(1))
  if (verbs.length === 0) return refuseNoun(commands, noun)
  const next = `Run "landfall help ${noun}".`
  if (verb === undefined) return refuseUsage(`"landfall ${noun}" needs a verb: ${verbs.join(', ')}.`, next)
  return refuseUsage(`"landfall ${noun}" has no verb "${verb}".${meant(verb, verbs)}`, next)
}

function refuseNoun(commands: readonly Command[], noun: string): never {
  const nouns = [...new Set(commands.map(({ words: [word = ''] }) => word))]
  return refuseUsage(`There is no command "${noun}".${meant(noun, nouns)}`)
}

function readValues(command: Command, rest: readonly string[]): Omit<Parsed, 'command'> {
  const specs = specsOf(command)
  const { tokens, positionals } = parseTokens(specs, withDashedIds(command, specs, rest))
  const { json, ...options } = readOptions(command, specs, tokens)
  return { args: readArguments(command, positionals), options, isJson: json === true }
}

function specsOf({ options }: Command): Readonly<Record<string, OptionSpec>> {
  return { ...options, ...GLOBAL_OPTIONS }
}

/** Ids are base64url: one of 64 begins with a dash. No option has one dash and so many characters. */
const DASHED_ID = /^-[A-Za-z0-9_][A-Za-z0-9_-]{6,}$/

/** Those that the last argument takes go behind a `--` of their own. */
function withDashedIds({ arguments: args }: Command, specs: Specs, rest: readonly string[]) {
  const last = Object.values(args).at(-1)
  if (last === undefined || last.isVerbatim || rest.includes('--')) return rest
  const isId = (text: string, at: number) =>
    DASHED_ID.test(text) && last.kind.find(text) !== undefined && !wantsValue(specs, rest[at - 1])
  const ids = rest.filter(isId)
  return ids.length === 0 ? rest : [...rest.filter((text, at) => !isId(text, at)), '--', ...ids]
}

function wantsValue(specs: Specs, text = ''): boolean {
  const name = text.startsWith('--') ? text.slice(2) : ''
  return Object.hasOwn(specs, name) && specs[name]?.kind !== undefined
}

function parseTokens(specs: Readonly<Record<string, OptionSpec>>, rest: readonly string[]) {
  return parseArgs({
    args: [...rest],
    // Refusals are our own, so that they name what was meant.
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(specs).map(([name, { kind }]) => [
        name,
        { type: kind === undefined ? ('boolean' as const) : ('string' as const) },
      ]),
    ),
  })
}

function readOptions(
  command: Command,
  specs: Readonly<Record<string, OptionSpec>>,
  tokens: readonly Token[],
): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const token of tokens.filter(({ kind }) => kind === 'option')) {
    const { name = '', rawName = '' } = token
    const spec = Object.hasOwn(specs, name) ? specs[name] : undefined
    if (spec === undefined) refuseOption(command, specs, rawName)
    if (!spec.isRepeated && name in options) refuse(command, `${rawName} is there twice.`)
    const value = readOption(command, spec, token)
    options[name] = spec.isRepeated ? [...((options[name] as unknown[] | undefined) ?? []), value] : value
  }
  checkRequired(command, specs, options)
  return options
}

function checkRequired(
  command: Command,
  specs: Readonly<Record<string, OptionSpec>>,
  options: Readonly<Record<string, unknown>>,
): void {
  for (const [name, { isRequired, kind }] of Object.entries(specs)) {
    const form = kind === undefined ? `--${name}` : `--${name} ${kind.placeholder}`
    if (isRequired && !(name in options)) refuse(command, `${form} is missing.`)
  }
}

function readOption(command: Command, { kind }: OptionSpec, token: Token): unknown {
  const { rawName = '', value, inlineValue = false } = token
  if (kind === undefined) {
    if (inlineValue) refuse(command, `${rawName} takes no value (got "${value}").`)
    return true
  }
  if (value === undefined) return refuse(command, `${rawName} needs a value: ${rawName} ${kind.placeholder}.`)
  if (!inlineValue && value.length > 1 && value.startsWith('-'))
    refuse(command, `${rawName} needs a value; one that begins with "-" is written ${rawName}=${value}.`)
  return parse(command, kind, { text: value, what: rawName })
}

function refuseOption(command: Command, specs: Readonly<Record<string, OptionSpec>>, typed: string): never {
  const names = Object.keys(specs).map((name) => `--${name}`)
  return refuse(
    command,
    `"landfall ${command.words.join(' ')}" has no option ${typed}.${meant(typed, names)}`,
  )
}

function readArguments(command: Command, given: readonly string[]): Record<string, unknown> {
  const specs = Object.entries(command.arguments)
  const args = specs.map(([name, spec], at) => {
    if (spec.isRepeated) return [name, readRepeated(command, spec, given.slice(at))]
    const text = given[at]
    if (text === undefined && !spec.isOptional) refuse(command, `${spec.kind.placeholder} is missing.`)
    return [name, text === undefined ? undefined : readArgument(command, spec, text)]
  })
  const isOpen = specs.at(-1)?.[1].isRepeated === true
  const extra = isOpen ? undefined : given[specs.length]
  if (extra !== undefined) refuse(command, `There is an argument too many: "${extra}".`)
  return Object.fromEntries(args)
}

function readRepeated(command: Command, spec: ArgumentSpec, given: readonly string[]): unknown {
  const { kind, isOptional } = spec
  if (given.length === 0 && !isOptional) refuse(command, `${kind.placeholder} is missing.`)
  return given.map((text) => readArgument(command, spec, text))
}

function readArgument(command: Command, { kind }: ArgumentSpec, text: string): unknown {
  return parse(command, kind, { text, what: kind.placeholder })
}

function parse(
  command: Command,
  { find, form }: Kind<unknown>,
  { text, what }: { readonly text: string; readonly what: string },
): unknown {
  return find(text) ?? refuse(command, `${what} must be ${form} (got "${text}").`)
}

function refuse(command: Command, detail: string): never {
  return refuseUsage(detail, `Run "landfall help ${command.words.join(' ')}".`)
}
