/** What the completion scripts of all shells need to know of the table of commands. */

import { GLOBAL_OPTIONS } from './arguments.ts'
import type { Command, Kind, OptionSpec } from './command.ts'

/** What may stand in one place of a command line. */
export type Offer =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'names'; readonly list: string }
  | { readonly kind: 'files' }
  | { readonly kind: 'nothing' }

export interface Place {
  /** `vm new`; of a noun with verbs the noun alone stands for the place of the verb. */
  readonly command: string
  /** An option whose value stands there, or the number of arguments before. */
  readonly after: string
  readonly offer: Offer
}

export function nounsOf(commands: readonly Command[]): string[] {
  return [...new Set(commands.map(({ words: [noun = ''] }) => noun))]
}

export function verbsOf(commands: readonly Command[], noun: string): string[] {
  return commands.filter(({ words }) => words[0] === noun).flatMap(({ words }) => words.slice(1))
}

export function optionsOf({ options }: Command): [string, OptionSpec][] {
  return Object.entries({ ...options, ...GLOBAL_OPTIONS })
}

/** `--pool`, `--port`, …: those that are followed by a value, in any command. */
export function valueOptionsOf(commands: readonly Command[]): string[] {
  const names = commands
    .flatMap(optionsOf)
    .filter(([, { kind }]) => kind !== undefined)
    .map(([name]) => `--${name}`)
  return [...new Set(names)].sort()
}

/** Every place where an argument or an option's value stands. */
export function placesOf(command: Command): Place[] {
  const name = command.words.join(' ')
  const values = optionsOf(command).flatMap(([option, { kind }]) =>
    kind === undefined ? [] : [{ command: name, after: `--${option}`, offer: offerOf(kind) }],
  )
  const args = Object.values(command.arguments).map(({ kind, isRepeated }, at) => ({
    command: name,
    after: isRepeated ? '*' : String(at),
    offer: offerOf(kind),
  }))
  return [...values, ...args]
}

function offerOf({ choices, names, isFile }: Kind<unknown>): Offer {
  if (choices !== undefined) return { kind: 'words', words: choices }
  if (names !== undefined) return { kind: 'names', list: names }
  return { kind: isFile ? 'files' : 'nothing' }
}
