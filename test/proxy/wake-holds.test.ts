/** Exchanges that wait for a VM to wake: who asks, when they go on, and what ends the wait. */

import t, { type Test } from 'tap'
import { Deadlines } from '../../lib/deadlines.ts'
import { RelayError } from '../../proxy/errors.ts'
import type { Exchange } from '../../proxy/exchange.ts'
import type { RelayRoute } from '../../proxy/upstream.ts'
import { MAX_HOLDS, MAX_HOLDS_OF_VM, WakeHolds } from '../../proxy/wake-holds.ts'
import { until } from '../helpers/until.ts'
import { fakeExchange } from './fake-exchange.ts'

const TIMEOUT_MS = 1_000

function routeOf(vm: string, state: string): RelayRoute {
  return { hostname: `${vm}.localhost`, visibility: 'public', state, generation: 1, vm }
}

/** Rows that a test changes, a store that it can take away, and what became of each exchange. */
function sceneFor(t: Test, timeoutMs = TIMEOUT_MS) {
  const rows = new Map<string, RelayRoute>()
  const rings = new Map<string, Set<() => void>>()
  const asked: string[] = []
  const store = { isAway: false, states: new Map<string, string>() }
  const ended: [Exchange, string][] = []
  const settled: Exchange[] = []
  const gone: Exchange[] = []
  const deadlines = new Deadlines()
  t.teardown(() => deadlines[Symbol.dispose]())
  const holds = new WakeHolds(
    {
      deadlines,
      routes: {
        find: (hostname) => rows.get(hostname),
        onRow: (hostname, ring) => {
          const set = rings.get(hostname) ?? new Set()
          rings.set(hostname, set.add(ring))
          return () => set.delete(ring)
        },
      },
      waker: {
        ask: async (vm) => {
          asked.push(vm)
          if (store.isAway) throw new Error('away')
        },
        findState: async (vm) => {
          if (store.isAway) throw new Error('away')
          return store.states.get(vm)
        },
      },
      refuse: (exchange, error) => void ended.push([exchange, (error as RelayError).code]),
      settle: (exchange) => void settled.push(exchange),
    },
    { timeoutMs },
  )
  const hold = (vm: string): Exchange => {
    const exchange = fakeExchange({ host: `${vm}.localhost` })
    rows.set(`${vm}.localhost`, rows.get(`${vm}.localhost`) ?? routeOf(vm, 'asleep'))
    const route = rows.get(`${vm}.localhost`) ?? routeOf(vm, 'asleep')
    holds.hold({ exchange, route, goOn: (exchange) => void gone.push(exchange) })
    return exchange
  }
  const ring = async (vm: string) => {
    for (const ring of rings.get(`${vm}.localhost`) ?? []) ring()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const change = (vm: string, state: string) => {
    rows.set(`${vm}.localhost`, routeOf(vm, state))
    return ring(vm)
  }
  const waiting = () => [...rings.values()].reduce((sum, set) => sum + set.size, 0)
  return { holds, hold, ring, change, rows, asked, store, ended, settled, gone, waiting }
}

t.test('asks once for a VM, and lets all go on when its row runs', async (t) => {
  const scene = sceneFor(t)
  const all = [scene.hold('amber'), scene.hold('amber'), scene.hold('amber')]
  t.same(scene.asked, ['amber'])
  t.equal(scene.holds.size, 3)
  await scene.change('amber', 'asleep')
  t.equal(scene.holds.size, 3, 'a row that is still asleep changes nothing')
  await scene.change('amber', 'running')
  t.same(scene.gone, all)
  t.equal(scene.holds.size, 0)
  t.equal(scene.waiting(), 0, 'nobody listens any more')
  for (const { record, observer } of all) {
    t.ok((record.wakeMs ?? -1) >= 0)
    t.equal(observer, undefined)
  }
})

t.test('asks for each VM, and again for one that sleeps again', async (t) => {
  const scene = sceneFor(t)
  scene.hold('amber')
  scene.hold('birch')
  await scene.change('amber', 'running')
  await scene.change('amber', 'asleep')
  scene.hold('amber')
  t.same(scene.asked, ['amber', 'birch', 'amber'])
  t.equal(scene.holds.asked, 3)
})

t.test('lets an exchange go on whose row belongs to another VM now, or is gone', async (t) => {
  const scene = sceneFor(t)
  const all = [scene.hold('amber'), scene.hold('birch')]
  scene.rows.set('amber.localhost', { ...routeOf('cedar', 'asleep'), hostname: 'amber.localhost' })
  scene.rows.delete('birch.localhost')
  await scene.ring('amber')
  await scene.ring('birch')
  t.same(scene.gone, all)
})

t.test('takes what is asleep, and what is between sleeping and running while somebody waits', async (t) => {
  const scene = sceneFor(t)
  t.ok(scene.holds.takes(routeOf('amber', 'asleep')))
  t.notOk(scene.holds.takes(routeOf('amber', 'stopped')))
  const { vm: _vm, ...nobodys } = routeOf('amber', 'asleep')
  t.notOk(scene.holds.takes(nobodys), 'a row without a VM has nobody to wake')
  scene.hold('amber')
  t.ok(scene.holds.takes(routeOf('amber', 'stopped')))
  await scene.change('amber', 'running')
  t.notOk(scene.holds.takes(routeOf('amber', 'stopped')))
})

t.test('fails at once when the host says that the VM failed, or was stopped', async (t) => {
  for (const [state, code] of [
    ['failed', 'wake_failed'],
    ['stopped', 'route_stopped'],
  ] as const) {
    const scene = sceneFor(t)
    const all = [scene.hold('amber'), scene.hold('amber')]
    scene.store.states.set('amber', state)
    await scene.change('amber', 'stopped')
    t.same(
      scene.ended,
      all.map((exchange) => [exchange, code]),
    )
    t.equal(scene.holds.size, 0)
  }
})

t.test('waits on while the row says stopped of a VM that has not failed, or nobody can say', async (t) => {
  const scene = sceneFor(t)
  const exchange = scene.hold('amber')
  scene.store.states.set('amber', 'running')
  await scene.change('amber', 'stopped')
  scene.store.isAway = true
  await scene.change('amber', 'stopped')
  t.equal(scene.holds.size, 1)
  await scene.change('amber', 'running')
  t.same(scene.gone, [exchange])
})

t.test('refuses all when the store is away, and asks again for the next', async (t) => {
  const scene = sceneFor(t)
  scene.store.isAway = true
  const all = [scene.hold('amber'), scene.hold('amber')]
  await until(() => scene.ended.length === 2, 'both are refused')
  t.same(
    scene.ended,
    all.map((exchange) => [exchange, 'wake_unavailable']),
  )
  scene.store.isAway = false
  const next = scene.hold('amber')
  t.same(scene.asked, ['amber', 'amber'])
  await scene.change('amber', 'running')
  t.same(scene.gone, [next])
})

t.test('asks again while somebody still waits, and a store that is away by then ends nothing', async (t) => {
  const scene = sceneFor(t, 60_000)
  scene.hold('amber')
  scene.holds.checkDeadlines(performance.now() + 4_000)
  t.same(scene.asked, ['amber'], 'not too soon')
  scene.store.isAway = true
  scene.holds.checkDeadlines(performance.now() + 6_000)
  t.same(scene.asked, ['amber', 'amber'])
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(scene.holds.size, 1)
})

t.test('a client that comes and goes does not make the edge ask each time', async (t) => {
  const scene = sceneFor(t, 60_000)
  for (let at = 0; at < 10; at += 1) scene.hold('amber').observer?.onClientGone()
  t.same(scene.asked, ['amber'])
  scene.holds.checkDeadlines(performance.now() + 6_000)
  t.same(scene.asked, ['amber'], 'nobody waits')
  scene.hold('amber')
  t.same(scene.asked, ['amber', 'amber'])
})

t.test('gives up after the time limit, which counts over all holds of an exchange', async (t) => {
  const scene = sceneFor(t)
  const exchange = scene.hold('amber')
  scene.holds.checkDeadlines(performance.now() + TIMEOUT_MS - 100)
  t.same(scene.ended, [])
  scene.holds.checkDeadlines(performance.now() + TIMEOUT_MS + 1)
  t.same(scene.ended, [[exchange, 'wake_timeout']])
  const held = fakeExchange({ host: 'amber.localhost', record: { wakeMs: TIMEOUT_MS - 10 } })
  scene.holds.hold({ exchange: held, route: routeOf('amber', 'asleep'), goOn: () => {} })
  scene.holds.checkDeadlines(performance.now() + 20)
  t.equal(scene.ended.length, 2)
})

t.test('ends with its client, and with its edge', async (t) => {
  const scene = sceneFor(t)
  const [one, two] = [scene.hold('amber'), scene.hold('amber')]
  one.observer?.onClientGone()
  t.same(scene.settled, [one])
  t.equal(one.record.closeReason, 'client_gone')
  two.observer?.onFault(new RelayError('draining'))
  t.same(scene.ended, [[two, 'draining']])
  t.equal(scene.holds.size, 0)
  t.equal(scene.waiting(), 0)
  await scene.change('amber', 'running')
  t.same(scene.gone, [], 'neither goes on')
})

t.test('an exchange that leaves in the turn of the change does not go on', async (t) => {
  const scene = sceneFor(t)
  const exchange = scene.hold('amber')
  const changed = scene.change('amber', 'running')
  exchange.observer?.onClientGone()
  await changed
  t.same(scene.gone, [])
  t.same(scene.settled, [exchange])
})

t.test('holds so many for one VM, so many in all, and takes more when those are gone', async (t) => {
  const scene = sceneFor(t)
  for (let at = 0; at < MAX_HOLDS_OF_VM; at += 1) scene.hold('amber')
  t.throws(() => scene.hold('amber'), { code: 'limit_wake_holds' })
  for (let vm = 1; scene.holds.size < MAX_HOLDS; vm += 1) {
    for (let at = 0; at < MAX_HOLDS_OF_VM && scene.holds.size < MAX_HOLDS; at += 1) scene.hold(`vm-${vm}`)
  }
  t.throws(() => scene.hold('birch'), { code: 'limit_wake_holds' })
  await scene.change('amber', 'running')
  t.doesNotThrow(() => scene.hold('birch'))
})
