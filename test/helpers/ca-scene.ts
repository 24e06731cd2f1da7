/** An edge's view of a certificate authority in tests: books in memory, a client, and requests to have signed. */

import 'reflect-metadata'
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509'
import type { Test } from 'tap'
import type { AccountBook, HoldBook, Kept } from '../../acme/books.ts'
import { type CaSettings, openCa } from '../../acme/ca/acme-ca.ts'
import type { Ca, CaAuthorization, CaChallenge, CaOrder } from '../../acme/ca/ca.ts'
import type { AccountRow } from '../../acme/rows.ts'
import { QUIET_LOG } from './quiet-log.ts'
import { SEALER } from './sealer.ts'
import { until } from './until.ts'

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export interface FleetBooks {
  readonly accounts: AccountBook
  readonly holds: HoldBook
  readonly rows: Map<string, Kept<AccountRow>>
  /** Names that are held. */
  readonly held: Map<string, AbortController>
  /** Called before each write. */
  onPut?: (row: AccountRow) => void
}

/** What all edges of a fleet share. */
export function createFleetBooks(): FleetBooks {
  const rows = new Map<string, Kept<AccountRow>>()
  const held = new Map<string, AbortController>()
  const books: FleetBooks = {
    rows,
    held,
    accounts: {
      find: async (ca) => rows.get(ca),
      put: async (row, revision) => {
        books.onPut?.(row)
        if ((rows.get(row.ca)?.revision ?? 0) !== revision) return undefined
        rows.set(row.ca, { row, revision: revision + 1 })
        return revision + 1
      },
    },
    holds: {
      find: async (name) => {
        if (held.has(name)) return undefined
        const controller = new AbortController()
        held.set(name, controller)
        const release = async () => void held.delete(name)
        return { token: held.size, signal: controller.signal, [Symbol.asyncDispose]: release }
      },
    },
  }
  return books
}

export type SceneSettings = Partial<CaSettings> & Pick<CaSettings, 'directory'>

/** One edge; closed with the test. */
export function caFor(t: Test, settings: SceneSettings, books: FleetBooks = createFleetBooks()): Ca {
  const deps = { ...books, sealer: SEALER, log: QUIET_LOG }
  const ca = openCa(deps, { agreesToTerms: true, requestMs: 5_000, ...settings })
  t.teardown(() => ca[Symbol.dispose]())
  return ca
}

/** Never aborted. */
export const { signal: GO } = new AbortController()

/** A signing request in DER for an EC key of its own. */
export async function createRequest(names: readonly string[]): Promise<Buffer> {
  const keys = await crypto.subtle.generateKey(SIGNING, true, ['sign', 'verify'])
  const alternatives = names.map((value) => ({ type: 'dns' as const, value }))
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: SIGNING,
    extensions: [new SubjectAlternativeNameExtension(alternatives)],
  })
  return Buffer.from(request.rawData)
}

type Demand = Parameters<Ca['createOrder']>[0]
/** Makes the answer to one challenge to be found; returns the challenge. */
type Answer = (challenges: readonly CaChallenge[], name: string) => Promise<CaChallenge> | CaChallenge

function pickDns(challenges: readonly CaChallenge[]): CaChallenge {
  const found = challenges.find(({ type }) => type === 'dns-01')
  if (!found) throw new Error('there is no dns-01')
  return found
}

/** Orders, and has all names proven; by dns-01 that needs no answer unless `answer` says otherwise. */
export async function prove(ca: Ca, demand: Demand, answer: Answer = pickDns): Promise<CaOrder> {
  const order = await ca.createOrder(demand, GO)
  for (const url of order.authorizations) {
    const { challenges, name, status } = await ca.getAuthorization(url, GO)
    if (status === 'valid') continue
    await ca.answerChallenge((await answer(challenges, name)).url, GO)
    await until(async () => isProven(await ca.getAuthorization(url, GO)), `${name} is proven`)
  }
  return ca.getOrder(order.url, GO)
}

function isProven({ status, challenges }: CaAuthorization): boolean {
  if (status === 'invalid') throw new Error(`not proven: ${JSON.stringify(challenges)}`)
  return status === 'valid'
}

/** The chain in DER. */
export async function issue(ca: Ca, demand: Demand, answer: Answer = pickDns): Promise<readonly Buffer[]> {
  const ready = await prove(ca, demand, answer)
  let order = await ca.finalize(ready, await createRequest(demand.names), GO)
  await until(async () => {
    if (order.status !== 'valid') order = await ca.getOrder(order.url, GO)
    return order.status === 'valid'
  }, 'the order is done')
  return ca.download(order, GO)
}

/** What a promise was rejected with. */
export async function failureOf<T>(work: Promise<unknown>, kind: new (...args: never[]) => T): Promise<T> {
  const result = await work.then(
    () => new Error('nothing was thrown'),
    (error: unknown) => error,
  )
  if (result instanceof kind) return result
  throw new Error(`it failed otherwise: ${result}`, { cause: result })
}
