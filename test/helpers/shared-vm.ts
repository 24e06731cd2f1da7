/** What tests of logins do with the VM `hello` and others like it: make them private, share them, and see what they are sent. */

import type { Browser, BrowserContext, Page } from 'playwright-core'
import type { Landfall } from './landfall.ts'
import { until } from './until.ts'

type Target = Pick<Landfall, 'admin' | 'httpsPort'>

export const HELLO_PORT = 8_000

export function urlOf({ httpsPort }: Target, name: string): string {
  return `https://${name}.localhost:${httpsPort}`
}

/** @throws Error when the API refuses it */
export async function makePrivate({ admin }: Target, vm = 'hello'): Promise<void> {
  const { status } = await admin('PUT', `/v1/vms/${vm}/ports/${HELLO_PORT}`, { visibility: 'private' })
  if (status !== 200) throw new Error(`the port of ${vm}: ${status}`)
}

/** A private VM with the image of hello, when it answers. */
export async function privateVmFor({ admin }: Target, name: string): Promise<void> {
  const body = { image: 'hello', ports: { [HELLO_PORT]: { visibility: 'private' } } }
  const { status } = await admin('PUT', `/v1/vms/${name}`, body)
  if (status !== 201) throw new Error(`the VM ${name}: ${status}`)
  const isReady = async () => (await admin('GET', `/v1/vms/${name}`)).json.isReady === true
  await until(isReady, `${name} is ready`)
}

/** The id of the grant. @throws Error when the API refuses it */
export async function share(
  { admin }: Target,
  { vm = 'hello', kind, value }: { readonly vm?: string; readonly kind: string; readonly value: string },
): Promise<string> {
  const { status, json } = await admin('POST', `/v1/vms/${vm}/grants`, {
    to: { kind, value },
    role: 'viewer',
  })
  if (status !== 201) throw new Error(`the grant to ${value}: ${status}`)
  return String(json.id)
}

/** The fields of the request that the VM got for a page's own fetch, by name in lower case. */
export async function fieldsSeenBy(page: Page): Promise<Readonly<Record<string, string>>> {
  const { rawHeaders } = (await page.evaluate(
    `fetch('/seen', { headers: { accept: 'application/json' } }).then((answer) => answer.json())`,
  )) as { rawHeaders: [string, string][] }
  return Object.fromEntries(rawHeaders.map(([name, value]) => [name.toLowerCase(), value]))
}

export interface BrowserCookie {
  readonly name: string
  readonly domain: string
  readonly httpOnly: boolean
  readonly secure: boolean
  readonly sameSite: string
  readonly path: string
}

/** Ours, by host: a domain without a dot in front is host-only. */
export async function ownCookies(context: BrowserContext): Promise<readonly BrowserCookie[]> {
  return (await context.cookies()).filter(({ name }) => name.startsWith('__Host-landfall'))
}

/** A browser profile of its own, and a page in it. */
export async function profileFor(browser: Browser): Promise<{ context: BrowserContext; page: Page }> {
  const context = await browser.newContext({ ignoreHTTPSErrors: false })
  context.setDefaultTimeout(15_000)
  return { context, page: await context.newPage() }
}
