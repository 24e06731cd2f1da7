/** The composition root of a host: gives the sidecar its store and its VMM. */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from './config.ts'
import type { Log } from './lib/log.ts'
import { VM_PREFIX } from './routing/records.ts'
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
  const isFirstStart = (await store.get(VM_PREFIX + HELLO.name)) === undefined
  const vm = await startVm(
    { vmm, log, report: async (record) => void (await putVm(store, record)) },
    { ...HELLO, image: fileURLToPath(new URL('sidecar/hello-vm.ts', import.meta.url)) },
  )
  if (isFirstStart) await routeHello(store, config.domain)
  return vm
}

/** Only once: a user who deletes the route or makes it private must not find it back. */
async function routeHello(store: Store, domain: string): Promise<void> {
  const target = { vm: HELLO.name, port: HELLO.port }
  await putRoute(
    store,
    { hostname: `${HELLO.name}.${domain}`, visibility: 'public', target },
    { ifRevision: 0 },
  )
}
