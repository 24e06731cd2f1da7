/** What a command is: a row of the table that parsing, help, completion and docs/cli.md are made of. */

import type { Readable } from 'node:stream'
import type { Environment } from '../lib/env-reader.ts'
import type { Api } from './api.ts'
import type { Connection } from './connection.ts'
import type { ImageTools } from './image-tools.ts'
import type { Output } from './output.ts'

/** Names that completion asks the API for. */
export const NAME_LISTS = [
  'pools',
  'vms',
  'routes',
  'domains',
  'tokens',
  'keys',
  'hosts',
  'edges',
  'sessions',
] as const
export type NameList = (typeof NAME_LISTS)[number]

/** How one value is written. */
export interface Kind<Value> {
  /** Stands for the value in help: `POOL`. */
  readonly placeholder: string
  /** Follows "must be". */
  readonly form: string
  /** Undefined when the text is not of this form. */
  readonly find: (text: string) => Value | undefined
  readonly choices?: readonly string[]
  readonly names?: NameList
  /** The shell completes paths. */
  readonly isFile?: true
}

export interface ArgumentSpec<Value = unknown> {
  readonly kind: Kind<Value>
  readonly summary: string
  readonly isOptional?: true
  /** Takes all that follow; the last argument alone. */
  readonly isRepeated?: true
  /** Takes what looks like options as well; the last argument alone, with `isRepeated`. */
  readonly isVerbatim?: true
}

export interface OptionSpec<Value = unknown> {
  /** A flag has none. */
  readonly kind?: Kind<Value>
  readonly summary: string
  readonly isRequired?: true
  readonly isRepeated?: true
}

type Arguments = Readonly<Record<string, ArgumentSpec>>
type Options = Readonly<Record<string, OptionSpec>>

type ValueOf<Spec> = Spec extends { readonly kind: Kind<infer Value> } ? Value : true
type Given<Spec> = Spec extends { readonly isRepeated: true } ? readonly ValueOf<Spec>[] : ValueOf<Spec>

/** What was typed, parsed. */
export type ArgumentsOf<Specs> = {
  readonly [Name in keyof Specs]: Specs[Name] extends { readonly isOptional: true }
    ? Given<Specs[Name]> | undefined
    : Given<Specs[Name]>
}
export type OptionsOf<Specs> = {
  readonly [Name in keyof Specs]: Specs[Name] extends { readonly isRequired: true }
    ? Given<Specs[Name]>
    : Given<Specs[Name]> | undefined
}

/** What a command may use. */
export interface CommandContext {
  readonly api: Api
  /** Where the API is, without asking it anything. @throws CliError `cli_not_connected`, `cli_token_missing` */
  readonly getConnection: () => Promise<Connection>
  readonly output: Output
  readonly images?: ImageTools
  readonly isJson: boolean
  readonly env: Environment
  readonly stdin: Readable
  /** Aborts at Ctrl-C and when nobody reads standard output. */
  readonly signal: AbortSignal
  readonly now: () => Date
  /** The whole table. */
  readonly commands: readonly Command[]
  readonly nouns: Readonly<Record<string, string>>
}

export interface Command {
  /** A noun, or a noun and a verb. */
  readonly words: readonly string[]
  /** One sentence without a full stop. */
  readonly summary: string
  /** More for its help page, in lines. */
  readonly details?: string
  readonly examples?: readonly string[]
  readonly arguments: Arguments
  readonly options: Options
  /** Commands that main.ts runs itself have none. */
  readonly run?: (
    context: CommandContext,
    given: { readonly args: Record<string, unknown>; readonly options: Record<string, unknown> },
  ) => Promise<void>
}

export interface CommandSpec<Args extends Arguments, Opts extends Options> {
  readonly summary: string
  readonly details?: string
  readonly examples?: readonly string[]
  readonly arguments?: Args
  readonly options?: Opts
  readonly run: (
    context: CommandContext,
    given: { readonly args: ArgumentsOf<Args>; readonly options: OptionsOf<Opts> },
  ) => Promise<void>
}

/** Lets TypeScript read the types of `run`'s arguments off the table. */
export function command<
  const Args extends Arguments = Record<never, never>,
  const Opts extends Options = Record<never, never>,
>(words: string, { run, arguments: args, options, ...rest }: CommandSpec<Args, Opts>): Command {
  return {
    ...rest,
    words: words.split(' '),
    arguments: args ?? {},
    options: options ?? {},
    run: run as unknown as NonNullable<Command['run']>,
  }
}
