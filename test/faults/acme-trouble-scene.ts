/** An edge whose authorities are in trouble: what its API says of a name meanwhile, and what clients get. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { OrderRow, OrderState } from '../../acme/rows.ts'
import { PLATFORM, readServed, settingsOf, visitFirst } from '../helpers/acme-edge.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { edgeCall } from '../helpers/edge-call.ts'
import { folderFor } from '../helpers/folder.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { originFor } from '../helpers/origin.ts'
import { type Pebble, pebbleFor } from '../helpers/pebble.ts'
import { until } from '../helpers/until.ts'

/** Longer than an edge lets its first visitor wait. */
const SERVED_MS = 20_000

/** What `landfall domain check` shows. */
export interface View {
  readonly state: string
  readonly steps: readonly { readonly step: string; readonly state: string; readonly detail: string }[]
  readonly certificates: readonly { readonly ca?: string }[]
  readonly lastError?: { readonly code: string; readonly detail: string; readonly at: string }
  readonly nextTryAt?: string
}

export interface TroubleScene {
  readonly edge: TestEdge
  readonly pebbles: readonly Pebble[]
  readonly view: (hostname: string) => Promise<View>
  /** As an operator who knows that the trouble is over. */
  readonly renew: (hostname: string) => Promise<void>
  /** Whether a client that trusts `root` alone is served. */
  readonly isServed: (hostname: string, root: string) => Promise<boolean>
  /** As a first visitor, who waits. Rejects when he is not served. */
  readonly visitFirst: (hostname: string, root: string) => Promise<void>
  readonly untilServed: (hostname: string, root: string) => Promise<void>
  readonly untilState: (hostname: string, states: readonly OrderState[]) => Promise<void>
  /** What is told of the name once its order has failed. */
  readonly untilWaiting: (hostname: string) => Promise<View>
}

export interface TroubleOptions {
  /** How many Pebbles; one by default, whose DNS is asked in any case. */
  readonly pebbles?: number
  /** Directories, the one that is asked first in front; those of the Pebbles by default. */
  readonly authorities?: (pebbles: readonly string[]) => readonly string[]
  readonly hostnames: readonly string[]
}

export async function troubleSceneFor(t: Test, options: TroubleOptions): Promise<TroubleScene> {
  const { authorities = (own) => own, pebbles: count = 1, hostnames } = options
  const [httpPort, tlsPort] = [await findFreePort(), await findFreePort()]
  const pebbles: Pebble[] = []
  for (let index = 0; index < count; index += 1) pebbles.push(await pebbleFor(t, { httpPort, tlsPort }))
  const edge = await edgeFor(t, {
    ...pebbles.map(settingsOf)[0],
    LANDFALL_ACME_CAS: authorities(pebbles.map(({ directory }) => directory)).join(','),
    LANDFALL_ACME_CA_FILE: writeRoots(t, pebbles),
    LANDFALL_HTTP_MODE: 'redirect',
    LANDFALL_HTTP_PORT: String(httpPort),
    LANDFALL_HTTPS_PORT: String(tlsPort),
  })
  const origin = await originFor(t)
  for (const hostname of hostnames) await edge.route(hostname, origin.port)
  return { edge, pebbles, ...looksAt(edge) }
}

function writeRoots(t: Test, pebbles: readonly Pebble[]): string {
  const file = join(folderFor(t), 'roots.pem')
  writeFileSync(file, pebbles.map(({ rootFile }) => readFileSync(rootFile, 'utf8')).join('\n'))
  return file
}

function looksAt(edge: TestEdge): Omit<TroubleScene, 'edge' | 'pebbles'> {
  const { httpsPort, ca, store, adminToken } = edge
  const call = async (method: string, path: string): Promise<View> => {
    const headers = { authorization: `Bearer ${adminToken}` }
    const { status, body } = await edgeCall(
      { httpsPort, ca },
      { hostname: `admin.${PLATFORM}`, method, path: `/v1/certificates/${path}`, headers },
    )
    if (status !== 200) throw new Error(`${method} ${path}: ${status} ${body}`)
    return JSON.parse(body) as View
  }
  const view: TroubleScene['view'] = (hostname) => call('GET', hostname)
  const isServed: TroubleScene['isServed'] = async (hostname, root) =>
    (await readServed(httpsPort, { hostname, root })).isTrusted
  return {
    view,
    isServed,
    visitFirst: async (hostname, root) => void (await visitFirst([edge], { hostname, root })),
    renew: async (hostname) => void (await call('POST', `${hostname}/renew`)),
    untilServed: (hostname, root) =>
      until(() => isServed(hostname, root), `${hostname} is served`, SERVED_MS),
    untilState: (hostname, states) =>
      until(
        async () => {
          const document = await store.get(`order/${hostname}/ec`)
          const row = document?.value as unknown as OrderRow | undefined
          return row !== undefined && states.includes(row.state)
        },
        `the order of ${hostname} is ${states.join(' or ')}`,
      ),
    untilWaiting: async (hostname) => {
      const isWaiting = async () => (await view(hostname)).state === 'waiting'
      await until(isWaiting, `${hostname} waits for its next try`, SERVED_MS)
      return view(hostname)
    },
  }
}
