/** A store that a host follows, for tests: what it is told, and the records that it is told of. */

import type { Test } from 'tap'
import { startFollower } from '../../../routing/feed/feed-follower.ts'
import { PLACEMENT_PREFIXES, PlacedVms } from '../../../routing/placement/placed-vms.ts'
import type { PlacedVm } from '../../../routing/placement/placement-reader.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import type { Store } from '../../../routing/store/store.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { until } from '../../helpers/until.ts'

export const CREATED_AT = '2026-01-31T12:00:00Z'

export async function putPool(store: Store, name: string, more: object = {}): Promise<number> {
  const record = { name, cpuMillis: 1_000, memoryBytes: 1, diskBytes: 1, createdAt: CREATED_AT }
  return store.put(`pool/${name}`, { ...record, ...more })
}

export async function putVm(store: Store, name: string, more: object = {}): Promise<number> {
  const record = { name, pool: 'mine', image: 'hello', state: 'running', ports: {}, createdAt: CREATED_AT }
  return store.put(`vm/${name}`, { ...record, ...more })
}

export async function putReport(store: Store, name: string, host: string, more: object = {}) {
  return store.put(`report/${name}`, { name, host, state: 'stopped', generation: 1, ports: {}, ...more })
}

export async function putGrant(store: Store, vm: string, id: string, more: object): Promise<number> {
  const record = { id, vm, role: 'root', createdAt: CREATED_AT, createdBy: 'test' }
  return store.put(`grant/${vm}/${id}`, { ...record, ...more })
}

/** A line of authorized_keys is `ssh-ed25519` and what this returns. */
export function publicKeyOf(id: string): string {
  return `${id}${'A'.repeat(68 - id.length)}`
}

export async function putKey(store: Store, id: string, user: string): Promise<number> {
  const record = {
    id,
    user,
    type: 'ssh-ed25519',
    publicKey: publicKeyOf(id),
    label: '',
    createdAt: CREATED_AT,
  }
  return store.put(`key/${id}`, record)
}

/** A copy for the host `me`; what it is told is in `told`, oldest first. */
export async function followFor(
  t: Test,
  prepare: (store: Store) => Promise<unknown>,
  { feedLimit = 10_000, now }: { readonly feedLimit?: number; readonly now?: () => number } = {},
) {
  const store = await startMemoryStore({ feedLimit })
  await prepare(store)
  const told: string[] = []
  const vms = new Map<string, PlacedVm>()
  const log = createListLog()
  const copy = new PlacedVms(
    { host: 'me', ...(now && { now }) },
    {
      setPool: ({ name, cpuMillis }) => told.push(`pool ${name} ${cpuMillis}`),
      dropPool: (name) => told.push(`drop ${name}`),
      want: (vm) => {
        vms.set(vm.name, vm)
        told.push(`want ${vm.name} ${vm.state} ${vm.image}`)
      },
      release: (name) => told.push(`release ${name}`),
      remove: (name) => told.push(`remove ${name}`),
      compareReport: (name, report) => told.push(`report ${name} ${report?.state}`),
      snapshots: (vm, wanted) => told.push(`snapshots ${vm} ${wanted.map(({ id }) => id).join(',')}`),
      bury: ({ vm, vmCreatedAt, snapshot }) =>
        told.push(`bury ${vm} ${vmCreatedAt}${snapshot === undefined ? '' : ` ${snapshot}`}`),
    },
  )
  const settings = { prefixes: PLACEMENT_PREFIXES, what: 'the wanted VMs' }
  const follower = await startFollower({ store, log, copy }, settings)
  t.teardown(async () => {
    await follower[Symbol.asyncDispose]()
    copy[Symbol.dispose]()
    await store[Symbol.asyncDispose]()
  })
  /** All that was told since the last call, once everything written so far has arrived. */
  const news = async () => {
    const { revision } = await store.list('', { limit: 1 })
    await until(() => (follower.position?.revision ?? -1) >= revision, 'all has arrived')
    return told.splice(0)
  }
  return { store, news, log, copy, vms, told }
}
