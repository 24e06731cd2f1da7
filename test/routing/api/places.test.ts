/** Places of an edge: no tenant takes them all, whatever number of tokens it has. */

import t from 'tap'
import type { Caller } from '../../../routing/api/caller.ts'
import { Places } from '../../../routing/api/places.ts'

const LIMITS = { perEdge: 80, perTenant: 40, what: 'things open' }
const READ = ['read'] as const

function callerOf(id: string, ...pools: string[]): Caller {
  return { id, scopes: pools.map((pool) => ({ pool, verbs: [...READ] })) }
}

/** How many more the caller gets. */
function fill(places: Places, caller: Caller): number {
  for (let count = 0; ; count += 1) {
    try {
      places.enter(caller)
    } catch {
      return count
    }
  }
}

t.test('a tenant with many tokens has no more places than with one', (t) => {
  const places = new Places(LIMITS)
  t.equal(fill(places, callerOf('one', 'a', 'b')), 20, 'of the 60 that are not the operators’, a third')
  t.equal(fill(places, callerOf('two', 'b', 'a')), 0)
  t.throws(() => places.enter(callerOf('two', 'a', 'b')), {
    code: 'api_rate_limited',
    message: /20 things open/,
  })
  t.end()
})

t.test('there is always a place for one more tenant, and a quarter for operators', (t) => {
  const places = new Places(LIMITS)
  for (const pool of ['a', 'b', 'c', 'd', 'e', 'f']) t.ok(fill(places, callerOf(pool, pool)) > 0, pool)
  for (let n = 0; n < 60; n += 1) fill(places, callerOf(`t${n}`, `p${n}`))
  t.equal(fill(places, callerOf('late', 'late')), 0, 'until all of theirs are taken')
  t.ok(fill(places, callerOf('root', '*')) > 5)
  t.ok(fill(places, callerOf('other-root', '*')) > 0)
  t.end()
})

t.test('one tenant never has more than its limit, and what is given back is free again', (t) => {
  const places = new Places({ ...LIMITS, perEdge: 1_000 })
  const leave = places.enter(callerOf('one', 'a'))
  t.equal(fill(places, callerOf('one', 'a')), 39)
  leave()
  leave()
  t.equal(fill(places, callerOf('one', 'a')), 1)
  t.end()
})
