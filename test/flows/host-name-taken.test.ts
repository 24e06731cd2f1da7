/** A host that slept so long that another process took its name says nothing any more: two would never agree. */

import t from 'tap'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { hostFor, pidsOf, putTestPool, putTestVm } from '../helpers/host.ts'
import { until } from '../helpers/until.ts'

t.test('who has lost the name reports nothing, and is told to end', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  await putTestPool(store, { name: 'mine' })
  await putTestVm(store, { name: 'app', pool: 'mine' })
  const host = await hostFor(t, { store })
  const own = await store.findLease('host/local')
  if (own) await store.releaseLease(own)
  let lease = await store.acquireLease('host/local', 'the other process', 60_000)
  await until(
    () => host.lines.some(({ message }) => /has the name/.test(message)),
    'the loss is seen',
    30_000,
  )

  // What the other process says of the VM is not what this one knows.
  const report = {
    ...(await store.get('report/app'))?.value,
    ports: { 8000: { host: '127.0.0.1', port: 1 } },
  }
  const revision = await store.put('report/app', report)
  const [pid = 0] = pidsOf(host, 'app')
  process.kill(pid, 'SIGKILL')
  await until(
    () => host.lines.some(({ message }) => message === 'report did not arrive'),
    'it wanted to report',
  )
  t.equal((await store.get('report/app'))?.revision, revision)

  lease = lease && (await store.renewLease(lease, 90_000))
  t.match(await host.taken, { code: 'host_name_taken' })
  await host.end()
  t.equal((await store.get('report/app'))?.revision, revision, 'its end is no news either')
})
