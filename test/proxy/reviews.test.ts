/** When open exchanges are looked at again, which of them, and how they end. */

import t, { type Test } from 'tap'
import { AuthError } from '../../auth/errors.ts'
import type { LandfallError } from '../../lib/errors.ts'
import type { Exchange } from '../../proxy/exchange.ts'
import type { Passage } from '../../proxy/gate.ts'
import { Reviews } from '../../proxy/reviews.ts'
import type { RelayRoute } from '../../proxy/upstream.ts'
import { until } from '../helpers/until.ts'
import { fakeExchange } from './fake-exchange.ts'

const nothingTaken = { authorization: false, proof: false }

function rowOf(name: string, visibility = 'private'): RelayRoute {
  return { hostname: `${name}.localhost`, visibility, state: 'running', generation: 1 }
}

function passageOf(subject: string | undefined): Passage {
  return { lines: '', takes: nothingTaken, subject, method: subject === undefined ? 'none' : 'cookie' }
}

function sceneFor(t: Test) {
  const rows = new Map(
    [rowOf('amber'), rowOf('birch'), rowOf('open', 'public')].map((row) => [row.hostname, row]),
  )
  const open: Exchange[] = []
  const rings: { row: ((name: string | undefined) => void)[]; gate: (() => void)[] } = { row: [], gate: [] }
  const looked: (string | undefined)[] = []
  const ended: string[] = []
  const may = { error: undefined as Error | undefined }
  const visits = { count: 0 }
  const reviews = new Reviews({
    clients: {
      visitOpen: (visit) => {
        visits.count += 1
        for (const exchange of open) visit(exchange)
      },
    },
    routes: {
      find: (name) => rows.get(name),
      onAnyRow: (ring) => {
        rings.row.push(ring)
        return () => rings.row.splice(0)
      },
    },
    gate: {
      recheck: (passage, _request, route) => {
        looked.push(`${passage.subject} ${route?.hostname}`)
        if (may.error !== undefined) throw may.error
      },
      onChange: (ring) => {
        rings.gate.push(ring)
        return () => rings.gate.splice(0)
      },
    },
    onEnded: (code) => void ended.push(code),
  })
  t.teardown(() => reviews[Symbol.dispose]())
  const faults: LandfallError[] = []
  const add = (name: string, subject: string | undefined) => {
    const route = rows.get(`${name}.localhost`) ?? rowOf(name)
    const exchange = fakeExchange({ host: route.hostname, record: { route, passage: passageOf(subject) } })
    exchange.observer = { onClientGone() {}, onFault: (error) => void faults.push(error), onDrain() {} }
    open.push(exchange)
    return exchange
  }
  return { reviews, rows, rings, looked, ended, may, visits, faults, add }
}

t.test('looks at those of a row that changed, once for many changes', async (t) => {
  const { rings, looked, visits, add } = sceneFor(t)
  for (const name of ['amber', 'birch', 'amber']) add(name, 'ada')
  for (let at = 0; at < 10; at += 1) rings.row[0]?.('amber.localhost')
  t.same(looked, [], 'not in the turn of the change')
  await until(() => looked.length > 0, 'a look')
  t.same(looked, ['ada amber.localhost', 'ada amber.localhost'])
  t.equal(visits.count, 1)
})

t.test('looks at all when the gate rings, any row may have changed, or so many did', async (t) => {
  for (const ringAll of [
    ({ gate }: ReturnType<typeof sceneFor>['rings']) => gate[0]?.(),
    ({ row }: ReturnType<typeof sceneFor>['rings']) => row[0]?.(undefined),
    ({ row }: ReturnType<typeof sceneFor>['rings']) => {
      for (let at = 0; at < 300; at += 1) row[0]?.(`other-${at}.localhost`)
    },
  ]) {
    const { rings, looked, add } = sceneFor(t)
    add('amber', 'ada')
    add('birch', 'bob')
    ringAll(rings)
    await until(() => looked.length > 0, 'a look')
    t.same(looked, ['ada amber.localhost', 'bob birch.localhost'])
  }
})

t.test('looks at all once a second', async (t) => {
  const { reviews, looked, add } = sceneFor(t)
  add('amber', 'ada')
  const now = performance.now()
  reviews.checkDeadlines(now)
  reviews.checkDeadlines(now + 500)
  t.equal(looked.length, 1)
  reviews.checkDeadlines(now + 1_100)
  t.equal(looked.length, 2)
})

t.test(
  'passes over strangers on public ports, what was not let in yet, our own pages and what is over',
  async (t) => {
    const { reviews, rows, may, looked, faults, add } = sceneFor(t)
    may.error = new AuthError('auth_required', 'gone')
    const stranger = add('open', undefined)
    delete add('amber', 'ada').record.passage
    delete add('amber', 'ada').record.route
    add('amber', 'ada').observer = undefined
    reviews.checkDeadlines(performance.now())
    t.same(looked, [])
    rows.set('open.localhost', rowOf('open'))
    reviews.checkDeadlines(performance.now() + 1_100)
    t.same(looked, ['undefined open.localhost'])
    t.same(faults, [may.error])
    t.equal(stranger.record.closeReason, 'access_ended')
  },
)

t.test('a row that is gone is for the gate to judge', async (t) => {
  const { reviews, rows, looked, add } = sceneFor(t)
  add('open', undefined)
  add('amber', 'ada')
  rows.clear()
  reviews.checkDeadlines(performance.now())
  t.same(looked, ['undefined undefined', 'ada undefined'])
})

t.test(
  'ends what fails, once, by its tunnel where it has one; an error of another kind ends it too',
  async (t) => {
    const { reviews, may, ended, faults, add } = sceneFor(t)
    let cuts = 0
    const tunnel = add('amber', 'ada')
    tunnel.observer = undefined
    tunnel.tunnel = {
      endAccess: () => {
        cuts += 1
      },
    }
    may.error = new AuthError('auth_forbidden', 'grant-gone')
    reviews.checkDeadlines(performance.now())
    reviews.checkDeadlines(performance.now() + 1_100)
    t.equal(cuts, 1)
    t.match(tunnel.record, {
      closeReason: 'access_ended',
      errorCode: 'auth_forbidden',
      authReason: 'grant-gone',
    })
    add('birch', 'bob')
    may.error = new Error('a fault of ours')
    reviews.checkDeadlines(performance.now() + 2_200)
    t.match(faults, [{ code: 'internal_error' }])
    t.same(ended, ['auth_forbidden', 'internal_error'])
  },
)

t.test('once disposed it hears nothing and looks at nothing', async (t) => {
  const { reviews, rings, visits, add } = sceneFor(t)
  add('amber', 'ada')
  rings.gate[0]?.()
  reviews[Symbol.dispose]()
  const later = sceneFor(t)
  later.rings.gate[0]?.()
  await until(() => later.visits.count === 1, 'its time is past')
  t.equal(visits.count, 0)
  t.same(rings, { row: [], gate: [] })
})
