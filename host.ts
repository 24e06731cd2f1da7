/** The composition root of a host: gives the sidecar its store, its driver and its orders. */

import { statfs } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from './config.ts'
import type { Log } from './lib/log.ts'
import { VERSION } from './lib/version.ts'
import { RoutingError } from './routing/errors.ts'
import { startFollower } from './routing/feed/feed-follower.ts'
import { PLACEMENT_PREFIXES, PlacedVms } from './routing/placement/placed-vms.ts'
import { type Presence, startPresence } from './routing/presence.ts'
import type { HostRecord } from './routing/records/records.ts'
import type { Store } from './routing/store/store.ts'
import { createSource, startUsageMeter } from './routing/usage/usage-meter.ts'
import { clearGrave } from './routing/vms/graves.ts'
import { putHostReport } from './routing/vms/host-reports.ts'
import { seedPlatform } from './routing/vms/platform.ts'
import { putKeptSnapshot, putSnapshotReport } from './routing/vms/snapshot-reports.ts'
import { clearCall } from './routing/vms/vm-calls.ts'
import { type Driver, openDriver } from './sidecar/driver.ts'
import type { HostTable } from './sidecar/host-table.ts'
import { startSidecar } from './sidecar/sidecar.ts'

export interface HostDeps {
  readonly store: Store
  readonly log: Log
}

export interface Host extends AsyncDisposable {
  /** Resolves when another process has come to run as this host, so that this one has to end. */
  readonly taken: Promise<RoutingError>
}

export interface HostOptions {
  /** In place of the setting. */
  readonly vmm?: 'qemu' | 'process'
  /** VMs end with this process, as in development; otherwise they outlive it. */
  readonly isLast?: boolean
}

/** How long a start waits for the VMs that were wanted before it. */
const FIRST_VMS_MS = 15_000
const MILLIS_PER_CPU = 1_000

/**
 * Runs the VMs of the pools that are placed on this host until disposal. Settles when each of them was tried, after
 * 15 seconds at the latest; a store that is away is waited for afterwards.
 * @throws RoutingError `host_name_taken`
 */
export async function startHost(config: Config, deps: HostDeps, options: HostOptions = {}): Promise<Host> {
  await using started = new AsyncDisposableStack()
  const { store, log } = deps
  const { hostName: host, domain, dataFolder } = config
  const isAlone = !config.store.isFleet
  const driver = started.use(await openDriver({ log }, { ...config.vms, folder: dataFolder, ...options }))
  const record = await describeHost(config, driver)
  const source = createSource(host)
  const meter = started.use(await startUsageMeter(deps, { source, flushMs: config.api.usageFlushMs }))
  const { promise: taken, resolve: onTaken } = Promise.withResolvers<RoutingError>()
  const presence = started.use(
    await startPresence({ store, log }, { kind: 'host', record, isAlone, onTaken }),
  )
  if (isAlone) await seedPlatform(store, { domain, host, ...findFirstOwner(config) })
  const table = toTable(host, { store, presence })
  const settings = { domain, folder: dataFolder, graceMs: config.vms.diskGraceSeconds * 1_000 }
  const sidecar = started.use(await startSidecar({ driver, table, meter, log }, settings))
  const copy = started.use(new PlacedVms({ host }, sidecar.orders))
  const what = 'the wanted VMs'
  const follower = started.use(
    await startFollower({ store, log, copy }, { prefixes: PLACEMENT_PREFIXES, what }),
  )
  // What cannot be read may be the record of a VM that runs here.
  sidecar.sweep(() => follower.isConfirmed && copy.isWhole)
  await waitForFirst(sidecar)
  const owned = started.move()
  return { taken, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Where a real login is configured, its operator says who owns what: `landfall pool set default --owner …`. */
function findFirstOwner({ auth }: Config): { readonly owner?: string } {
  return auth.oidcIssuer === '' && auth.smtpUrl === '' ? { owner: auth.people[0] } : {}
}

interface TableParts {
  readonly store: Store
  readonly presence: Pick<Presence, 'isHeld'>
}

/** Two processes that write under one name would correct each other without end: who has lost the name is silent. */
function toTable(host: string, { store, presence }: TableParts): HostTable {
  const held =
    <Args extends readonly unknown[]>(write: (...args: Args) => Promise<void>) =>
    async (...args: Args) => {
      if (presence.isHeld()) return write(...args)
      throw new RoutingError('host_name_taken', { detail: `This process does not hold host/${host}.` })
    }
  return {
    reportVm: held(async (name, status, createdAt) =>
      putHostReport(store, { name, host, createdAt, ...status }),
    ),
    clearCall: held((vm, { id }) => clearCall(store, { vm, id })),
    reportSnapshot: held((report) => putSnapshotReport(store, report)),
    keepSnapshot: held((kept) => putKeptSnapshot(store, kept)),
    clearGrave: held((grave) => clearGrave(store, grave)),
  }
}

async function waitForFirst(sidecar: { attempted(): Promise<void> }): Promise<void> {
  const limit = new AbortController()
  const late = sleep(FIRST_VMS_MS, undefined, { signal: limit.signal }).catch(() => undefined)
  await Promise.race([sidecar.attempted(), late])
  limit.abort()
}

/** What the machine has; a limit on the whole process counts as the machine's. */
async function describeHost({ hostName, dataFolder }: Config, driver: Driver): Promise<HostRecord> {
  const { blocks, bsize } = await statfs(dataFolder)
  const limit = process.constrainedMemory()
  return {
    name: hostName,
    cpuMillis: availableParallelism() * MILLIS_PER_CPU,
    memoryBytes: limit > 0 ? Math.min(limit, totalmem()) : totalmem(),
    diskBytes: blocks * bsize,
    images: [...(await driver.vmm.listImages())],
    vmm: driver.vmm.kind,
    network: driver.network,
    version: VERSION,
    startedAt: new Date().toISOString(),
  }
}
