/**
 * The attacker makes VMs of others run that cost their owners while they run: he asks for private addresses, guesses
 * ports, reserved paths, other server names. Only what may pass wakes a VM; nothing else so much as asks the store.
 * And he asks for a public one ten thousand times: its host is called once, and what the edge holds for it is bounded.
 */

import t from 'tap'
import { MAX_HOLDS_OF_VM } from '../../proxy/wake-holds.ts'
import { edgeFor } from '../helpers/edge.ts'
import { fakeHostFor, gaugeOf } from '../helpers/fake-host.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { upgradeRequest } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const VM = 'amber.localhost'

t.test('nobody wakes a VM whose ports are private', async (t) => {
  const edge = await edgeFor(t)
  const host = await fakeHostFor(t, edge, { vm: 'amber', ports: { 22: 1, 80: 1 }, visibility: 'private' })
  const requests = [
    `GET / HTTP/1.1\r\nHost: ${VM}\r\n\r\n`,
    `GET /.landfall/errors HTTP/1.1\r\nHost: ${VM}\r\n\r\n`,
    `POST / HTTP/1.1\r\nHost: ${VM}\r\nContent-Length: 0\r\n\r\n`,
    upgradeRequest(VM),
    `CONNECT ${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n\r\n`,
    `CONNECT ${VM}:80 HTTP/1.1\r\nHost: ${VM}:80\r\n\r\n`,
    `CONNECT ${VM}:23 HTTP/1.1\r\nHost: ${VM}:23\r\n\r\n`,
  ]
  for (const request of requests) {
    const answer = await exchange(await edge.dial(VM), request, isWhole)
    t.ok([200, 401, 403, 404].includes(answer.status), `${request.slice(0, 30)}: ${answer.status}`)
  }
  t.match(await h2Exchange(await edge.h2(VM), { ':path': '/' }), { status: 401 })
  const other = await exchange(await edge.dial('other.localhost'), requests[0] ?? '', isWhole)
  t.equal(other.status, 421)
  t.equal(await gaugeOf(edge, 'edge_wakes_asked_total'), 0)
  t.equal(host.calls.length, 0)
  t.equal(await edge.store.get('call/amber'), undefined)
})

t.test('a flood of requests for a public one is one call, and holds no more than its share', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  const told = Promise.withResolvers<void>()
  const host = await fakeHostFor(t, edge, {
    vm: 'amber',
    ports: { 80: origin.port },
    onCall: async (host) => {
      await told.promise
      await host.report('running')
    },
  })
  const sessions = await Promise.all([1, 2, 3, 4, 5].map(() => edge.h2(VM)))
  const answers = sessions.flatMap((session) =>
    Array.from({ length: 90 }, () => h2Exchange(session, { ':path': '/' })),
  )
  await until(async () => (await gaugeOf(edge, 'edge_wake_holds')) === MAX_HOLDS_OF_VM, 'its share is held')
  const refused = answers.length - MAX_HOLDS_OF_VM
  await until(() => edge.accessLog.length === refused, 'the rest is refused at once')
  t.match(edge.accessLog[0], { status: 503, error_code: 'limit_wake_holds' })
  told.resolve()
  const all = await Promise.all(answers)
  t.equal(all.filter(({ status }) => status === 200).length, MAX_HOLDS_OF_VM)
  const [one] = all.filter(({ status }) => status === 503)
  t.ok(one?.headers['retry-after'])
  t.equal(host.calls.length, 1)
  t.equal(origin.requests.length, MAX_HOLDS_OF_VM)
})
