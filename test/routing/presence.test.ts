/** A host or an edge is there for as long as its process, and no longer; two cannot have one name. */

import t, { type Test } from 'tap'
import { RoutingError } from '../../routing/errors.ts'
import { type PresenceDeps, type PresenceSettings, startPresence } from '../../routing/presence.ts'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import type { Lease, Store } from '../../routing/store/store.ts'
import { createListLog } from '../helpers/list-log.ts'
import { until } from '../helpers/until.ts'

const STARTED_AT = '2026-01-31T12:00:00Z'
const EDGE = {
  kind: 'edge' as const,
  record: { name: 'ams1', version: '1', startedAt: STARTED_AT },
}
const HOST = {
  kind: 'host' as const,
  record: {
    name: 'h1',
    version: '1',
    startedAt: STARTED_AT,
    cpuMillis: 2_000,
    memoryBytes: 1,
    diskBytes: 1,
    images: ['hello'],
  },
}
const TTL_MS = 600

interface Fleet {
  readonly store: Store
  /** All calls fail while it is true. */
  isAway: boolean
  readonly deps: PresenceDeps
  readonly log: ReturnType<typeof createListLog>
  /** What was asked for, by name. */
  readonly calls: Map<string, number>
  start(settings: PresenceSettings): ReturnType<typeof startPresence>
}

/** The store's time stands still while this process does: no lease runs out because its renewal is late. */
function steadyClockFor(t: Test): () => number {
  let nowMs = Date.now()
  let last = performance.now()
  const timer = setInterval(() => {
    const at = performance.now()
    nowMs += Math.min(at - last, TTL_MS / 6)
    last = at
  }, 5)
  t.teardown(() => clearInterval(timer))
  return () => Math.floor(nowMs)
}

async function fleetFor(t: Test): Promise<Fleet> {
  const log = createListLog()
  const calls = new Map<string, number>()
  const now = steadyClockFor(t)
  let store = await startMemoryStore({ now })
  const call = <Args extends unknown[], Result>(
    name: string,
    work: (store: Store, ...args: Args) => Promise<Result>,
  ) => {
    return async (...args: Args) => {
      calls.set(name, (calls.get(name) ?? 0) + 1)
      if (fleet.isAway) throw new RoutingError('store_unreachable')
      return work(store, ...args)
    }
  }
  const fleet: Fleet = {
    get store() {
      return store
    },
    set store(other) {
      store = other
    },
    isAway: false,
    log,
    calls,
    deps: {
      log,
      store: {
        get: call('get', (store, key: string) => store.get(key)),
        put: call('put', (store, ...args: Parameters<Store['put']>) => store.put(...args)),
        acquireLease: call('acquire', (store, ...args: Parameters<Store['acquireLease']>) =>
          store.acquireLease(...args),
        ),
        findLease: call('find', (store, name: string) => store.findLease(name)),
        renewLease: call('renew', (store, ...args: Parameters<Store['renewLease']>) =>
          store.renewLease(...args),
        ),
        releaseLease: call('release', (store, ...args: Parameters<Store['releaseLease']>) =>
          store.releaseLease(...args),
        ),
      },
    },
    start: async (settings) => {
      const presence = await startPresence(fleet.deps, { ttlMs: TTL_MS, ...settings })
      t.teardown(() => presence[Symbol.asyncDispose]())
      return presence
    },
  }
  t.teardown(() => store[Symbol.asyncDispose]())
  return fleet
}

t.test(
  'writes the record, holds the lease for longer than its time, and releases it at the end',
  async (t) => {
    const fleet = await fleetFor(t)
    const presence = await fleet.start(HOST)
    t.match(await fleet.store.get('host/h1'), { value: HOST.record })
    t.ok(presence.isHeld())
    const startedAt = performance.now()
    const leases = new Set<string>()
    await until(async () => {
      const lease = await fleet.store.findLease('host/h1')
      leases.add(`${lease?.token} ${lease?.owner}`)
      return (fleet.calls.get('renew') ?? 0) >= 7
    }, 'seven renewals')
    t.equal(leases.size, 1, 'one lease all the time')
    const tookMs = performance.now() - startedAt
    t.ok(tookMs > 2 * TTL_MS, `seven renewals took ${tookMs} ms`)
    t.equal(fleet.calls.get('put'), 1, 'the record is written once')
    await presence[Symbol.asyncDispose]()
    t.equal(await fleet.store.findLease('host/h1'), undefined)
    t.equal(presence.isHeld(), false)
    t.match(await fleet.store.get('host/h1'), { value: HOST.record }, 'the record stays')
  },
)

t.test('has another owner at each start', async (t) => {
  const fleet = await fleetFor(t)
  const owners = new Set<string | undefined>()
  for (let start = 0; start < 3; start += 1) {
    const presence = await fleet.start(EDGE)
    owners.add((await fleet.store.findLease('edge/ams1'))?.owner)
    await presence[Symbol.asyncDispose]()
  }
  t.equal(owners.size, 3)
  t.notOk(owners.has(undefined))
})

t.test('refuses a host whose name another process goes on renewing', async (t) => {
  const fleet = await fleetFor(t)
  await fleet.start(HOST)
  await t.rejects(fleet.start({ ...HOST, record: { ...HOST.record, version: '2' } }), {
    code: 'host_name_taken',
    message: /host\/h1/,
  })
  t.match(await fleet.store.get('host/h1'), { value: { version: '1' } })
  await fleet.start({ ...HOST, record: { ...HOST.record, name: 'h2' } })
})

t.test('waits for the name of a host that was killed', async (t) => {
  const fleet = await fleetFor(t)
  const dead = await fleet.store.acquireLease('host/h1', 'dead', TTL_MS)
  const presence = await fleet.start(HOST)
  t.equal(presence.isHeld(), true)
  t.equal((await fleet.store.findLease('host/h1'))?.token, (dead?.token ?? 0) + 1)
  t.notOk(fleet.log.lines.some(({ level }) => level === 'warn' || level === 'error'))
})

t.test('does not wait for it when nobody else can have the store', async (t) => {
  const fleet = await fleetFor(t)
  for (const settings of [HOST, EDGE]) {
    await fleet.store.acquireLease(`${settings.kind}/${settings.record.name}`, 'dead', 3_600_000)
    const presence = await fleet.start({ ...settings, isAlone: true })
    t.equal(presence.isHeld(), true)
  }
})

t.test(
  'lets an edge start whose name is taken, says so once, and takes the name when it is free',
  async (t) => {
    const fleet = await fleetFor(t)
    const first = await fleet.start(EDGE)
    const second = await fleet.start({ ...EDGE, record: { ...EDGE.record, version: '2' } })
    t.equal(second.isHeld(), false)
    await until(() => (fleet.calls.get('acquire') ?? 0) >= 5, 'the second tried again and again')
    t.match(await fleet.store.get('edge/ams1'), { value: { version: '1' } })
    t.equal(fleet.log.lines.filter(({ level }) => level === 'warn').length, 1)
    await first[Symbol.asyncDispose]()
    await until(() => second.isHeld(), 'the second has the name')
    await until(
      async () => (await fleet.store.get('edge/ams1'))?.value.version === '2',
      'its record is there',
    )
  },
)

t.test('starts without the store, and is there as soon as the store is', async (t) => {
  const fleet = await fleetFor(t)
  fleet.isAway = true
  for (const settings of [HOST, EDGE]) {
    const presence = await fleet.start(settings)
    t.equal(presence.isHeld(), false)
    fleet.isAway = false
    await until(() => presence.isHeld(), 'it is there')
    const key = `${settings.kind}/${settings.record.name}`
    await until(async () => (await fleet.store.get(key)) !== undefined, 'and so is its record')
    fleet.isAway = true
  }
})

t.test('lives through a store that is away for longer than the lease, asking not too often', async (t) => {
  const fleet = await fleetFor(t)
  const presence = await fleet.start(HOST)
  fleet.isAway = true
  fleet.calls.clear()
  const awayAt = performance.now()
  await until(() => !presence.isHeld(), 'the lease has run out')
  const calls = () => [...fleet.calls.values()].reduce((sum, count) => sum + count, 0)
  await until(() => calls() >= 10, 'ten calls')
  const tookMs = performance.now() - awayAt
  t.ok(tookMs > 1.5 * TTL_MS, `ten calls took ${tookMs} ms`)
  fleet.isAway = false
  await until(() => presence.isHeld(), 'it is there again')
  t.ok(await fleet.store.findLease('host/h1'))
  fleet.isAway = true
  await presence[Symbol.asyncDispose]()
})

t.test('writes the record again when the store has lost it', async (t) => {
  const fleet = await fleetFor(t)
  await fleet.start(HOST)
  await fleet.store.delete('host/h1')
  await until(async () => (await fleet.store.get('host/h1')) !== undefined, 'the record is there')
  const wiped = await startMemoryStore()
  t.teardown(() => wiped[Symbol.asyncDispose]())
  Object.assign(fleet, { store: wiped })
  await until(async () => (await wiped.findLease('host/h1')) !== undefined, 'the lease is there')
  await until(async () => (await wiped.get('host/h1')) !== undefined, 'the record is there again')
})

t.test('writes the record after all when the first attempt failed', async (t) => {
  const fleet = await fleetFor(t)
  const { put } = fleet.deps.store
  let failures = 2
  const store = {
    ...fleet.deps.store,
    put: async (...args: Parameters<Store['put']>) => {
      failures -= 1
      if (failures >= 0) throw new RoutingError('store_unreachable')
      return put(...args)
    },
  }
  const presence = await startPresence({ store, log: fleet.log }, { ...EDGE, ttlMs: TTL_MS })
  t.teardown(() => presence[Symbol.asyncDispose]())
  await until(async () => (await fleet.store.get('edge/ams1')) !== undefined, 'the record is there')
})

t.test('a host that lost its name while the store was away says so, and goes on trying', async (t) => {
  const fleet = await fleetFor(t)
  const presence = await fleet.start(HOST)
  fleet.isAway = true
  await until(() => !presence.isHeld(), 'the lease has run out')
  let thief: Lease | undefined
  await until(async () => {
    thief = await fleet.store.acquireLease('host/h1', 'thief', 3_600_000)
    return thief !== undefined
  }, 'another one has it')
  fleet.isAway = false
  await until(() => fleet.log.lines.some(({ level }) => level === 'error'), 'it says so')
  t.equal(presence.isHeld(), false)
  if (thief) await fleet.store.releaseLease(thief)
  await until(() => presence.isHeld(), 'it has its name again')
})

t.test('a host is told of another process that lives under its name, not of a dead one', async (t) => {
  const fleet = await fleetFor(t)
  const refusals: RoutingError[] = []
  const presence = await fleet.start({ ...HOST, onTaken: (refusal) => refusals.push(refusal) })
  const own = await fleet.store.findLease('host/h1')
  if (own) await fleet.store.releaseLease(own)
  const thief = await fleet.store.acquireLease('host/h1', 'thief', 3_600_000)
  await until(() => !presence.isHeld(), 'the name is lost')
  const looks = fleet.calls.get('find') ?? 0
  await until(() => (fleet.calls.get('find') ?? 0) >= looks + 3, 'it has looked again and again')
  t.same(refusals, [], 'the thief may be dead: it renews nothing')
  if (thief) await fleet.store.renewLease(thief, 7_200_000)
  await until(() => refusals.length > 0, 'it is told')
  t.match(refusals[0], { code: 'host_name_taken' })
})

t.test('refuses a record that breaks a rule', async (t) => {
  const fleet = await fleetFor(t)
  await t.rejects(fleet.start({ ...HOST, record: { ...HOST.record, name: 'A_1' } }), {
    code: 'api_record_invalid',
  })
})
