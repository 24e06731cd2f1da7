/** Completion scripts for bash and zsh, which differ only in how they read the line and make an offer. */

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

export function bashCompletion(commands: readonly Command[]): string {
  return `# Completion of landfall for bash, made by "landfall completion bash".
_landfall_words() {
  COMPREPLY=($(compgen -W "$*" -- "$cur"))
}
_landfall_names() {
  COMPREPLY=($(compgen -W "$(landfall __complete "$1" 2>/dev/null)" -- "$cur"))
}
_landfall_files() {
  COMPREPLY=($(compgen -f -- "$cur"))
}
_landfall() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local before=("\${COMP_WORDS[@]:1:COMP_CWORD - 1}")
  COMPREPLY=()
${body(commands)}
}
complete -F _landfall landfall
`
}

export function zshCompletion(commands: readonly Command[]): string {
  return `#compdef landfall
# Completion of landfall for zsh, made by "landfall completion zsh".
_landfall_words() {
  compadd -- "$@"
}
_landfall_names() {
  compadd -- \${(f)"$(landfall __complete "$1" 2>/dev/null)"}
}
_landfall_files() {
  _files
}
_landfall() {
  local cur=\${words[CURRENT]} prev=\${words[CURRENT - 1]}
  local -a before=("\${(@)words[2,CURRENT - 1]}")
${body(commands)}
}
if [ "$funcstack[1]" = _landfall ]; then _landfall "$@"; else compdef _landfall landfall; fi
`
}

/** What both shells understand alike: which words stand before the cursor, and what may stand at it. */
function body(commands: readonly Command[]): string {
  const nouns = nounsOf(commands)
  const withVerbs = nouns.filter((noun) => verbsOf(commands, noun).length > 0)
  const places = commands.flatMap(placesOf).filter(({ offer }) => offer.kind !== 'nothing')
  const values = commands.flatMap(placesOf).filter(({ after }) => after.startsWith('--'))
  return `  local word noun= verb= at=0 skip=
  for word in "\${before[@]}"; do
    if [ -n "$skip" ]; then skip=; continue; fi
    case $word in
      ${valueOptionsOf(commands).join('|')}) skip=1; continue ;;
      -*) continue ;;
    esac
    if [ -z "$noun" ]; then noun=$word; continue; fi
    case "$noun:$verb" in
      ${withVerbs.map((noun) => `${noun}:`).join('|')}) verb=$word ;;
      *) at=$((at + 1)) ;;
    esac
  done
  local command="$noun\${verb:+ $verb}"
  case "$command:$prev" in
${values.map((place) => caseOf(place)).join('\n')}
  esac
  case "$cur" in
    -*)
      case "$command" in
${commands.map(optionCase).join('\n')}
      esac
      return ;;
  esac
  case "$command:$at" in
    :*) _landfall_words ${nouns.join(' ')} ;;
${withVerbs.map((noun) => `    ${noun}:*) _landfall_words ${verbsOf(commands, noun).join(' ')} ;;`).join('\n')}
${places
  .filter(({ after }) => !after.startsWith('--'))
  .map((place) => caseOf(place))
  .join('\n')}
  esac`
}

function caseOf({ command, after, offer }: Place): string {
  const pattern = after === '*' ? `"${command}:"*` : `"${command}:${after}"`
  const end = after.startsWith('--') ? 'return ;;' : ';;'
  return `    ${pattern}) ${[...callOf(offer), end].join(after.startsWith('--') ? '; ' : ' ')}`
}

function callOf(offer: Offer): string[] {
  if (offer.kind === 'words') return [`_landfall_words ${offer.words.join(' ')}`]
  if (offer.kind === 'names') return [`_landfall_names ${offer.list}`]
  return offer.kind === 'files' ? ['_landfall_files'] : []
}

function optionCase(command: Command): string {
  const names = optionsOf(command).map(([name]) => `--${name}`)
  return `        "${command.words.join(' ')}") _landfall_words ${names.join(' ')} ;;`
}
