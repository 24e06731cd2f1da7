/** A login service with the login at a provider, and a browser that is sent there and back. */

import type { Test } from 'tap'
import { createOidcLogin } from '../../../../auth/login/methods/oidc-login.ts'
import { createListLog, type Line } from '../../../helpers/list-log.ts'
import {
  type ProviderScript,
  type ScriptedProvider,
  scriptedProviderFor,
} from '../../../helpers/scripted-provider.ts'
import type { Answer, TestBrowser } from '../browser.ts'
import { ADA, grantTo, HOST, LOGIN, type LoginKit, loginKitFor, routeOf, WEB } from '../login-kit.ts'

export const CALLBACK = `${LOGIN}/oidc/callback`

export interface OidcKit extends LoginKit {
  readonly provider: ScriptedProvider
  /** What the login at the provider logged. */
  readonly oidcLines: readonly Line[]
}

export interface OidcKitOptions {
  readonly userClaim?: string
  readonly timeoutS?: number
}

/** ADA, by e-mail and as user `ada`, may come in at HOST. */
export async function oidcKitFor(
  t: Test,
  script: ProviderScript = {},
  { userClaim = 'sub', timeoutS = 2 }: OidcKitOptions = {},
): Promise<OidcKit> {
  const provider = await scriptedProviderFor(t, script)
  const { lines: oidcLines, ...log } = createListLog()
  const settings = {
    issuer: provider.issuer,
    clientId: 'landfall',
    clientSecret: 'secret',
    userClaim,
    timeoutS,
  }
  const kit = await loginKitFor(t, { methods: [createOidcLogin(settings, log)] })
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA), grantTo('user', 'ada')] }))
  return { ...kit, provider, oidcLines }
}

/** To where the provider's page would be; its URL. @throws Error when it leads elsewhere */
export async function leaveFor(kit: OidcKit, browser: TestBrowser, to = '/'): Promise<string> {
  const first = await browser.ask(`${WEB}/.landfall/login?${new URLSearchParams({ to })}`)
  let answer = first
  while (answer.status === 303) {
    const location = String(answer.headers.location)
    if (location.startsWith(`${kit.provider.issuer}/authorize`)) return location
    answer = await browser.ask(new URL(location, answer.url), { from: answer.url })
  }
  throw new Error(`${answer.status} ${answer.body}`)
}

/** From the provider back, and on. */
export function comeBack(kit: OidcKit, browser: TestBrowser, query: string): Promise<Answer> {
  return browser.visit(`${CALLBACK}?${query}`, { from: new URL(kit.provider.issuer) })
}

/** The whole way; `other` replaces parameters that the provider sends back. */
export async function logInAtProvider(
  kit: OidcKit,
  browser: TestBrowser,
  other: Readonly<Record<string, string | undefined>> = {},
): Promise<Answer> {
  const url = await leaveFor(kit, browser, '/notes?page=2')
  return comeBack(kit, browser, kit.provider.authorize(url, other))
}
