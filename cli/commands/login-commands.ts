/** `landfall login`, `logout`, `whoami`: which API the commands talk to, and as whom. */

import { resolve } from 'node:path'
import { addAbortSignal } from 'node:stream'
import { text } from 'node:stream/consumers'
import { printRecord } from '../answers.ts'
import { HttpsApi } from '../api.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { readText } from '../connection.ts'
import { CliError, refuseUsage } from '../errors.ts'
import { API_URL, FILE, isTokenText } from '../kinds.ts'
import { deleteLogin, type Login, loginFileOf, writeLogin } from '../login-file.ts'
import { formatScopes, plain, textOf } from '../views.ts'

export const LOGIN_COMMANDS: readonly Command[] = [
  command('login', {
    summary: 'Keeps the address of an API and a token for the commands to come',
    details: 'The token is read from standard input, tried out, and kept in a file that only you can read.',
    options: {
      api: { kind: API_URL, summary: "The API's address", isRequired: true },
      'token-stdin': { summary: 'Reads the token from standard input', isRequired: true },
      'ca-file': {
        kind: FILE,
        summary: 'The authority that its certificate comes from, where it is your own',
      },
    },
    examples: ['landfall login --api https://admin.example.test --token-stdin < token.txt'],
    run: async (context, { options: { api, 'ca-file': caFile } }) => {
      const token = await readToken(context)
      const login = { api, token, ...(caFile !== undefined && { caFile: resolve(caFile) }) }
      const who = await tryOut(context, login)
      const file = loginFileOf(context.env)
      await writeLogin(file, login)
      if (context.isJson) return context.output.printJson({ ...who, file })
      return context.output.say(
        `logged in to ${api} as ${textOf(who, 'id')} (${formatScopes(who)}); kept in ${file}`,
      )
    },
  }),
  command('logout', {
    summary: 'Forgets what "landfall login" kept; the token itself goes on',
    run: async (context) => {
      const file = loginFileOf(context.env)
      const isDeleted = await deleteLogin(file)
      if (context.isJson) return context.output.printJson({ file, isDeleted })
      return context.output.say(isDeleted ? `deleted ${file}` : `there was no ${file}`)
    },
  }),
  command('whoami', {
    summary: 'Says which API is used, as whom, and what the token may do',
    run: async (context) => {
      const { url, from } = await context.getConnection()
      const who = await context.api.call({ method: 'GET', path: '/v1/whoami' })
      if (context.isJson) return context.output.printJson(who)
      return printRecord(context, { ...who, api: url, from }, [
        plain('ID'),
        plain('USER'),
        { title: 'SCOPES', of: formatScopes },
        plain('EXPIRES', 'expiresAt'),
        plain('API'),
        plain('FROM'),
      ])
    },
  }),
]

/** Keeps another token for the API that is used now. @throws CliError `cli_file_unusable` */
export async function keepLogin(
  { env, output, getConnection }: CommandContext,
  token: string,
): Promise<void> {
  const { url, caFile } = await getConnection()
  const file = loginFileOf(env)
  await writeLogin(file, { api: url, token, ...(caFile !== undefined && { caFile: resolve(caFile) }) })
  output.say(`kept in ${file}`)
}

/** The first line. @throws CliError `cli_usage` */
async function readToken({ stdin, signal }: CommandContext): Promise<string> {
  if ('isTTY' in stdin && stdin.isTTY === true)
    refuseUsage(
      'The token is read from a pipe or a file, so that no terminal shows it.',
      'landfall login --api URL --token-stdin < FILE',
    )
  const token = (await text(addAbortSignal(signal, stdin))).trim()
  if (!isTokenText(token)) refuseUsage('Standard input holds no token: it must be one word.')
  return token
}

/** What the API says of the token. @throws ApiRefusal, CliError */
async function tryOut({ signal }: CommandContext, { api, token, caFile }: Login) {
  const ca = caFile === undefined ? undefined : await readText(caFile)
  const connection = { url: api, token, from: '--api', ...(ca !== undefined && { ca }) }
  using tried = new HttpsApi(async () => connection, signal)
  return await tried.call({ method: 'GET', path: '/v1/whoami' }).catch((error: unknown) => {
    throw error instanceof CliError && error.code === 'cli_untrusted'
      ? new CliError('cli_untrusted', {
          cause: error,
          detail: error.message,
          next: 'Name the certificate of the authority that issued it with --ca-file.',
        })
      : error
  })
}
