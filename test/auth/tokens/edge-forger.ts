/** A whole edge with one private route, and a forger that has the edge's own signing key. */

import { createPrivateKey } from 'node:crypto'
import type { Test } from 'tap'
import { createSealer } from '../../../lib/seal.ts'
import { KEYS, REVOCATIONS, SIGNING_KEYS, TOKENS } from '../../../routing/records/record-kinds.ts'
import { loadSecretKeys } from '../../../routing/secrets.ts'
import type { Store } from '../../../routing/store/store.ts'
import { edgeFor, type TestEdge } from '../../helpers/edge.ts'
import { type Origin, originFor } from '../../helpers/origin.ts'
import { exchange, isWhole, type RawAnswer } from '../../helpers/raw-client.ts'
import { putTestRoute } from '../../helpers/route.ts'
import { HOST } from '../gate/gate-kit.ts'
import { createForger, type Forger, type ForgerKit, type Hostile, TOKEN_ID } from './forger.ts'

export interface EdgeWithForger {
  readonly edge: TestEdge
  readonly forger: Forger
  /** What the VM got. */
  readonly origin: Origin
  /** Writes what forged tokens have put into the tables. */
  publish(): Promise<void>
  /** On a connection of its own: some refusals end it. */
  send(hostile: Hostile): Promise<RawAnswer>
}

type Tables = ForgerKit['table']

const HOUR_MS = 3_600_000

export async function edgeWithForgerFor(t: Test): Promise<EdgeWithForger> {
  const folder = t.testdir()
  // One client sends all of it.
  const settings = { LANDFALL_DOMAIN: 'example.test', LANDFALL_AUTH_RATE: '1000' }
  const edge = await edgeFor(t, { LANDFALL_DATA: folder, ...settings })
  const origin = await originFor(t)
  const upstream = { host: '127.0.0.1', port: origin.port }
  const grants = [toGrant('token', TOKEN_ID), toGrant('user', 'ann')]
  await putTestRoute(edge.store, { hostname: HOST, vm: 'web', port: 80, pool: 'web', upstream, grants })
  const table: Tables = { sshKeys: new Map(), apiTokens: new Map(), revocations: new Map() }
  const signingKey = await loadSigningKey(edge.store, folder)
  const nowS = () => Math.floor(Date.now() / 1_000)
  const forger = createForger({ table, signingKey, operator: edge.adminToken, nowS })
  return {
    ...{ edge, forger, origin },
    publish: () => publish(edge.store, table),
    send: async (hostile) =>
      exchange(await edge.dial(HOST), `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${toLines(hostile)}\r\n`, isWhole),
  }
}

function toGrant(kind: 'token' | 'user', value: string) {
  return { id: value, to: { kind, value }, role: 'viewer' as const }
}

async function loadSigningKey(store: Store, folder: string): Promise<ForgerKit['signingKey']> {
  const [first] = (await store.list(SIGNING_KEYS.prefix)).documents
  const { id, sealedKey } = SIGNING_KEYS.parse(first?.value)
  const sealer = createSealer(await loadSecretKeys({ file: '', folder, isFleet: false }))
  const jwk = sealer.open(sealedKey, `signing-key/${id}`).toString()
  return { kid: id, key: createPrivateKey({ key: JSON.parse(jwk), format: 'jwk' }) }
}

async function publish(store: Store, { sshKeys, apiTokens, revocations }: Tables): Promise<void> {
  const made = { label: 'test', createdAt: new Date().toISOString() }
  for (const row of sshKeys.values()) {
    await store.put(`${KEYS.prefix}${row.id}`, { ...KEYS.parse({ ...row, ...made }) })
  }
  for (const row of apiTokens.values()) {
    await store.put(`${TOKENS.prefix}${row.id}`, { ...TOKENS.parse({ ...row, ...made, createdBy: 'test' }) })
  }
  for (const [name, at] of revocations) {
    const [kind, value] = name.split('/')
    const expiresAt = new Date(Date.now() + HOUR_MS).toISOString()
    const record = REVOCATIONS.parse({ kind, value, at: new Date(at).toISOString(), expiresAt })
    await store.put(REVOCATIONS.keyOf(record), { ...record })
  }
}

const STARTS: Readonly<Record<string, string>> = {
  own: 'X-Landfall-Authorization: Bearer ',
  bearer: 'Authorization: Bearer ',
  cookie: 'Cookie: theme=dark; __Host-landfall=',
}

function toLines(hostile: Hostile): string {
  const fields =
    'fields' in hostile
      ? Object.entries(hostile.fields).map(([name, value]) => `${name}: ${value}`)
      : Object.entries(hostile).map(([kind, text]) => `${STARTS[kind]}${text}`)
  return fields.map((line) => `${line}\r\n`).join('')
}
