/** A fleet in one process for tests of orders: a store, small CAs, and edges that can be killed between any two calls. */

import type { Test } from 'tap'
import type { Books, CertificateTable } from '../../../acme/books.ts'
import { openCa } from '../../../acme/ca/acme-ca.ts'
import type { CheckDemand, CheckOutcome, Checks } from '../../../acme/checks/checks.ts'
import { toDnsLabel } from '../../../acme/dns/challenge-label.ts'
import type { DnsUpdater } from '../../../acme/dns/updater.ts'
import { startOrders } from '../../../acme/orders/order-runner.ts'
import type { OrdersSettings } from '../../../acme/orders/order-settings.ts'
import type { CarriedOrders, OrderDemand } from '../../../acme/orders/orders.ts'
import type { KeyType, OrderState } from '../../../acme/rows.ts'
import { createBooks } from '../../../routing/certificates/books.ts'
import { startCertificateTable } from '../../../routing/certificates/certificate-table.ts'
import { startPresence } from '../../../routing/presence.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Lease, Store } from '../../../routing/store/store.ts'
import { createListLog, type Line } from '../../helpers/list-log.ts'
import { SEALER } from '../../helpers/sealer.ts'
import { type SmallCa, type SmallCaServerOptions, smallCaFor } from '../../helpers/small-ca.ts'
import type { Attempt } from '../../helpers/small-ca-types.ts'
import { until } from '../../helpers/until.ts'

export const DOMAIN = 'platform.example'
export const LIMITS = { domain: 1_000, set: 1_000, account: 1_000, failures: 100 }
/** No machine stands still for so long. What a killed edge held is given back by `stop`, as if it had run out. */
const HOLD_MS = 20_000

/** Of calls over an edge's border, to the store and to CAs. After `true` the edge does nothing any more. */
export type Fate = (call: {
  readonly what: string
  /** `after`: it was done, but the edge does not hear of it. */
  readonly phase: 'before' | 'after'
  readonly args: readonly unknown[]
}) => boolean

export interface SceneEdge {
  readonly name: string
  readonly orders: CarriedOrders
  readonly table: CertificateTable
  readonly books: Books
  isDead(): boolean
  /** What it would do at the end of its process; after it was killed, the time of its holds runs out with it. */
  stop(): Promise<void>
}

export interface OrderScene {
  readonly store: Store
  readonly cas: readonly SmallCa[]
  readonly books: Books
  readonly lines: readonly Line[]
  /** What the DNS server has, by full name. */
  readonly txt: Map<string, Set<string>>
  /** Instead of DNS; may be changed. */
  check: (demand: CheckDemand) => CheckOutcome | Promise<CheckOutcome>
  readonly demands: CheckDemand[]
  /** Names that are not served any more. */
  readonly unwanted: Set<string>
  startEdge(name: string, settings?: Partial<OrdersSettings>, fate?: Fate): Promise<SceneEdge>
  /** The order has ended with a certificate. */
  issued(edge: SceneEdge, name: string, keyType?: KeyType): Promise<void>
  states(name: string): readonly unknown[]
}

export interface SceneOptions {
  readonly cas?: readonly SmallCaServerOptions[]
  readonly hasUpdater?: boolean
  readonly requestMs?: number
  /** Edges are opened by the test. */
  readonly isClosed?: boolean
}

export function demandOf(name: string, changes: Partial<OrderDemand> = {}): OrderDemand {
  return { name, names: [name], keyType: 'ec', cause: 'demand', ...changes }
}

export async function orderSceneFor(t: Test, options: SceneOptions = {}): Promise<OrderScene> {
  const store = await startMemoryStore()
  const lines: Line[] = []
  const txt = new Map<string, Set<string>>()
  const edges = new Set<SceneEdge>()
  const validate = (attempt: Attempt) => judge(attempt, { txt, edges })
  const cas = await Promise.all((options.cas ?? [{}]).map((ca) => smallCaFor(t, { validate, ...ca })))
  const log = createListLog({ lines })
  const scene: OrderScene = {
    ...{ store, cas, lines, txt },
    books: createBooks({ store, log }, { holdMs: HOLD_MS }),
    check: ({ types }) => ({ types, steps: [] }),
    demands: [],
    unwanted: new Set(),
    startEdge: async (name, settings = {}, fate = () => false) => {
      const edge = await startEdge({ scene, lines, options }, { name, settings, fate })
      edges.add(edge)
      t.teardown(() => edge.stop())
      return edge
    },
    issued: (edge, name, keyType = 'ec') =>
      until(() => edge.table.get(name, keyType) !== undefined, `a certificate for ${name}`, 20_000),
    states: (name) => lines.filter((line) => line.name === name).map(({ state }) => state),
  }
  return scene
}

interface KilledTerms {
  readonly demand: OrderDemand
  readonly settings?: Partial<OrdersSettings>
}

/** Runs an edge that wants the order until it has died of its fate. */
export async function killEdge(
  scene: OrderScene,
  fate: Fate,
  { demand, settings = {} }: KilledTerms,
): Promise<void> {
  const edge = await scene.startEdge('killed', settings, fate)
  await edge.orders.want(demand).catch(() => {})
  await until(edge.isDead, 'the edge is dead')
  await edge.stop()
}

interface Ground {
  readonly scene: OrderScene
  readonly lines: Line[]
  readonly options: SceneOptions
}

interface EdgeTerms {
  readonly name: string
  readonly settings: Partial<OrdersSettings>
  readonly fate: Fate
}

async function startEdge(
  { scene, lines, options }: Ground,
  { name, settings, fate }: EdgeTerms,
): Promise<SceneEdge> {
  const stack = new AsyncDisposableStack()
  const life = { isDead: false }
  const log = createListLog({ lines, isDead: () => life.isDead })
  const leases: Lease[] = []
  const store = gate(noting(scene.store, leases), life, fate)
  const record = { name, version: '1', startedAt: '2026-01-31T12:00:00.000Z' }
  const presence = await startPresence({ store: scene.store, log }, { kind: 'edge', record })
  stack.use(presence)
  const table = stack.use(await startCertificateTable({ store: scene.store, log }, { edgeName: name }))
  const books = createBooks({ store, log }, { holdMs: HOLD_MS })
  const cas = scene.cas.map(({ directory }) => {
    const { requestMs = 5_000 } = options
    const ca = stack.use(
      openCa({ ...books, sealer: SEALER, log }, { directory, agreesToTerms: true, requestMs }),
    )
    return gate(ca, life, fate)
  })
  const checks: Checks = {
    check: async (demand) => {
      scene.demands.push(demand)
      return scene.check(demand)
    },
  }
  const orders = startOrders(
    {
      ...{ table, books: spy(books, life, fate), cas, checks, sealer: SEALER, log },
      ...(options.hasUpdater === true && { updater: updaterOf(scene.txt) }),
      isWanted: (one) => !scene.unwanted.has(one),
    },
    {
      domain: DOMAIN,
      challengeTypes: ['http-01', 'tls-alpn-01', 'dns-01'],
      profiles: [],
      limits: LIMITS,
      ...{ pollMs: 5, backOffMs: [30, 60], sweepMs: 25, confirmMs: 15_000, answerMs: 15_000 },
      ...settings,
    },
  )
  stack.use(orders)
  if (options.isClosed !== true) orders.open()
  const stop = async (): Promise<void> => {
    const wasKilled = life.isDead
    await stack.disposeAsync()
    life.isDead = true
    if (wasKilled) await Promise.all(leases.map((lease) => scene.store.releaseLease(lease)))
  }
  return { name, orders, table, books, isDead: () => life.isDead, stop }
}

/** Puts down every lease that is got. */
function noting(store: Store, leases: Lease[]): Store {
  const acquireLease: Store['acquireLease'] = async (...args) => {
    const lease = await store.acquireLease(...args)
    if (lease !== undefined) leases.push(lease)
    return lease
  }
  return new Proxy(store, {
    get: (object, key) => {
      if (key === 'acquireLease') return acquireLease
      const value: unknown = Reflect.get(object, key, object)
      return typeof value === 'function' ? value.bind(object) : value
    },
  })
}

/** Every call of an object's async methods goes by the edge's fate. */
function gate<T extends object>(target: T, life: { isDead: boolean }, fate: Fate): T {
  return new Proxy(target, {
    get: (object, key) => {
      const value: unknown = Reflect.get(object, key, object)
      if (typeof value !== 'function' || typeof key === 'symbol' || key === 'watch') return value
      return async (...args: unknown[]) => {
        pass(life, fate, { what: key, phase: 'before', args })
        const result: unknown = await Reflect.apply(value, object, args)
        pass(life, fate, { what: key, phase: 'after', args })
        return result
      }
    },
  })
}

/** The order book's writes are also known by the state they save. */
function spy(books: Books, life: { isDead: boolean }, fate: Fate): Books {
  return {
    ...books,
    orders: {
      ...books.orders,
      put: async (row, revision, answers) => {
        const result = await books.orders.put(row, revision, answers)
        pass(life, fate, { what: `saved ${row.state}`, phase: 'after', args: [row] })
        return result
      },
    },
  }
}

function pass(life: { isDead: boolean }, fate: Fate, call: Parameters<Fate>[0]): void {
  life.isDead ||= fate(call)
  if (life.isDead) throw new Error('this edge was killed')
}

/** Kills once the order was saved in this state. */
export function dieAt(state: OrderState): Fate {
  return ({ what }) => what === `saved ${state}`
}

function updaterOf(txt: Map<string, Set<string>>): DnsUpdater {
  return {
    covers: (name) => name.endsWith(`.${DOMAIN}`),
    add: async (name, value) => {
      txt.set(name, (txt.get(name) ?? new Set()).add(value))
    },
    isVisible: async (name, value) => txt.get(name)?.has(value) === true,
    remove: async (name, value) => {
      txt.get(name)?.delete(value)
    },
  }
}

/** As a CA that looks from everywhere: each living edge has to know the answer. */
function judge(
  { type, name, token, keyAuthorization, dnsValue }: Attempt,
  { txt, edges }: { readonly txt: Map<string, Set<string>>; readonly edges: ReadonlySet<SceneEdge> },
): string | undefined {
  if (type === 'dns-01' && txt.get(`_acme-challenge.${name}`)?.has(dnsValue) === true) return undefined
  for (const { table, isDead, name: edge } of edges) {
    if (isDead()) continue
    const has = {
      'http-01': () => table.findAnswer(token)?.value === keyAuthorization,
      'tls-alpn-01': () => table.findAlpn(name)?.value === keyAuthorization,
      'dns-01': () => table.findTxt(toDnsLabel(name)).includes(dnsValue),
    }[type]
    if (has?.() !== true) return `${edge} has no answer to ${type} for ${name}`
  }
  return undefined
}
