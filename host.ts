/** The composition root of a host: gives the sidecar its store, its VMM and its wishes. */

import { statfs } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Config } from './config.ts'
import type { Log } from './lib/log.ts'
import { VERSION } from './lib/version.ts'
import { RoutingError } from './routing/errors.ts'
import { startFollower } from './routing/feed/feed-follower.ts'
import { type Presence, startPresence } from './routing/presence.ts'
import type { HostRecord } from './routing/records/records.ts'
import type { Store } from './routing/store/store.ts'
import { createSource, startUsageMeter } from './routing/usage/usage-meter.ts'
import { putHostReport } from './routing/vms/host-reports.ts'
import { PLACEMENT_PREFIXES, PlacedVms } from './routing/vms/placed-vms.ts'
import { seedPlatform } from './routing/vms/platform.ts'
import { type Keeper, startKeeper } from './sidecar/keeper.ts'
import { startMetering } from './sidecar/metering.ts'
import { createProcessVmm } from './sidecar/process-vmm.ts'
import type { Vmm } from './sidecar/vmm.ts'

export interface HostDeps {
  readonly store: Store
  readonly log: Log
}

export interface Host extends AsyncDisposable {
  /** Resolves when another process has come to run as this host, so that this one has to end. */
  readonly taken: Promise<RoutingError>
}

/** What each image of the process driver boots. */
const IMAGES: ReadonlyMap<string, string> = new Map([
  ['hello', fileURLToPath(new URL('sidecar/hello-vm.ts', import.meta.url))],
])

/** How long a start waits for the VMs that were wanted before it. */
const FIRST_VMS_MS = 15_000
const MILLIS_PER_CPU = 1_000

/**
 * Runs the VMs of the pools that are placed on this host until disposal, which stops them. Settles when each of
 * them was tried, after 15 seconds at the latest; a store that is away is waited for afterwards.
 * @throws RoutingError `host_name_taken`
 */
export async function startHost(config: Config, deps: HostDeps): Promise<Host> {
  await using started = new AsyncDisposableStack()
  const { store, log } = deps
  const { hostName: host, domain, dataFolder } = config
  const isAlone = !config.store.isFleet
  const record = await describeHost(config)
  const source = createSource(host)
  const meter = started.use(await startUsageMeter(deps, { source, flushMs: config.api.usageFlushMs }))
  const { promise: taken, resolve: onTaken } = Promise.withResolvers<RoutingError>()
  const presence = started.use(
    await startPresence({ store, log }, { kind: 'host', record, isAlone, onTaken }),
  )
  if (isAlone) await seedPlatform(store, { domain, host })
  const vmm = createProcessVmm({ log }, { folder: join(dataFolder, 'vms') })
  const keeper = started.use(keepVms(host, { store, log, vmm, presence }))
  started.use(startMetering({ vmm, log, meter, findPool: (vm) => keeper.findPool(vm) }))
  const copy = new PlacedVms(host, keeper)
  const settings = { prefixes: PLACEMENT_PREFIXES, what: 'the wanted VMs' }
  started.use(await startFollower({ store, log, copy }, settings))
  await waitForFirst(keeper)
  const owned = started.move()
  return { taken, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

interface KeepDeps extends HostDeps {
  readonly vmm: Vmm
  readonly presence: Pick<Presence, 'isHeld'>
}

/** Two processes that report under one name would correct each other without end: who has lost the name is silent. */
function keepVms(host: string, { store, log, vmm, presence }: KeepDeps): Keeper {
  return startKeeper({
    vmm,
    log,
    images: IMAGES,
    report: async (name, status) => {
      if (presence.isHeld()) return putHostReport(store, { name, host, ...status })
      throw new RoutingError('host_name_taken', { detail: `This process does not hold host/${host}.` })
    },
  })
}

async function waitForFirst(keeper: Keeper): Promise<void> {
  const limit = new AbortController()
  const late = sleep(FIRST_VMS_MS, undefined, { signal: limit.signal }).catch(() => undefined)
  await Promise.race([keeper.attempted(), late])
  limit.abort()
}

/** What the machine has; a limit on the whole process counts as the machine's. */
async function describeHost({ hostName, dataFolder }: Config): Promise<HostRecord> {
  const { blocks, bsize } = await statfs(dataFolder)
  const limit = process.constrainedMemory()
  return {
    name: hostName,
    cpuMillis: availableParallelism() * MILLIS_PER_CPU,
    memoryBytes: limit > 0 ? Math.min(limit, totalmem()) : totalmem(),
    diskBytes: blocks * bsize,
    images: [...IMAGES.keys()],
    version: VERSION,
    startedAt: new Date().toISOString(),
  }
}
