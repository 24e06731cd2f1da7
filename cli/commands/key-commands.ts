/** `landfall key`: whose public SSH key is whose. */

import { addAbortSignal } from 'node:stream'
import { text } from 'node:stream/consumers'
import { printDeleted, printListing, printRecord, printWritten } from '../answers.ts'
import { path } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { readText } from '../connection.ts'
import { FILE, KEY_ID, TEXT, USER } from '../kinds.ts'
import { age, plain, textOf } from '../views.ts'

const KEY_ARGUMENT = { kind: KEY_ID, summary: 'The key\'s id, as "key list" shows it' } as const

export const KEY_COMMANDS: readonly Command[] = [
  command('key list', {
    summary: "Lists the users' public SSH keys",
    run: (context) =>
      printListing(context, {
        path: '/v1/keys',
        plural: 'keys',
        columns: [
          plain('ID'),
          plain('USER'),
          plain('TYPE'),
          plain('LABEL'),
          age('AGE', 'createdAt', context.now()),
        ],
        none: 'There are no keys.',
      }),
  }),
  command('key show', {
    summary: 'Shows one key',
    arguments: { id: KEY_ARGUMENT },
    run: async (context, { args: { id } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/keys/${id}` })
      const lines = [plain('PUBLIC KEY', 'publicKey'), plain('LABEL'), plain('CREATED', 'createdAt')]
      return printRecord(context, view, [
        plain('ID'),
        plain('FINGERPRINT'),
        plain('USER'),
        plain('TYPE'),
        ...lines,
      ])
    },
  }),
  command('key add', {
    summary: 'Adds a public key of a user, and prints its id',
    arguments: {
      user: { kind: USER, summary: 'Whose key it is' },
      file: { kind: FILE, summary: 'The public key, as in id_ed25519.pub; - is standard input' },
    },
    options: { label: { kind: TEXT, summary: 'What it is called, else its comment' } },
    run: async (context, { args: { user, file }, options: { label } }) => {
      const publicKey = await readKey(context, file)
      const body = { user, publicKey, ...(label !== undefined && { label }) }
      const view = await context.api.call({ method: 'POST', path: '/v1/keys', body })
      return printWritten(context, { view, name: textOf(view, 'id'), said: `added a key of ${user}` })
    },
  }),
  command('key delete', {
    summary: 'Removes a key',
    arguments: { id: KEY_ARGUMENT },
    run: async (context, { args: { id } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/keys/${id}` })
      return printDeleted(context, [id])
    },
  }),
]

async function readKey({ stdin, signal }: CommandContext, file: string): Promise<string> {
  return (file === '-' ? await text(addAbortSignal(signal, stdin)) : await readText(file)).trim()
}
