/**
 * The attacker has a VM with a good name, deletes it and waits for somebody to take the name. His guest is still being
 * shut down and opens ports meanwhile: its host reports them under the name, and the newcomer's visitors, with all that
 * the edge says of who they are, would be led to the attacker's guest. What is said of a VM counts for that VM alone.
 */

import t from 'tap'
import { startMemoryStore } from '../../routing/store/memory-store.ts'
import { putHostReport } from '../../routing/vms/host-reports.ts'
import { seedPlatform } from '../../routing/vms/platform.ts'
import { startKeeper } from '../../sidecar/keeper.ts'
import { until } from '../helpers/until.ts'
import { FakeVmm } from '../sidecar/fake-vms.ts'
import { wanted } from '../sidecar/keepers.ts'
import { listLog } from '../sidecar/vms.ts'

const OLD = '2026-01-31T12:00:00.000Z'
const OLD_PORTS = { 8000: { host: '127.0.0.1', port: 40_666 } }

t.test('the table takes no report of an earlier VM of the name', async (t) => {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  await seedPlatform(store, { domain: 'localhost', host: 'a', owner: 'ada@example.test' })
  const createdAt = String((await store.get('vm/hello'))?.value.createdAt)
  const report = { name: 'hello', host: 'a', state: 'running', ports: OLD_PORTS } as const
  await putHostReport(store, { ...report, createdAt: OLD })
  t.equal(await store.get('report/hello'), undefined)
  t.notOk((await store.get('route/hello.localhost'))?.value.upstream)
  await putHostReport(store, { ...report, createdAt })
  t.match(await store.get('route/hello.localhost'), { value: { upstream: OLD_PORTS[8000] } })
  const other = { 8000: { host: '127.0.0.1', port: 40_667 } }
  await putHostReport(store, { ...report, ports: other, createdAt: OLD })
  t.match(await store.get('route/hello.localhost'), { value: { upstream: OLD_PORTS[8000] } })
})

t.test('a host says of which VM it speaks, while it ends the old one for the new one', async (t) => {
  const vmm = new FakeVmm()
  const told: { readonly state: string; readonly port: number | undefined; readonly createdAt: string }[] = []
  const keeper = startKeeper({
    vmm,
    report: async (_name, { state, ports }, createdAt) =>
      void told.push({ state, port: ports[8000]?.port, createdAt }),
    clearCall: async () => undefined,
    restore: async () => undefined,
    log: listLog().log,
  })
  t.teardown(() => keeper[Symbol.asyncDispose]())
  keeper.want(wanted('shop', { createdAt: OLD }))
  await keeper.attempted()
  const old = vmm.last
  old.isStubborn = true
  const createdAt = '2026-02-01T12:00:00.000Z'
  keeper.want(wanted('shop', { createdAt, pool: 'victim' }))
  await until(() => old.graces.length > 0, 'the old one is told to end')
  old.tell({ ports: OLD_PORTS })
  await until(() => told.some(({ port }) => port === 40_666), 'its new port is reported')
  old.end()
  await until(() => told.some((each) => each.createdAt === createdAt), 'the new one is')
  t.equal(told.find(({ port }) => port === 40_666)?.createdAt, OLD)
  t.ok(told.every((each) => each.createdAt === OLD || each.port !== 40_666))
})
