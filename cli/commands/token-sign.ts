/** `landfall token sign`: a token for one host that an SSH key of the user signs, without asking anybody. */

import { type Command, type CommandContext, command } from '../command.ts'
import { AUDIENCE, EXPIRY, FILE } from '../kinds.ts'
import { type SelfToken, signSelfToken } from '../self-token.ts'
import { loadSigningKey, type SigningKey } from '../signing-key.ts'
import { harmless } from '../text-table.ts'
import { LIMIT_OPTIONS } from './token-limits.ts'

const LIFE_MS = 3_600_000

export const TOKEN_SIGN: Command = command('token sign', {
  summary: 'Makes a token for one host name, signed with your SSH key, and prints it',
  details:
    'Nothing is asked of the network. The token counts while "key list" shows the key as yours, and lets in whom the\n' +
    'VM lets in: its owner and those with a grant. For admin.<domain> it is a token of the API. A key that is encrypted,\n' +
    'or of which FILE is the .pub half, signs through ssh-agent.',
  arguments: {
    host: { kind: AUDIENCE, summary: 'The host name that it is for, or a URL there' },
  },
  options: {
    key: { kind: FILE, summary: 'The SSH key, else ~/.ssh/id_ed25519 or ~/.ssh/id_ecdsa' },
    expires: { kind: EXPIRY, summary: 'When it ends, as 12h or a moment; 1h unless given, 30d at most' },
    ...LIMIT_OPTIONS,
  },
  examples: [
    'curl -H "X-Landfall-Authorization: Bearer $(landfall token sign web.example.test)" https://web.example.test/',
    'landfall token sign admin.example.test --expires 12h | landfall login --api https://admin.example.test --token-stdin',
  ],
  run: async (context, { args: { host }, options }) => {
    const { env, signal, output } = context
    const { key: file, expires, port, method, path, ctx, 'key-thumbprint': jkt } = options
    const issuedAt = context.now()
    const expiresAt = new Date(expires ?? issuedAt.getTime() + LIFE_MS)
    const limits = {
      ...(port !== undefined && { ports: port }),
      ...(method !== undefined && { methods: method }),
      ...(path !== undefined && { path }),
      ...(ctx !== undefined && { ctx }),
      ...(jkt !== undefined && { cnf: { jkt } }),
    }
    const key = await loadSigningKey({ file, env, signal, warn: (line) => output.say(line) })
    const made = await signSelfToken(key, { audience: host, issuedAt, expiresAt, limits })
    return printSigned(context, { host, key, made })
  },
})

interface Signed {
  readonly host: string
  readonly key: SigningKey
  readonly made: SelfToken
}

async function printSigned({ output, isJson }: CommandContext, { host, key, made }: Signed): Promise<void> {
  const { fingerprint } = key
  if (isJson) return output.printJson({ ...made, host, fingerprint })
  output.say(`for ${host} until ${made.expiresAt}, signed with ${fingerprint} of ${harmless(key.file)}`)
  return output.print(made.token)
}
