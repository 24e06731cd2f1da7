/** Records of VMs, written past the API in the commits that it would make. */

import type { Mutation, Store } from '../../../routing/store/store.ts'

const AT = '2026-01-01T00:00:00Z'

type Writer = Pick<Store, 'commit'>

/** A VM with its own host name `<vm>.example.test`. */
export async function putVm(store: Writer, vm: string, pool: string): Promise<void> {
  const record = { name: vm, pool, image: 'hello', state: 'running', ports: {}, createdAt: AT }
  await store.commit([
    { key: `vm/${vm}`, value: record },
    ...rowOf(vm, pool, `${vm}.example.test`),
    { key: `join/${vm}`, value: { name: vm, changes: 1 } },
  ])
}

/** As the API deletes it: everything in one commit, the VM first. */
export async function deleteVm(store: Writer, vm: string, others: readonly string[] = []): Promise<void> {
  const keys = [
    `vm/${vm}`,
    `report/${vm}`,
    `binding/${vm}/${vm}.example.test`,
    ...others,
    `route/${vm}.example.test`,
    `join/${vm}`,
  ]
  await store.commit(keys.map((key) => ({ key, value: undefined })))
}

export async function putReport(store: Writer, vm: string): Promise<void> {
  const value = { name: vm, host: 'h1', state: 'running', generation: 1, ports: {} }
  await store.commit([{ key: `report/${vm}`, value }])
}

export async function putGrant(store: Writer, vm: string, id: string): Promise<void> {
  const to = { kind: 'email', value: 'ada@example.com' }
  const value = { id, vm, to, role: 'viewer', createdAt: AT, createdBy: 'x' }
  await store.commit([{ key: `grant/${vm}/${id}`, value }])
}

export async function deleteKeys(store: Writer, ...keys: readonly string[]): Promise<void> {
  await store.commit(keys.map((key) => ({ key, value: undefined })))
}

/** Another host name of a VM. */
export async function putRoute(store: Writer, hostname: string, vm: string, pool: string): Promise<void> {
  await store.commit(rowOf(vm, pool, hostname))
}

/** The host name goes over to another VM. */
export async function moveRoute(
  store: Writer,
  hostname: string,
  { from, to, pool }: { readonly from: string; readonly to: string; readonly pool: string },
): Promise<void> {
  await store.commit([{ key: `binding/${from}/${hostname}`, value: undefined }, ...rowOf(to, pool, hostname)])
}

export async function deleteRoute(store: Writer, hostname: string, vm: string): Promise<void> {
  await deleteKeys(store, `binding/${vm}/${hostname}`, `route/${hostname}`)
}

export async function putDomain(store: Writer, hostname: string, vm: string): Promise<void> {
  const value = { hostname, vm, challenge: 'c', state: 'pending', createdAt: AT }
  await store.commit([
    { key: `domain/${hostname}`, value },
    { key: `claim/${vm}/${hostname}`, value: { vm, hostname } },
  ])
}

export async function deleteDomain(store: Writer, hostname: string, vm: string): Promise<void> {
  await deleteKeys(store, `domain/${hostname}`, `claim/${vm}/${hostname}`)
}

function rowOf(vm: string, pool: string, hostname: string): readonly Mutation[] {
  const row = { hostname, visibility: 'private', vm, port: 80, pool, state: 'stopped', generation: 0 }
  return [
    { key: `binding/${vm}/${hostname}`, value: { vm, hostname } },
    { key: `route/${hostname}`, value: row },
  ]
}
