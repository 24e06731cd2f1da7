/** `landfall token`: who may call the admin API. */

import { printDeleted, printListing, printRecord } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { EXPIRY, SCOPE, TEXT, TOKEN_ID } from '../kinds.ts'
import { age, type Column, formatScopes, plain, textOf } from '../views.ts'
import { keepLogin } from './login-commands.ts'
import { TOKEN_SIGN } from './token-sign.ts'

const TOKEN_ARGUMENT = { kind: TOKEN_ID, summary: 'The token\'s id, as "token list" shows it' } as const
const SCOPES: Column = { title: 'SCOPES', of: formatScopes }
const ALL_VERBS = ['read', 'write', 'share', 'admin']

export const TOKEN_COMMANDS: readonly Command[] = [
  command('token list', {
    summary: 'Lists the tokens, without their secrets',
    run: (context) =>
      printListing(context, {
        path: '/v1/tokens',
        plural: 'tokens',
        columns: [
          plain('ID'),
          plain('LABEL'),
          SCOPES,
          plain('EXPIRES', 'expiresAt'),
          age('AGE', 'createdAt', context.now()),
        ],
        none: 'There are no tokens but the bootstrap token.',
      }),
  }),
  command('token show', {
    summary: 'Shows one token, without its secret',
    arguments: { id: TOKEN_ARGUMENT },
    run: async (context, { args: { id } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/tokens/${id}` })
      const lines = [
        plain('EXPIRES', 'expiresAt'),
        plain('CREATED', 'createdAt'),
        plain('CREATED BY', 'createdBy'),
      ]
      return printRecord(context, view, [plain('ID'), plain('LABEL'), SCOPES, ...lines])
    },
  }),
  command('token new', {
    summary: 'Makes a token and prints it, this once',
    options: {
      scope: {
        kind: SCOPE,
        summary: 'What it may do in which pool, as web:read,write; "*" is every pool',
        isRequired: true,
        isRepeated: true,
      },
      label: { kind: TEXT, summary: 'What it is for' },
      expires: { kind: EXPIRY, summary: 'When it ends, as 30d or a moment' },
    },
    examples: ['landfall token new --scope web:read,write --label deploy --expires 90d'],
    run: async (context, { options: { scope, label = '', expires } }) => {
      const body = { label, scopes: scope, ...(expires !== undefined && { expiresAt: expires }) }
      return printToken(context, await context.api.call({ method: 'POST', path: '/v1/tokens', body }))
    },
  }),
  command('token bootstrap', {
    summary: 'Makes the first token, which may do everything, and prints it',
    details:
      'In a fleet the bootstrap token of admin.token can do nothing else, and ends with it.\n--save keeps the new token as "landfall login" does.',
    options: {
      label: { kind: TEXT, summary: 'What it is for, "operator" unless given' },
      save: { summary: 'Keeps it in the configuration file' },
    },
    run: async (context, { options: { label = 'operator', save } }) => {
      const body = { label, scopes: [{ pool: '*', verbs: ALL_VERBS }] }
      const view = await context.api.call({ method: 'POST', path: '/v1/tokens', body })
      // First, so that a file that cannot be written does not lose the one token that there is.
      await printToken(context, view)
      if (save) await keepLogin(context, textOf(view, 'token'))
    },
  }),
  TOKEN_SIGN,
  command('token delete', {
    summary: 'Ends a token at once',
    arguments: { id: TOKEN_ARGUMENT },
    run: async (context, { args: { id } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/tokens/${id}` })
      return printDeleted(context, [id])
    },
  }),
]

async function printToken({ output, isJson }: CommandContext, view: Json): Promise<void> {
  if (isJson) return output.printJson(view)
  output.say(`token ${textOf(view, 'id')}: ${formatScopes(view)}; it is not shown again`)
  return output.print(textOf(view, 'token'))
}
