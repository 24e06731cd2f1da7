/** Which ways to log in there are: the provider that is configured, else mail, else, in development, people to choose from. */

import { readFile } from 'node:fs/promises'
import type { Log } from '../../../lib/log.ts'
import type { LoginStore } from '../login-store.ts'
import type { LoginMethod } from './login-method.ts'
import { createMailLogin } from './mail-login.ts'
import { createMailSender } from './mail-sender.ts'
import { createOidcLogin } from './oidc-login.ts'
import { createPeopleLogin } from './people-login.ts'

export interface LoginMethodDeps {
  readonly log: Log
  readonly store: LoginStore
}

/** Empty texts are settings that are not set. */
export interface LoginMethodSettings {
  readonly oidcIssuer: string
  readonly oidcClientId: string
  readonly oidcSecretFile: string
  readonly oidcUserClaim: string
  readonly smtpUrl: string
  readonly smtpPasswordFile: string
  readonly mailFrom: string
  readonly people: readonly string[]
  /** Everything is in one process, for nobody but this machine. */
  readonly isDevelopment: boolean
}

/** Those that hold connections are disposed by whoever asked for them. @throws Node's errors when a secret cannot be read */
export async function createLoginMethods(
  settings: LoginMethodSettings,
  deps: LoginMethodDeps,
): Promise<readonly (LoginMethod & Partial<AsyncDisposable>)[]> {
  if (settings.oidcIssuer !== '') return [await createConfiguredOidc(settings, deps)]
  if (settings.smtpUrl !== '') return [await createConfiguredMail(settings, deps)]
  return settings.isDevelopment ? [createPeopleLogin(settings.people)] : []
}

async function createConfiguredOidc(settings: LoginMethodSettings, { log }: LoginMethodDeps) {
  const { oidcIssuer: issuer, oidcClientId: clientId, oidcUserClaim: userClaim } = settings
  const clientSecret = await readSecret(settings.oidcSecretFile)
  return createOidcLogin({ issuer, clientId, clientSecret, userClaim }, log)
}

async function createConfiguredMail(settings: LoginMethodSettings, { log, store }: LoginMethodDeps) {
  const { smtpUrl: url, smtpPasswordFile: file, mailFrom: from } = settings
  const password = file === '' ? undefined : await readSecret(file)
  const sender = createMailSender({ url, password, from }, log)
  return {
    ...createMailLogin({ store, sender, log }),
    [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
  }
}

/** Editors end a file with a line break, which no secret ends with. */
async function readSecret(path: string): Promise<string> {
  return (await readFile(path, 'utf8')).replace(/\r?\n$/, '')
}
