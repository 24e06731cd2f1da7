/** `landfall help`, `version` and `completion`: what the command line says of itself. */

import { agentPage } from '../../lib/agent-page.ts'
import { VERSION } from '../../lib/version.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { completionOf } from '../completion.ts'
import { CliError } from '../errors.ts'
import { helpOf } from '../help.ts'
import { SHELL, WORD } from '../kinds.ts'

const ADMIN = 'admin.'
/** Where no API is known. */
const EXAMPLE = { apiUrl: 'https://admin.example.test', domain: 'example.test' }

export const INFO_COMMANDS: readonly Command[] = [
  command('completion', {
    summary: 'Prints a completion script for a shell',
    arguments: { shell: { kind: SHELL, summary: 'bash, zsh or fish' } },
    examples: [
      'source <(landfall completion bash)',
      'source <(landfall completion zsh)',
      'landfall completion fish > ~/.config/fish/completions/landfall.fish',
    ],
    run: ({ output, isJson, commands }, { args: { shell } }) => {
      const script = completionOf(shell, commands).trimEnd()
      return isJson ? output.printJson({ script }) : output.print(script)
    },
  }),
  command('help', {
    summary: 'Says what the commands do',
    details: '"landfall help exit-codes" says what the exit status means.',
    arguments: {
      words: { kind: WORD, summary: 'A command, as vm or vm new', isOptional: true, isRepeated: true },
    },
    options: { agent: { summary: 'The whole interface on one short page, command line and HTTP' } },
    run: async (context, { args: { words = [] }, options: { agent } }) => {
      const { output, isJson, commands, nouns } = context
      const help = agent ? agentPage(await findAddresses(context)).trimEnd() : helpOf(commands, nouns, words)
      return isJson ? output.printJson({ help }) : output.print(help)
    },
  }),
  command('version', {
    summary: 'Says which version this is',
    run: ({ output, isJson }) => {
      const node = process.version
      return isJson
        ? output.printJson({ version: VERSION, node })
        : output.print(`landfall ${VERSION} (node ${node})`)
    },
  }),
]

/** Those of the API that the commands would use. */
async function findAddresses({ getConnection }: CommandContext) {
  try {
    const { url } = await getConnection()
    const { host } = new URL(url)
    return { apiUrl: url, domain: host.startsWith(ADMIN) ? host.slice(ADMIN.length) : host }
  } catch (error) {
    if (error instanceof CliError) return EXAMPLE
    throw error
  }
}
