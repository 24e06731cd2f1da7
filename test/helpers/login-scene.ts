/** An edge of the platform example.test with a VM that shows what it was sent, and people who can log in. */

import type { Test } from 'tap'
import type { RouteRecord } from '../../routing/records/records.ts'
import type { TestBrowser } from '../auth/login/browser.ts'
import { echoVmFor } from './echo-vm.ts'
import { edgeFor, type TestEdge } from './edge.ts'
import { browserOf, edgeCall } from './edge-call.ts'
import type { Origin } from './origin.ts'
import { putTestRoute } from './route.ts'
import { until } from './until.ts'

export const WEB = 'web.example.test'
export const EVIL = 'evil.example.test'
export const LOGIN_HOST = 'auth.example.test'
export const COOKIE = '__Host-landfall'
export const SESSION = '__Host-landfall-session'
export const FLOW = '__Host-landfall-flow'
/** Visits; attacks; may come in nowhere at first. */
export const ADA = 'ada@example.test'
export const MALLORY = 'mallory@example.test'

export interface LoginScene {
  readonly edge: TestEdge
  readonly vm: Origin
  readonly browser: () => TestBrowser
  /** `https://…/` with the port. */
  readonly urlOf: (hostname: string) => string
  /** Writes a private row to the VM and waits until the edge has it. */
  readonly share: (hostname: string, other?: Partial<RouteRecord>) => Promise<void>
  /** From the login page of a host on as `email`; a question is not answered. */
  readonly logIn: (browser: TestBrowser, hostname: string, email: string) => ReturnType<TestBrowser['visit']>
  /** What /.landfall/whoami says of a Cookie field. */
  readonly whois: (hostname: string, cookie: string) => Promise<Record<string, unknown>>
}

/** By name, for good. */
export function grantsTo(...emails: readonly string[]): NonNullable<RouteRecord['grants']> {
  return emails.map((value) => ({
    id: `grant-${value.replace(/\W/g, '-')}`,
    to: { kind: 'email', value },
    role: 'viewer',
  }))
}

export async function loginSceneFor(t: Test, env: Record<string, string> = {}): Promise<LoginScene> {
  const people = [ADA, MALLORY].join(',')
  const edge = await edgeFor(t, { LANDFALL_DOMAIN: 'example.test', LANDFALL_PEOPLE: people, ...env })
  const vm = await echoVmFor(t)
  const upstream = { host: '127.0.0.1', port: vm.port }
  const { urlOf } = edge
  return {
    ...{ edge, vm, urlOf },
    browser: () => browserOf(edge),
    share: async (hostname, other = {}) => {
      const [name = ''] = hostname.split('.')
      const row = { hostname, vm: name, port: 8000, pool: 'pool', upstream, ...other }
      const revision = await putTestRoute(edge.store, row)
      await until(async () => (await revisionOf(edge)) >= revision, `the edge knows ${hostname}`)
    },
    logIn: async (browser, hostname, email) => {
      const page = await browser.visit(`${urlOf(hostname)}.landfall/login`)
      return browser.submit(page, { email })
    },
    whois: async (hostname, cookie) => {
      const ask = { hostname, path: '/.landfall/whoami', headers: { cookie } }
      return JSON.parse((await edgeCall(edge, ask)).body)
    },
  }
}

async function revisionOf(edge: TestEdge): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  return Number(/^landfall_table_revision (\d+)/m.exec(metrics)?.[1] ?? 0)
}
