/** Who waits for a row hears of each change of it, and of nothing else. */

import t from 'tap'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { startRouteTable } from '../../../routing/table/route-table.ts'
import { RowBell } from '../../../routing/table/row-bell.ts'
import { TableCopy } from '../../../routing/table/table-copy.ts'
import { putTestRoute } from '../../helpers/route.ts'
import { until } from '../../helpers/until.ts'

t.test('rings for the row that changed, for all who wait for it, until they stop', async (t) => {
  const bell = new RowBell()
  const heard: string[] = []
  const ends = ['a', 'b'].map((name) => bell.onRow('amber.localhost', () => heard.push(name)))
  bell.onRow('birch.localhost', () => heard.push('c'))
  bell.ring('amber.localhost')
  t.same(heard, ['a', 'b'])
  ends[0]?.()
  ends[0]?.()
  bell.ring('amber.localhost')
  t.same(heard, ['a', 'b', 'b'])
  bell.ringAll()
  t.same(heard, ['a', 'b', 'b', 'b', 'c'])
  bell.ring('stranger.localhost')
  t.equal(heard.length, 5)
})

t.test('whoever stops or begins to wait while it rings does not disturb the others', async (t) => {
  const bell = new RowBell()
  const heard: string[] = []
  const end = bell.onRow('amber.localhost', () => {
    heard.push('a')
    end()
    bell.onRow('amber.localhost', () => heard.push('later'))
  })
  bell.onRow('amber.localhost', () => heard.push('b'))
  bell.ring('amber.localhost')
  t.same(heard, ['a', 'b'])
  bell.ring('amber.localhost')
  t.same(heard, ['a', 'b', 'b', 'later'])
})

t.test('is awaited only while somebody waits', async (t) => {
  const bell = new RowBell()
  t.notOk(bell.isAwaited)
  const end = bell.onRow('amber.localhost', () => {})
  t.ok(bell.isAwaited)
  end()
  t.notOk(bell.isAwaited)
})

t.test('rings for any row with its name, and without one after a load', async (t) => {
  const bell = new RowBell()
  const heard: (string | undefined)[] = []
  const end = bell.onAnyRow((hostname) => heard.push(hostname))
  t.ok(bell.isAwaited)
  bell.onRow('amber.localhost', () => heard.push('its own'))
  bell.ring('amber.localhost')
  bell.ring('birch.localhost')
  bell.ringAll()
  t.same(heard, ['its own', 'amber.localhost', 'birch.localhost', 'its own', undefined])
  end()
  end()
  bell.ring('birch.localhost')
  bell.ringAll()
  t.equal(heard.length, 6, 'only whoever waits for one row')
})

t.test('a load rings for everybody once its rows are the present ones', async (t) => {
  await using copy = new TableCopy()
  const states: (string | undefined)[] = []
  copy.bell.onRow('amber.localhost', () => states.push(copy.rows.find('amber.localhost')?.state))
  const load = copy.startLoad()
  const upstream = { host: '127.0.0.1', port: 80 }
  const value = {
    hostname: 'amber.localhost',
    visibility: 'public',
    state: 'running',
    generation: 1,
    upstream,
  }
  load.apply({ key: 'route/amber.localhost', revision: 1, value })
  t.same(states, [])
  load.finish()
  t.same(states, ['running'])
})

t.test('the route table rings when a row comes, changes and goes, and finds it as it is then', async (t) => {
  const silent = () => {}
  const log = { debug: silent, info: silent, warn: silent, error: silent }
  await using store = await startMemoryStore()
  await using table = await startRouteTable({ store, log })
  const states: (string | undefined)[] = []
  const end = table.onRow('amber.localhost', () => states.push(table.find('amber.localhost')?.state))
  const names: (string | undefined)[] = []
  table.onAnyRow((hostname) => names.push(hostname))
  await putTestRoute(store, { hostname: 'amber.localhost', state: 'asleep', vm: 'amber', port: 80 })
  await putTestRoute(store, { hostname: 'birch.localhost', vm: 'birch', port: 80 })
  await putTestRoute(store, { hostname: 'amber.localhost', state: 'running', vm: 'amber', port: 80 })
  await store.delete('route/amber.localhost')
  await until(() => states.length >= 3, 'three changes are heard')
  t.same(states, ['asleep', 'running', undefined])
  t.same(
    names,
    ['amber', 'birch', 'amber', 'amber'].map((name) => `${name}.localhost`),
  )
  end()
  const revision = await putTestRoute(store, { hostname: 'amber.localhost', vm: 'amber', port: 80 })
  await until(() => table.revision >= revision, 'the table has the row')
  t.equal(states.length, 3)
})
