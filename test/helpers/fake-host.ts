/** A host that runs nothing: it says of one VM what a test tells it to, and does what it is told when the VM is called. */

import type { Test } from 'tap'
import { CALLS, ROUTES } from '../../routing/records/record-kinds.ts'
import type { ReportRecord } from '../../routing/records/records.ts'
import type { CallRecord } from '../../routing/records/vm-affairs.ts'
import { putHostReport } from '../../routing/vms/host-reports.ts'
import { clearCall } from '../../routing/vms/vm-calls.ts'
import type { TestEdge } from './edge.ts'
import { putTestPool, putTestVm } from './host.ts'
import { until } from './until.ts'

export interface FakeHostOptions {
  readonly vm: string
  /** Port of the VM → port on 127.0.0.1. */
  readonly ports: Readonly<Record<number, number>>
  readonly visibility?: 'public' | 'private'
  /** Done for each call before it is cleared; by default the VM wakes. */
  readonly onCall?: (host: FakeHost) => Promise<void>
}

export interface FakeHost {
  /** The calls of the VM so far. */
  readonly calls: readonly CallRecord[]
  /** Reports, and waits until the edge has read so. */
  report(state: ReportRecord['state'], more?: Partial<ReportRecord>): Promise<void>
}

/** The pool, the VM and its first report: asleep. The highest port is the VM's default one. */
export async function fakeHostFor(t: Test, edge: TestEdge, options: FakeHostOptions): Promise<FakeHost> {
  const { vm, visibility = 'public', onCall = (host) => host.report('running') } = options
  const { store } = edge
  const numbers = Object.keys(options.ports).map(Number)
  await putTestPool(store, { name: 'default' })
  await putTestVm(store, {
    name: vm,
    port: Math.max(...numbers),
    ports: Object.fromEntries(numbers.map((port) => [port, { visibility }])),
  })
  const ports = Object.fromEntries(
    Object.entries(options.ports).map(([port, to]) => [port, { host: '127.0.0.1', port: to }]),
  )
  const calls: CallRecord[] = []
  const host: FakeHost = {
    calls,
    report: async (state, more = {}) => {
      await putHostReport(store, { name: vm, host: 'local', state, ports, ...more })
      await known(edge, vm)
    },
  }
  await host.report('running')
  await host.report('asleep')
  const timer = setInterval(() => {
    takeCall(host).catch((error: unknown) => t.fail(String(error)))
  }, 5)
  t.teardown(() => clearInterval(timer))

  async function takeCall(host: FakeHost): Promise<void> {
    const found = await store.get(CALLS.prefix + vm)
    if (found === undefined) return
    const call = CALLS.parse(found.value)
    if (calls.some(({ id }) => id === call.id)) return
    calls.push(call)
    await onCall(host)
    await clearCall(store, call)
  }
  return host
}

/** Waits until the edge has read the VM's rows as they are now. */
export async function known(edge: TestEdge, vm: string): Promise<void> {
  const row = await edge.store.get(`${ROUTES.prefix}${vm}.localhost`)
  const wanted = row?.revision ?? 0
  await until(async () => (await gaugeOf(edge, 'landfall_table_revision')) >= wanted, `the edge knows ${vm}`)
}

/** One number of `/metrics`. */
export async function gaugeOf(edge: TestEdge, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${edge.opsPort}/metrics`)).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}
