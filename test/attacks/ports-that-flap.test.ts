/**
 * A guest's root opens and closes ports in a loop, or merely says so. Each change would be written down, forwarded port
 * by port, written to the table and told to every edge of the fleet: thousands a second from one VM. What gets through
 * is a few at once and then two a second, and the last of them always.
 */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { Agent } from '../../sidecar/hypervisor/agent.ts'
import { Reporter } from '../../sidecar/reporter.ts'
import { until } from '../helpers/until.ts'
import { listLog } from '../sidecar/vms.ts'

const CHANGES = 1_000
/** A burst of 20, and two a second for as long as a slow machine takes. */
const MOST = 40

t.test('an agent that says other ports each time is listened to now and then', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const host = connect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1')
  const [guest] = (await once(server, 'connection')) as [Socket]
  const agent = new Agent(host)
  t.teardown(() => {
    agent.close()
    guest.destroy()
    server.close()
  })
  const told: number[] = []
  agent.onPorts(([port = 0]) => told.push(port))
  guest.write(Array.from({ length: CHANGES }, (_, at) => `ports ${at + 1}\n`).join(''))
  await until(() => told.at(-1) === CHANGES, 'the last change is told')
  t.ok(told.length < MOST, `${told.length} changes were told`)
  t.same(told.slice(0, 3), [1, 2, 3], 'the first ones at once')
})

t.test('the table is not told of each change of a VM that changes all the time', async (t) => {
  const arrived: number[] = []
  const { log } = listLog()
  const report = async (value: number) => void arrived.push(value)
  const reporter = new Reporter({ report, log, about: {} }, { retryMs: 5, maxRetryMs: 20 })
  t.teardown(() => reporter[Symbol.asyncDispose]())
  for (let value = 1; value <= CHANGES; value += 1) {
    reporter.publish(value)
    await setImmediate()
  }
  await reporter.drained()
  t.equal(arrived.at(-1), CHANGES)
  t.ok(arrived.length < MOST, `${arrived.length} reports were sent`)
})
