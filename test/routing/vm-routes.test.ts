/** VM records and route rows converge, whoever writes first, last or in between. */

import t, { type Test } from 'tap'
import { startMemoryStore } from '../../routing/memory-store.ts'
import { parseRouteRecord, parseVmRecord, type RouteRecord, type VmRecord } from '../../routing/records.ts'
import type { Document, Store, WriteCondition } from '../../routing/store.ts'
import { putRoute, putVm, type WantedRoute } from '../../routing/vm-routes.ts'

t.test('joins the VM into a route when the route is written', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1))
  const { route, revision } = await putRoute(store, wanted(), {})
  t.strictSame(route, {
    hostname: 'a.example',
    visibility: 'private',
    vm: 'hello',
    port: 80,
    upstream: { host: '10.0.0.1', port: 80 },
    state: 'running',
    generation: 1,
  })
  t.strictSame(await store.get('route/a.example'), { key: 'route/a.example', value: route, revision })
})

t.test('writes a bare address as it is', async (t) => {
  const store = await storeFor(t)
  const upstream = { host: '::1', port: 9_000 }
  const { route } = await putRoute(store, { ...wanted(), target: { upstream } }, {})
  t.strictSame(route, {
    hostname: 'a.example',
    visibility: 'private',
    upstream,
    state: 'running',
    generation: 0,
  })
})

t.test('refuses a VM that is not known', async (t) => {
  const store = await storeFor(t)
  await t.rejects(putRoute(store, wanted(), {}), { code: 'api_vm_unknown', context: { field: '/vm' } })
  t.equal((await store.list('')).revision, 0)
})

t.test('leaves out the upstream of a stopped VM and of a port that is not mapped', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1, { state: 'stopped' }))
  t.match((await putRoute(store, wanted(), {})).route, { state: 'stopped', upstream: undefined })
  await putVm(store, vm(2))
  const unmapped = { ...wanted(), target: { vm: 'hello', port: 81 } }
  t.match((await putRoute(store, unmapped, {})).route, {
    state: 'running',
    upstream: undefined,
    generation: 2,
  })
})

t.test('rewrites the routes of a VM, and no others, when the VM changes', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1))
  await putVm(store, vm(1, { name: 'other' }))
  await putRoute(store, wanted('a.example'), {})
  await putRoute(store, wanted('b.example'), {})
  const other = await putRoute(store, { ...wanted('c.example'), target: { vm: 'other', port: 80 } }, {})
  await store.put('route/poisoned.example', { vm: 'hello' })
  await putVm(store, vm(2))
  for (const hostname of ['a.example', 'b.example']) {
    t.match(await read(store, hostname), { generation: 2, upstream: { host: '10.0.0.2' } })
  }
  t.equal((await store.get('route/c.example'))?.revision, other.revision)
  const { revision } = await store.list('')
  t.equal(await putVm(store, vm(2)), revision + 1, 'rows in step are not written again')
  t.equal((await store.list('')).revision, revision + 1)
})

t.test('refuses a VM record that breaks a rule', async (t) => {
  const store = await storeFor(t)
  await t.rejects(putVm(store, vm(1, { name: 'No.Label' })), { code: 'api_record_invalid', field: '/name' })
})

t.test('corrects a route whose VM changed between its reading and its writing', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1))
  const slow = interrupted(
    store,
    'put',
    once(() => putVm(store, vm(2))),
  )
  const { route, revision } = await putRoute(slow, wanted(), {})
  t.match(route, { generation: 2, upstream: { host: '10.0.0.2' } })
  t.match(await store.get('route/a.example'), { revision, value: route })
})

t.test('stops a route whose VM went away between its reading and its writing', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1))
  const slow = interrupted(store, 'put', () => store.delete('vm/hello'))
  t.match((await putRoute(slow, wanted(), {})).route, {
    state: 'stopped',
    upstream: undefined,
    generation: 1,
  })
})

t.test('leaves a row to whoever wrote it after us', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1))
  let puts = 0
  const busy = interrupted(store, 'put', async () => {
    puts += 1
    if (puts === 1) await putVm(store, vm(2))
    else await putRoute(store, { ...wanted(), visibility: 'public' }, {})
  })
  t.match((await putRoute(busy, wanted(), {})).route, { visibility: 'private' }, 'what we wrote')
  t.match(await read(store, 'a.example'), { visibility: 'public', generation: 2 })
})

t.test('does not undo a change of the route that came while the VM was joined', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1))
  await putRoute(store, { ...wanted(), visibility: 'public' }, {})
  const closeRoute = once(() => putRoute(store, wanted(), {}))
  const slow = wrapped(store, async (name, key) => {
    if (name === 'put' && key === 'route/a.example') await closeRoute()
  })
  await putVm(slow, vm(2))
  t.match(await read(store, 'a.example'), { visibility: 'private', generation: 2 })
})

t.test('does not undo a newer VM record with an older one that was slow', async (t) => {
  const store = await storeFor(t)
  await putVm(store, vm(1))
  await putRoute(store, wanted(), {})
  const slow = interrupted(store, 'list', () => putVm(store, vm(3)))
  await putVm(slow, vm(2))
  t.match(await read(store, 'a.example'), { generation: 3, upstream: { host: '10.0.0.3' } })
})

t.test('converges however writers of VMs and of routes interleave', async (t) => {
  for (let seed = 1; seed <= 150; seed += 1) {
    const store = await storeFor(t)
    const random = createRandom(seed)
    const slow = delayed(store, random)
    await putVm(store, vm(0))
    await Promise.all([
      ...[1, 2, 3].map((generation) => putVm(slow, vm(generation))),
      ...[1, 2, 3, 4].map((n) => putRoute(slow, wanted(`h${n % 2}.example`, n % 3 ? 80 : 81), {})),
    ])
    const current = parseVmRecord((await store.get('vm/hello'))?.value)
    for (const hostname of ['h0.example', 'h1.example']) {
      const { generation, upstream, port } = await read(store, hostname)
      const expected = { generation: current.generation, upstream: current.ports[String(port)] }
      t.strictSame({ generation, upstream }, expected, `seed ${seed}, ${hostname}`)
    }
  }
})

function vm(generation: number, more: Partial<VmRecord> = {}): VmRecord {
  const ports = { '80': { host: `10.0.0.${generation}`, port: 80 } }
  return { name: 'hello', state: 'running', generation, ports, ...more }
}

function wanted(hostname = 'a.example', port = 80): WantedRoute {
  return { hostname, visibility: 'private', target: { vm: 'hello', port } }
}

async function read(store: Store, hostname: string): Promise<RouteRecord> {
  return parseRouteRecord((await store.get(`route/${hostname}`))?.value)
}

async function storeFor(t: Test): Promise<Store> {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  return store
}

type Three = Pick<Store, 'get' | 'list' | 'put'>

function once(act: () => Promise<unknown>): () => Promise<unknown> {
  let done: Promise<unknown> | undefined
  return () => {
    done ??= act()
    return done
  }
}

/** Does something else just before each call of one method. */
function interrupted(store: Store, method: keyof Three, interrupt: () => Promise<unknown>): Three {
  const act = async (name: keyof Three) => (name === method ? void (await interrupt()) : undefined)
  return wrapped(store, act)
}

/** Lets a random number of turns pass before each call and after it. */
function delayed(store: Store, random: () => number): Three {
  return wrapped(store, async () => {
    for (let turns = Math.floor(random() * 6); turns > 0; turns -= 1) await new Promise(setImmediate)
  })
}

function wrapped(store: Store, before: (name: keyof Three, key: string) => Promise<void>): Three {
  return {
    get: async (key: string) => {
      await before('get', key)
      return store.get(key)
    },
    list: async (prefix: string, page?: { after?: string; limit?: number }) => {
      await before('list', prefix)
      return store.list(prefix, page)
    },
    put: async (key: string, value: Document, condition?: WriteCondition) => {
      await before('put', key)
      return store.put(key, value, condition)
    },
  }
}

/** Mulberry32: small, and the same numbers for the same seed. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
