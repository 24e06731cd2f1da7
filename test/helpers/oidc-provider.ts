/** A certified OpenID Connect provider in a process of its own, with fixed accounts and a plain login form. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

export const CLIENT_ID = 'landfall'
export const CLIENT_SECRET = 'a secret/with:odd+characters & more'

export interface Account {
  /** What the form asks for, and the claim `sub`. */
  readonly id: string
  readonly claims?: Readonly<Record<string, unknown>>
}

export interface ProviderOptions {
  readonly redirectUri: string
  readonly accounts: readonly Account[]
  /** Whether people are asked if the client may see their claims; granted by itself otherwise. */
  readonly consent?: 'form' | 'automatic'
  readonly clientAuth?: 'client_secret_basic' | 'client_secret_post'
  /** Puts e-mail and name into ID tokens, so that nobody asks for userinfo. */
  readonly hasClaimsInIdToken?: boolean
}

export interface OidcProvider {
  /** `http://127.0.0.1:<port>` */
  readonly issuer: string
  /** `METHOD /path` of each request so far. */
  readonly requests: () => Promise<readonly string[]>
  readonly stop: () => Promise<void>
}

const PROGRAM = fileURLToPath(new URL('oidc-provider-process.ts', import.meta.url))

/** The form has a field `login`, and buttons named `answer` with the values `yes` and `no`. */
export async function oidcProviderFor(t: Test, options: ProviderOptions): Promise<OidcProvider> {
  const child = fork(PROGRAM, [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  const gone = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGKILL')
    await gone
  }
  t.teardown(stop)
  child.send({ ...options, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET })
  const { issuer } = await nextMessage<{ issuer: string }>(child, gone)
  return {
    issuer,
    requests: async () => {
      child.send('requests')
      return (await nextMessage<{ requests: readonly string[] }>(child, gone)).requests
    },
    stop,
  }
}

async function nextMessage<T>(child: ChildProcess, gone: Promise<unknown>): Promise<T> {
  const ended = gone.then(() => {
    throw new Error('the provider ended')
  })
  const [message] = await Promise.race([once(child, 'message'), ended])
  return message as T
}
