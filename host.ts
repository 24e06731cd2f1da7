/** The composition root of a host: gives the sidecar its store and its VMM. */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from './config.ts'
import type { Log } from './lib/log.ts'
import { ROUTE_PREFIX, SEED_PREFIX } from './routing/records.ts'
import type { Store } from './routing/store.ts'
import { putRoute, putVm } from './routing/vm-routes.ts'
import { startVm } from './sidecar/lifecycle.ts'
import { createProcessVmm } from './sidecar/process-vmm.ts'

export interface HostDeps {
  readonly store: Store
  readonly log: Log
}

const HELLO = { name: 'hello', port: 8000, generation: 1 }

/** Runs the VM `hello` until disposal. @throws LandfallError when it cannot be started */
export async function startHost(config: Config, { store, log }: HostDeps): Promise<AsyncDisposable> {
  const vmm = createProcessVmm({ log }, { folder: join(config.dataFolder, 'vms') })
  const vm = await startVm(
    { vmm, log, report: async (record) => void (await putVm(store, record)) },
    { ...HELLO, image: fileURLToPath(new URL('sidecar/hello-vm.ts', import.meta.url)) },
  )
  await routeHello(store, `${HELLO.name}.${config.domain}`)
  return vm
}

/**
 * Once for each domain: a user who deletes the route or makes it private must not find it back. The mark is written
 * last, so that a crash in between only means that the next start tries again.
 */
async function routeHello(store: Store, hostname: string): Promise<void> {
  const mark = `${SEED_PREFIX}${hostname}`
  if ((await store.get(mark)) !== undefined) return
  if ((await store.get(ROUTE_PREFIX + hostname)) === undefined) {
    const target = { vm: HELLO.name, port: HELLO.port }
    await putRoute(store, { hostname, visibility: 'public', target }, { ifRevision: 0 })
  }
  await store.put(mark, { hostname })
}
