/** Requests that wait for the gate: what ends the wait, and how many may. */

import t, { type Test } from 'tap'
import { AuthError } from '../../auth/errors.ts'
import { Deadlines } from '../../lib/deadlines.ts'
import { Decisions, MAX_UNDECIDED, MAX_UNDECIDED_OF_CLIENT } from '../../proxy/decisions.ts'
import { RelayError } from '../../proxy/errors.ts'
import type { Exchange } from '../../proxy/exchange.ts'
import type { Passage } from '../../proxy/gate.ts'
import type { RelayRoute } from '../../proxy/upstream.ts'
import { fakeExchange } from './fake-exchange.ts'

const ROUTE: RelayRoute = {
  hostname: 'app.localhost',
  visibility: 'private',
  state: 'running',
  generation: 1,
}
const PASSAGE: Passage = {
  lines: '',
  takes: { authorization: false, proof: false },
  subject: 'ada',
  method: 'cookie',
}

function sceneFor(t: Test) {
  const deadlines = new Deadlines()
  t.teardown(() => deadlines[Symbol.dispose]())
  const asked: [Exchange, string, PromiseWithResolvers<Passage>][] = []
  const passed: [Exchange, Passage][] = []
  const refused: [Exchange, string][] = []
  const settled: Exchange[] = []
  const decisions = new Decisions({
    deadlines,
    gate: {
      decide: (request, _route, address) => {
        const decision = Promise.withResolvers<Passage>()
        asked.push([request as Exchange, address, decision])
        return decision.promise
      },
    },
    refuse: (exchange, error) => void refused.push([exchange, (error as RelayError).code]),
    settle: (exchange) => void settled.push(exchange),
  })
  const hold = (address = '192.0.2.7') => {
    const exchange = fakeExchange({ host: ROUTE.hostname, client: { address } })
    decisions.hold({ exchange, route: ROUTE, goOn: (...passing) => void passed.push(passing) })
    return exchange
  }
  const answer = async (at: number, outcome: Passage | Error) => {
    const decision = asked[at]?.[2]
    if (outcome instanceof Error) decision?.reject(outcome)
    else decision?.resolve(outcome)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { decisions, hold, answer, asked, passed, refused, settled }
}

t.test('goes on with what was decided, or is refused with why not', async (t) => {
  const { hold, answer, asked, passed, refused, decisions } = sceneFor(t)
  const [good, bad] = [hold(), hold('192.0.2.8')]
  t.same(
    asked.map(([, address]) => address),
    ['192.0.2.7', '192.0.2.8'],
  )
  t.equal(decisions.size, 2)
  await answer(1, new AuthError('auth_invalid', 'forged'))
  await answer(0, PASSAGE)
  t.same(passed, [[good, PASSAGE]])
  t.same(refused, [[bad, 'auth_invalid']])
  t.equal(decisions.size, 0)
  t.equal(good.observer, undefined)
})

t.test(
  'ends with its client, with its edge and with its time, and what is decided then is forgotten',
  async (t) => {
    const { decisions, hold, answer, passed, refused, settled } = sceneFor(t)
    const [gone, drained, late] = [hold(), hold(), hold()]
    gone.observer?.onClientGone()
    t.same(settled, [gone])
    t.equal(gone.record.closeReason, 'client_gone')
    drained.observer?.onFault(new RelayError('draining'))
    decisions.checkDeadlines(performance.now() + 9_000)
    t.same(refused, [[drained, 'draining']])
    decisions.checkDeadlines(performance.now() + 10_001)
    t.same(refused.at(-1), [late, 'limit_auth_holds'])
    for (const at of [0, 1]) await answer(at, PASSAGE)
    await answer(2, new AuthError('auth_invalid', 'forged'))
    t.same(passed, [])
    t.equal(refused.length, 2)
    t.equal(settled.length, 1)
    t.equal(decisions.size, 0)
  },
)

t.test('so many of one client, so many in all, and more when those are gone', async (t) => {
  const { decisions, hold, answer, asked } = sceneFor(t)
  for (let at = 0; at < MAX_UNDECIDED_OF_CLIENT; at += 1) hold('192.0.2.1')
  t.throws(() => hold('192.0.2.1'), { code: 'limit_auth_holds' })
  t.equal(asked.length, MAX_UNDECIDED_OF_CLIENT, 'the gate is not even asked')
  t.doesNotThrow(() => hold('192.0.2.2'), 'others are not kept out')
  await answer(0, PASSAGE)
  t.doesNotThrow(() => hold('192.0.2.1'))
  for (let at = 0; decisions.size < MAX_UNDECIDED; at += 1) hold(`198.51.100.${at % 250}`)
  t.throws(() => hold('203.0.113.1'), { code: 'limit_auth_holds' })
})
