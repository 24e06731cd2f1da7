/** `kill -9` loses nothing: what the admin API confirmed is served after the next start. */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startSqliteStore } from '../../routing/store/sqlite-store.ts'
import type { Store } from '../../routing/store/store.ts'
import { putTestPool, putTestVm } from '../helpers/host.ts'
import { childrenOf, isRunning, type Landfall, landfallFor } from '../helpers/landfall.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const NAMES = Array.from({ length: 20 }, (_unused, index) => `app-${index}.localhost`)
const DELETED = 'app-0.localhost'

t.test('routes outlive a kill -9, and so do the CA and the token', async (t) => {
  const origin = await originFor(t, (request, response) => response.end(`host ${request.headers.host}`))
  const first = await landfallFor(t)
  for (const name of NAMES) {
    const wanted = { upstream: `127.0.0.1:${origin.port}`, visibility: 'public' }
    t.equal((await first.admin('PUT', `/v1/routes/${name}`, wanted)).status, 201)
  }
  t.equal((await first.admin('DELETE', `/v1/routes/${DELETED}`)).status, 204)
  // The confirmation of the last write is all that was waited for.
  first.signal('SIGKILL')
  t.equal((await first.exited).signal, 'SIGKILL')

  const second = await landfallFor(t, { dataFolder: first.dataFolder })
  t.equal(second.ca, first.ca, 'the CA that a user trusts stays')
  t.equal(second.adminToken, first.adminToken)
  for (const name of NAMES.slice(1)) {
    const answer = await getText(second, name)
    t.same(answer, { status: 200, body: `host ${name}:${second.httpsPort}` }, name)
  }
  t.equal((await getText(second, DELETED)).status, 404, 'what was deleted stays deleted')
  t.equal((await getText(second, 'hello.localhost')).status, 200, 'the VM hello runs again')
})

/** The table of a process that has ended. */
async function withTable<Result>(
  { dataFolder }: Landfall,
  work: (store: Store) => Promise<Result>,
): Promise<Result> {
  await using store = await startSqliteStore(dataFolder)
  return await work(store)
}

async function killedFor(t: Test): Promise<Landfall> {
  const landfall = await landfallFor(t)
  const children = childrenOf(landfall.pid)
  landfall.signal('SIGKILL')
  await landfall.exited
  await until(() => !children.some(isRunning), 'its VMs have ended with it')
  return landfall
}

t.test('VMs run again as they are wanted, and the host takes up its name at once', async (t) => {
  const first = await killedFor(t)
  const before = await withTable(first, async (store) => {
    await putTestPool(store, { name: 'mine' })
    await putTestVm(store, { name: 'app', pool: 'mine' })
    await putTestVm(store, { name: 'idle', pool: 'mine', state: 'stopped' })
    return {
      report: await store.get('report/hello'),
      lease: await store.findLease('host/local'),
    }
  })
  t.match(before.report, { value: { state: 'running', generation: 1 } }, 'nobody could say otherwise')
  t.ok(before.lease, 'nor release the name')
  const startedAt = performance.now()
  const second = await landfallFor(t, { dataFolder: first.dataFolder })
  t.ok(performance.now() - startedAt < 10_000, 'the lease of the dead is not waited for')
  t.equal((await getText(second, 'hello.localhost')).status, 200)
  t.equal((await getText(second, 'app.localhost')).status, 200)
  t.equal((await getText(second, 'idle.localhost')).status, 503)
  t.equal(childrenOf(second.pid).length, 2)
  second.signal('SIGTERM')
  await second.exited
  await withTable(second, async (store) => {
    t.match(await store.get('report/hello'), { value: { state: 'stopped', generation: 1 } }, 'the same owner')
    t.match(await store.get('report/idle'), { value: { state: 'stopped' } })
    t.equal(await store.findLease('host/local'), undefined)
  })
})

async function getText({ httpsPort, ca }: Landfall, hostname: string) {
  const outgoing = get({
    host: '127.0.0.1',
    port: httpsPort,
    servername: hostname,
    ca,
    // A deleted name has no certificate of its own any more.
    rejectUnauthorized: hostname !== DELETED,
    headers: { host: `${hostname}:${httpsPort}` },
    agent: false,
  })
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode, body: await text(response) }
}
