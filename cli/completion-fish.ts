/** The completion script for fish, which wants a line for each word that may stand somewhere. */

import { findCommand } from './arguments.ts'
import type { Command } from './command.ts'
import {
  nounsOf,
  type Offer,
  optionsOf,
  type Place,
  placesOf,
  valueOptionsOf,
  verbsOf,
} from './completion-model.ts'

export function fishCompletion(commands: readonly Command[]): string {
  return `# Completion of landfall for fish, made by "landfall completion fish".
function __landfall_words
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case ${valueOptionsOf(commands).join(' ')}
                set skip 1
            case '-*'
            case '*'
                echo $word
        end
    end
end
function __landfall_in
    set -l given (__landfall_words)
    set -l wanted (count $argv)
    test (count $given) -ge $wanted; and test "$given[1..$wanted]" = "$argv"
end
function __landfall_at
    test (count (__landfall_words)) = $argv[1]; or return 1
    test (count $argv) = 1; or __landfall_in $argv[2..-1]
end
complete -c landfall -e
complete -c landfall -f
${linesOf(commands).join('\n')}
`
}

function linesOf(commands: readonly Command[]): string[] {
  const nouns = nounsOf(commands)
  return [
    ...nouns.map((noun) => wordLine('__landfall_at 0', noun, summaryOf(commands, [noun]))),
    ...nouns.flatMap((noun) =>
      verbsOf(commands, noun).map((verb) =>
        wordLine(`__landfall_at 1 ${noun}`, verb, summaryOf(commands, [noun, verb])),
      ),
    ),
    ...commands.flatMap((command) => [
      ...optionsOf(command).map(([name, { summary }]) => {
        const place = placesOf(command).find(({ after }) => after === `--${name}`)
        const value =
          place === undefined ? '' : ` ${place.offer.kind === 'files' ? '-r' : '-x'}${offered(place.offer)}`
        return `complete -c landfall -n '__landfall_in ${command.words.join(' ')}' -l ${name}${value} -d ${quoted(summary)}`
      }),
      ...placesOf(command).flatMap((place) => argumentLine(command, place)),
    ]),
  ]
}

function argumentLine({ words }: Command, { command, after, offer }: Place): string[] {
  if (after.startsWith('--') || offer.kind === 'nothing') return []
  const condition =
    after === '*' ? `__landfall_in ${command}` : `__landfall_at ${words.length + Number(after)} ${command}`
  return [`complete -c landfall -n '${condition}'${offered(offer)}`]
}

function offered(offer: Offer): string {
  if (offer.kind === 'words') return ` -a '${offer.words.join(' ')}'`
  if (offer.kind === 'names') return ` -a '(landfall __complete ${offer.list} 2>/dev/null)'`
  return offer.kind === 'files' ? ' -F' : ''
}

function wordLine(condition: string, word: string, summary: string): string {
  return `complete -c landfall -n '${condition}' -a ${word} -d ${quoted(summary)}`
}

function summaryOf(commands: readonly Command[], words: readonly string[]): string {
  return findCommand(commands, words)?.summary ?? ''
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
