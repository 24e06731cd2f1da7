/** A host in this process for one test, and the records that tell it what to run. */

import type { Test } from 'tap'
import { loadConfig } from '../../config.ts'
import { type Host, type HostDeps, startHost } from '../../host.ts'
import { BINDINGS, POOLS, VMS } from '../../routing/records/record-kinds.ts'
import type { PoolRecord, VmRecord } from '../../routing/records/records.ts'
import type { Store } from '../../routing/store/store.ts'
import { impliedBindings } from '../../routing/vms/platform.ts'
import { commitVm } from '../../routing/vms/vm-changes.ts'
import { folderFor } from './folder.ts'
import { createListLog, type Line } from './list-log.ts'

export interface TestHost {
  readonly dataFolder: string
  readonly lines: readonly Line[]
  readonly taken: Host['taken']
  end(): Promise<void>
}

export interface TestHostOptions extends Omit<HostDeps, 'log'> {
  /** LANDFALL_ settings. */
  readonly env?: Readonly<Record<string, string>>
  readonly dataFolder?: string
}

/** VMs that are processes, and files that go when they are deleted. */
const QUICK = { LANDFALL_VMM: 'process', LANDFALL_DISK_GRACE_S: '0' }

/** Ends with the test, with its VMs. */
export async function hostFor(t: Test, options: TestHostOptions): Promise<TestHost> {
  const { env = {}, dataFolder = folderFor(t), ...deps } = options
  const log = createListLog()
  const config = loadConfig({ LANDFALL_DATA: dataFolder, ...QUICK, ...env })
  const host = await startHost(config, { ...deps, log })
  const end = async () => host[Symbol.asyncDispose]()
  t.teardown(end)
  return { dataFolder, lines: log.lines, taken: host.taken, end }
}

/** The processes that a VM with the image hello has had, oldest first. */
export function pidsOf({ lines }: TestHost, vm: string): number[] {
  const said = lines.filter((line) => line.vm === vm && line.message === 'VM output')
  return said.flatMap(({ line }) => {
    const pid = Number(/^process (\d+) listens/.exec(String(line))?.[1])
    return pid > 0 ? [pid] : []
  })
}

/** A pool of any size on the host `local`. */
export async function putTestPool(store: Store, pool: Partial<PoolRecord> & { name: string }): Promise<void> {
  const createdAt = new Date().toISOString()
  const record = { cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, host: 'local', createdAt, ...pool }
  await store.put(POOLS.keyOf(record), record)
}

/** Makes the VM, or writes it anew, with its host names below `localhost`; what was not given stays. */
export async function putTestVm(store: Store, vm: Partial<VmRecord> & { name: string }): Promise<void> {
  await commitVm(store, {
    name: vm.name,
    plan: (parts) => {
      const before = parts.vm && { value: parts.vm.record, revision: parts.vm.revision }
      const record: VmRecord = {
        pool: 'default',
        image: 'hello',
        state: 'running',
        port: 8_000,
        ports: { 8000: { visibility: 'public' } },
        createdAt: new Date().toISOString(),
        ...parts.vm?.record,
        ...vm,
      }
      const known = new Set(parts.bindings.map(({ key }) => key))
      const added = impliedBindings(record, 'localhost')
        .map((binding) => ({ key: BINDINGS.keyOf(binding), record: binding, revision: 0 }))
        .filter(({ key }) => !known.has(key))
      const edits = [
        { key: VMS.keyOf(record), before, after: { ...record } },
        ...added.map(({ key, record }) => ({ key, before: undefined, after: { ...record } })),
      ]
      const stored = { key: VMS.keyOf(record), record, revision: 0 }
      return { edits, after: { ...parts, vm: stored, bindings: [...parts.bindings, ...added] } }
    },
  })
}

/** Deletes the VM with all that belongs to it. */
export async function deleteTestVm(store: Store, name: string): Promise<void> {
  await commitVm(store, {
    name,
    plan: (parts) => {
      const gone = [parts.vm, parts.report, ...parts.bindings, ...parts.grants].filter(
        (stored) => stored !== undefined,
      )
      const edits = gone.map(({ key, record, revision }) => ({
        key,
        before: { value: record, revision },
        after: undefined,
      }))
      return { edits, after: { vm: undefined, report: undefined, grants: [], bindings: [] } }
    },
  })
}
