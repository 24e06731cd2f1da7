/** Disks in files of this host: chains of qcow2 layers, each served by a process of its own. */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { KeyedQueue } from '../../lib/keyed-queue.ts'
import type { Log } from '../../lib/log.ts'
import { SidecarError } from '../errors.ts'
import { keyOfVm, type VmId } from '../vm-id.ts'
import { createDisk, restoreDisk } from './chains.ts'
import { cut, settle } from './cuts.ts'
import { Daemons } from './daemons.ts'
import { lockFolder } from './data-lock.ts'
import { canBypassCache, type DiskDaemon } from './disk-daemon.ts'
import { type DiskParts, freeLayers, poolKey, toGraph } from './disk-parts.ts'
import type { DiskPlan, DiskPoint, DiskRun, Disks, IsLeaving, OpenDisk } from './disks.ts'
import { LayerFiles } from './layer-files.ts'
import { headOf, layersOf, type Manifest, snapshotOf, without } from './manifest.ts'
import { ManifestStore } from './manifest-store.ts'
import { Shortener } from './shortener.ts'

export interface DiskSettings {
  /** The data folder of the host. */
  readonly folder: string
  readonly log: Log
  /** At which chains of layers are shortened in the background; default 64 MiB. */
  readonly shortenBytesPerSecond?: number
  /** More arguments for each process that serves a disk, as a second export of the node `top`. */
  readonly moreArguments?: readonly string[]
}

const SHORTEN_BYTES_PER_SECOND = 64 * 1_048_576

/**
 * Looks after all disks of a host. Processes that serve disks go on when it is disposed of, and when it is killed.
 * @throws SidecarError disk_failed when another process does so already
 */
export async function startDisks(settings: DiskSettings): Promise<Disks & AsyncDisposable> {
  const { folder, log } = settings
  const vms = join(folder, 'vms')
  const disks = join(folder, 'disks')
  for (const one of [vms, disks]) await mkdir(one, { recursive: true, mode: 0o711 })
  const lock = lockFolder(folder)
  try {
    const parts: DiskParts = {
      store: new ManifestStore(vms),
      layers: new LayerFiles(folder),
      daemons: new Daemons(vms),
      queue: new KeyedQueue(),
      log,
      isDirect: await canBypassCache(disks),
      moreArguments: settings.moreArguments ?? [],
    }
    const local = new LocalDisks(parts, settings, lock)
    await local.load()
    return local
  } catch (error) {
    lock[Symbol.dispose]()
    throw error
  }
}

class LocalDisks implements Disks, AsyncDisposable {
  readonly #parts: DiskParts
  readonly #shortener: Shortener
  readonly #lock: Disposable
  readonly #limits = new Map<string, number>()

  constructor(parts: DiskParts, settings: DiskSettings, lock: Disposable) {
    const { folder, shortenBytesPerSecond = SHORTEN_BYTES_PER_SECOND } = settings
    this.#parts = parts
    this.#lock = lock
    this.#shortener = new Shortener(parts, {
      folder: join(folder, 'vms'),
      bytesPerSecond: shortenBytesPerSecond,
    })
  }

  /** Reads what there is, and clears away what a crash has left. */
  async load(): Promise<void> {
    const { store, layers, daemons } = this.#parts
    await store.load()
    for (const pool of await layers.listPools()) await freeLayers(this.#parts, pool)
    for (const [key] of store.list()) {
      const daemon = await daemons.find(key)
      if (daemon?.purpose === 'shorten') await daemons.end(key)
      this.#shortener.look(key)
    }
  }

  async create(vm: VmId, plan: DiskPlan): Promise<void> {
    const key = keyOfVm(vm)
    const source = plan.from.kind === 'vm' ? keyOfVm(plan.from.vm) : undefined
    const keys = [key, ...(source === undefined ? [] : [source]), poolKey(plan.pool)]
    await this.#run(keys, () => createDisk(this.#parts, key, plan))
    if (source !== undefined) this.#shortener.look(source)
  }

  async open(vm: VmId, run: DiskRun): Promise<OpenDisk> {
    const key = keyOfVm(vm)
    const daemon = await this.#run([key], () => this.#serve(key, run))
    return this.#toOpenDisk(key, daemon)
  }

  async adopt(vm: VmId, _run: DiskRun): Promise<OpenDisk | undefined> {
    const key = keyOfVm(vm)
    const daemon = await this.#run([key], async () => {
      const found = await this.#parts.daemons.findServing(key)
      if (found) await settle(this.#parts, key)
      return found
    })
    return daemon && this.#toOpenDisk(key, daemon)
  }

  async grow(vm: VmId, sizeBytes: number): Promise<void> {
    const { store, daemons } = this.#parts
    const key = keyOfVm(vm)
    await this.#change(key, async () => {
      const manifest = await settle(this.#parts, key)
      if (sizeBytes > manifest.sizeBytes) await store.write(key, { ...manifest, sizeBytes })
      const daemon = await daemons.findServing(key)
      await daemon?.resize(Math.max(sizeBytes, manifest.sizeBytes))
    })
  }

  async takeSnapshot(vm: VmId, id: string): Promise<DiskPoint> {
    const key = keyOfVm(vm)
    const point = await this.#change(key, async () => {
      const known = snapshotOf(await settle(this.#parts, key), id)
      const taken =
        known ?? snapshotOf(await cut(this.#parts, key, { id, takenAt: new Date().toISOString() }), id)
      if (taken) return { takenAt: taken.takenAt, bytes: taken.bytes }
      throw new SidecarError('disk_failed', { context: { key, id } })
    })
    this.#shortener.look(key)
    return point
  }

  async isRestored(
    vm: VmId,
    { id, keepAs }: { readonly id: string; readonly keepAs: string },
  ): Promise<boolean> {
    const restored = this.#parts.store.find(keyOfVm(vm))?.restored
    return restored?.id === id && restored.keepAs === keepAs
  }

  async restore(vm: VmId, snapshots: { readonly id: string; readonly keepAs: string }): Promise<void> {
    const key = keyOfVm(vm)
    await this.#change(key, () => restoreDisk(this.#parts, key, snapshots))
  }

  async deleteSnapshot(vm: VmId, id: string): Promise<void> {
    const { store } = this.#parts
    const key = keyOfVm(vm)
    if (!store.find(key)) return
    await this.#change(key, async () => {
      const manifest = await settle(this.#parts, key)
      if (!snapshotOf(manifest, id)) return
      await store.write(
        key,
        without(manifest, (other) => other === id),
      )
      await freeLayers(this.#parts, manifest.pool)
    })
  }

  async listSnapshots(vm: VmId): Promise<readonly string[]> {
    const key = keyOfVm(vm)
    return this.#run([key], async () =>
      this.#parts.store.find(key) ? Object.keys((await settle(this.#parts, key)).snapshots) : [],
    )
  }

  async remove(vm: VmId): Promise<void> {
    const { store, daemons, layers } = this.#parts
    const key = keyOfVm(vm)
    const pools = store.isDamaged(key) ? await layers.listPools() : poolsOf(store.find(key))
    await this.#run([key, ...pools.map(poolKey)], async () => {
      await daemons.end(key)
      await daemons.forget(key)
      await store.delete(key)
      for (const pool of pools) await freeLayers(this.#parts, pool)
    })
    this.#limits.delete(key)
  }

  async measurePool(pool: string, isLeaving: IsLeaving = () => false): Promise<number> {
    const { store, layers } = this.#parts
    const counted = store
      .list()
      .filter(([key, manifest]) => manifest.pool === pool && !isLeaving(key))
      .flatMap(([key, manifest]) => [...layersOf(without(manifest, (id) => isLeaving(key, id)))])
    return layers.measure(pool, new Set(counted))
  }

  async measure(vm: VmId): Promise<number> {
    const { store, layers } = this.#parts
    const key = keyOfVm(vm)
    const manifest = store.find(key)
    if (!manifest) return 0
    const others = store.list().filter(([other]) => other !== key)
    const shared = new Set(others.flatMap(([, other]) => [...layersOf(other)]))
    return layers.measure(manifest.pool, layersOf(manifest).difference(shared))
  }

  /** Not queued: a pool that is full must not wait for a snapshot. */
  async limitWrites(vm: VmId, limit: { readonly bytesPerSecond: number } | undefined): Promise<void> {
    const key = keyOfVm(vm)
    if (limit) this.#limits.set(key, limit.bytesPerSecond)
    else this.#limits.delete(key)
    const daemon = await this.#parts.daemons.find(key)
    await daemon?.limitWrites(limit?.bytesPerSecond).catch((cause: unknown) => {
      throw toDiskError(cause)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shortener.end()
    await this.#parts.queue.drain()
    await this.#parts.daemons.detachAll()
    await this.#shortener.drain()
    this.#lock[Symbol.dispose]()
  }

  async #serve(key: string, { folder, groups, jail }: DiskRun): Promise<DiskDaemon> {
    const { store, layers, daemons } = this.#parts
    const wasLeft = await daemons.isLeft(key)
    await daemons.end(key)
    const manifest = await settle(this.#parts, key)
    checkHead(key, manifest, store.list())
    for (const layer of manifest.layers.slice(0, -1)) await layers.freeze(manifest.pool, layer)
    if (wasLeft) await layers.repairLeaks(manifest.pool, headOf(manifest))
    await layers.growHead(manifest.pool, headOf(manifest), manifest.sizeBytes)
    await layers.claim(manifest.pool, headOf(manifest), jail)
    const graph = toGraph(this.#parts, manifest)
    const poolFolder = layers.poolFolder(manifest.pool)
    const owner = jail && { uid: jail.uid, gid: jail.gid }
    const plan = { purpose: 'serve', folder, groups, graph, poolFolder, ...(owner && { owner }) } as const
    const daemon = await daemons.start(key, plan)
    const limit = this.#limits.get(key)
    if (limit !== undefined) await daemon.limitWrites(limit)
    return daemon
  }

  #toOpenDisk(key: string, daemon: DiskDaemon): OpenDisk {
    const { daemons, queue } = this.#parts
    const close = async () => {
      await queue.run([key], async () => {
        if (daemons.get(key) === daemon) await daemons.end(key)
      })
      this.#shortener.look(key)
    }
    return {
      socket: daemon.socket,
      exited: daemon.watch(),
      close,
      detach: () => daemon.detach(),
    }
  }

  /** Alone with the VM and with the layers of its pool. */
  async #change<T>(key: string, work: () => Promise<T>): Promise<T> {
    return this.#run([key, poolKey(this.#parts.store.get(key).pool)], work)
  }

  async #run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    try {
      return await this.#parts.queue.run(keys, work)
    } catch (error) {
      throw toDiskError(error)
    }
  }
}

function poolsOf(manifest: Manifest | undefined): readonly string[] {
  return manifest ? [manifest.pool] : []
}

/** Whatever a person has done to the manifests: two disks never write to one layer, and none below another. */
function checkHead(key: string, manifest: Manifest, all: readonly (readonly [string, Manifest])[]): void {
  const head = headOf(manifest)
  const other = all.find(([name, { layers, snapshots }]) => {
    return name !== key && layersOf({ layers, snapshots }).has(head)
  })
  if (other) throw new SidecarError('disk_failed', { context: { key, head, alsoIn: other[0] } })
}

const OWN_CODES: readonly string[] = ['disk_failed', 'disk_source_unknown', 'disk_chain_long', 'vm_name']

function toDiskError(cause: unknown): SidecarError {
  if (cause instanceof SidecarError && OWN_CODES.includes(cause.code)) return cause
  return new SidecarError('disk_failed', { cause, context: { reason: String(cause) } })
}
