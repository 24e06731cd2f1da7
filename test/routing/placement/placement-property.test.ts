/** After any changes, and any reloads among them, what a host was told is what a fresh look at the table gives. */

import fc from 'fast-check'
import t from 'tap'
import { PlacedVms } from '../../../routing/placement/placed-vms.ts'
import type { PlacedPool, PlacedVm } from '../../../routing/placement/placement-reader.ts'
import type { Document } from '../../../routing/store/store.ts'
import { publicKeyOf } from './placed-store.ts'

const EARLY = '2026-01-01T00:00:00Z'
const LATE = '2026-02-01T00:00:00Z'
const NOW = Date.parse('2026-03-01T00:00:00Z')

const NAMES = ['a', 'b', 'c']
const POOLS = ['p', 'q']
const HOSTS = ['me', 'me', 'me', 'them', undefined]
const USERS = ['ann', 'bob']
const TIMES = [EARLY, LATE]
const one = <Value>(values: readonly Value[]) => fc.constantFrom(...values)
const maybe = <Value>(values: readonly Value[]) => fc.option(one(values), { nil: undefined })

/** Without what is undefined, as JSON has it. */
function plain(value: object): Document {
  return JSON.parse(JSON.stringify(value)) as Document
}

const pool = fc.record({
  name: one(POOLS),
  host: one(HOSTS),
  owner: maybe(USERS),
  cpuMillis: one([100, 200]),
})
const vm = fc.record({
  ...{ name: one(NAMES), pool: one(POOLS), createdAt: one(TIMES), state: one(['running', 'stopped']) },
  ...{ port: maybe([22, 8_000]), weight: maybe([1, 2]), comment: maybe(['x', 'y']) },
})
const report = fc.record({ name: one(NAMES), host: one(['me', 'them']), defaultPort: maybe([3_000]) })
const grant = fc.record({
  ...{ vm: one(NAMES), id: one(['g', 'h']), role: one(['root', 'viewer']), createdAt: one(TIMES) },
  ...{ ports: maybe([[9], [9, 80]]), expiresAt: maybe(['2026-02-15T00:00:00Z', '2999-01-01T00:00:00Z']) },
  to: fc.oneof(
    fc.record({ kind: fc.constant('vm'), value: one(NAMES) }),
    fc.record({ kind: one(['user', 'email']), value: one(USERS) }),
  ),
})
const key = fc.record({ id: one(['k1', 'k2', 'k3']), user: one(USERS) })
const call = fc.record({ vm: one(NAMES), what: one(['wake', 'restart']), id: one(['c1', 'c2']) })
const snapshot = fc.record({
  ...{ vm: one(NAMES), id: one(['s', 'r']), vmCreatedAt: one(TIMES), state: one(['wanted', 'ready']) },
})

/** A document under its key. */
const document = fc.oneof(
  pool.map((it) => [`pool/${it.name}`, { memoryBytes: 1, diskBytes: 1, createdAt: EARLY, ...it }] as const),
  vm.map((it) => [`vm/${it.name}`, { image: 'hello', ports: {}, ...it }] as const),
  report.map((it) => [`report/${it.name}`, { state: 'running', generation: 1, ports: {}, ...it }] as const),
  grant.map((it) => [`grant/${it.vm}/${it.id}`, { createdBy: 'test', ...it }] as const),
  key.map((it) => [
    `key/${it.id}`,
    { type: 'ssh-ed25519', publicKey: publicKeyOf(it.id), label: '', createdAt: EARLY, ...it },
  ]),
  call.map((it) => [`call/${it.vm}`, { at: EARLY, ...it }] as const),
  snapshot.map((it) => [`snapshot/${it.vm}/${it.id}`, { pool: 'p', kind: 'made', createdAt: EARLY, ...it }]),
) as fc.Arbitrary<readonly [string, object]>

const step = fc.oneof(
  { weight: 8, arbitrary: document.map(([at, value]) => ({ key: at, value: plain(value) })) },
  { weight: 2, arbitrary: document.map(([at]) => ({ key: at, value: undefined })) },
  { weight: 1, arbitrary: fc.constant('reload' as const) },
)

class Told {
  readonly pools = new Map<string, PlacedPool>()
  readonly vms = new Map<string, PlacedVm>()
  readonly snapshots = new Map<string, readonly string[]>()
  /** Calls that make no sense in their order. */
  readonly wrong: string[] = []

  readonly reader = {
    setPool: (pool: PlacedPool) => void this.pools.set(pool.name, pool),
    dropPool: (name: string) => {
      if ([...this.vms.values()].some(({ pool }) => pool === name)) this.wrong.push(`drop ${name}`)
      this.pools.delete(name)
    },
    want: (vm: PlacedVm) => {
      if (!this.pools.has(vm.pool)) this.wrong.push(`want ${vm.name}`)
      this.vms.set(vm.name, vm)
    },
    release: (name: string) => this.#forget(name),
    remove: (name: string) => this.#forget(name),
    compareReport: (name: string) => {
      if (!this.vms.has(name)) this.wrong.push(`report ${name}`)
    },
    snapshots: (vm: string, wanted: readonly { readonly id: string }[]) => {
      if (wanted.length === 0) this.snapshots.delete(vm)
      else
        this.snapshots.set(
          vm,
          wanted.map(({ id }) => id),
        )
    },
    bury: () => {},
  }

  #forget(name: string): void {
    if (!this.vms.delete(name)) this.wrong.push(`forget ${name}`)
    this.snapshots.delete(name)
  }
}

type Documents = ReadonlyMap<string, Document>
type Grant = { vm: string; to: { kind: string; value: string }; role: string; createdAt: string } & {
  ports?: number[]
  expiresAt?: string
}

function all<Value>(documents: Documents, prefix: string): Value[] {
  return [...documents].filter(([at]) => at.startsWith(prefix)).map(([, value]) => value as Value)
}

/** Said as plainly as can be, from all documents. */
function expected(documents: Documents) {
  const pools = all<PlacedPool & { host?: string }>(documents, 'pool/').filter(({ host }) => host === 'me')
  const vms = all<PlacedVm>(documents, 'vm/').filter((vm) => pools.some(({ name }) => name === vm.pool))
  const snapshots = vms.map(({ name, createdAt }) => {
    const own = all<{ id: string; state: string; vmCreatedAt: string }>(documents, `snapshot/${name}/`)
    const wanted = own.filter((it) => it.state === 'wanted' && it.vmCreatedAt === createdAt)
    return [name, wanted.map(({ id }) => id).toSorted()] as const
  })
  return {
    pools: pools.map(({ name, cpuMillis, owner }) => plain({ name, cpuMillis, owner })),
    vms: vms.map((vm) => join(documents, vm, pools.find(({ name }) => name === vm.pool)?.owner)),
    snapshots: snapshots.filter(([, ids]) => ids.length > 0),
  }
}

function join(documents: Documents, vm: PlacedVm & { port?: number }, owner: string | undefined) {
  const grants = all<Grant>(documents, `grant/${vm.name}/`).filter(
    ({ expiresAt }) => expiresAt === undefined || Date.parse(expiresAt) > NOW,
  )
  const isRoot = (user: string) =>
    user === owner ||
    grants.some(({ to, role }) => ['user', 'email'].includes(to.kind) && to.value === user && role === 'root')
  const keys = all<{ user: string; id: string }>(documents, 'key/').filter(({ user }) => isRoot(user))
  const report = documents.get(`report/${vm.name}`) as { host: string; defaultPort?: number } | undefined
  const reported = report?.host === 'me' ? report.defaultPort : undefined
  const defaultPort = vm.port ?? reported ?? 80
  const peers = NAMES.flatMap((name) => {
    const peer = documents.get(`vm/${name}`)
    const counting = grants.filter(
      ({ to, createdAt }) => to.kind === 'vm' && to.value === name && String(peer?.createdAt) <= createdAt,
    )
    const ports = new Set(counting.flatMap((grant) => grant.ports ?? [defaultPort]))
    return peer === undefined || ports.size === 0
      ? []
      : [{ vm: name, ports: [...ports].toSorted((a, b) => a - b) }]
  })
  const called = documents.get(`call/${vm.name}`) as { id: string; what: string; at: string } | undefined
  const { name, pool, image, createdAt, state, weight } = vm
  return plain({
    ...{ name, pool, image, createdAt, state, weight },
    call: called && { id: called.id, what: called.what, at: called.at },
    authorizedKeys: keys.map(({ id }) => `ssh-ed25519 ${publicKeyOf(id)}`).toSorted(),
    peers,
  })
}

function byName<Item extends object>(items: Iterable<Item>): Item[] {
  return [...items].toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
}

t.test('what was told is what there is', (t) => {
  const run = (steps: readonly ('reload' | { key: string; value: Document | undefined })[]) => {
    const documents = new Map<string, Document>()
    const told = new Told()
    using copy = new PlacedVms({ host: 'me', now: () => NOW }, told.reader)
    let revision = 0
    const load = () => {
      const loading = copy.startLoad()
      const order = ['pool/', 'vm/', 'report/', 'grant/', 'key/', 'call/', 'snapshot/']
      const sorted = order.flatMap((prefix) => [...documents].filter(([at]) => at.startsWith(prefix)))
      for (const [at, value] of sorted) loading.apply({ key: at, value, revision })
      loading.finish()
    }
    for (const next of steps) {
      revision += 1
      if (next === 'reload') {
        load()
        continue
      }
      if (next.value === undefined) documents.delete(next.key)
      else documents.set(next.key, next.value)
      copy.apply({ ...next, revision })
    }
    const wanted = expected(documents)
    t.same(told.wrong, [])
    const pools = [...told.pools.values()].map(({ name, cpuMillis, owner }) =>
      plain({ name, cpuMillis, owner }),
    )
    t.same(byName(pools), byName(wanted.pools))
    t.same(byName([...told.vms.values()].map(sorted)), byName(wanted.vms.map(sorted)))
    t.same(byName(told.snapshots), byName(wanted.snapshots))
    return t.passing()
  }
  fc.assert(fc.property(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), run), {
    numRuns: 400,
  })
  t.end()
})

/** Members in one order. */
function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
