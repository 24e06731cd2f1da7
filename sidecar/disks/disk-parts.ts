/** What all operations on the disks of a host share. */

import type { KeyedQueue } from '../../lib/keyed-queue.ts'
import type { Log } from '../../lib/log.ts'
import type { Graph } from './daemon-graph.ts'
import type { Daemons } from './daemons.ts'
import type { LayerFiles } from './layer-files.ts'
import { layersOf, type Manifest } from './manifest.ts'
import type { ManifestStore } from './manifest-store.ts'

export interface DiskParts {
  readonly store: ManifestStore
  readonly layers: LayerFiles
  readonly daemons: Daemons
  readonly queue: KeyedQueue
  readonly log: Log
  /** Whether heads are read and written past the host's cache. */
  readonly isDirect: boolean
  readonly moreArguments: readonly string[]
}

/** The queue's key of all work that makes layers, names them anew or frees them. */
export function poolKey(pool: string): string {
  return `pool ${pool}`
}

export function toGraph({ layers, isDirect, moreArguments }: DiskParts, manifest: Manifest): Graph {
  return {
    templateFile: layers.fromStored(manifest.template),
    layers: manifest.layers.map((layer) => ({ layer, file: layers.pathOf(manifest.pool, layer) })),
    isDirect,
    moreArguments,
  }
}

/** Deletes every layer of the pool that no manifest names; none when a manifest cannot be read. */
export async function freeLayers({ store, layers, log }: DiskParts, pool: string): Promise<void> {
  const manifests = await store.readAll().catch((error: unknown) => {
    log.error({ pool, err: error }, 'no layer is freed while a disk manifest cannot be read')
    return undefined
  })
  if (!manifests) return
  const needed = new Set(manifests.flatMap((manifest) => [...layersOf(manifest)]))
  for (const layer of await layers.list(pool)) {
    if (needed.has(layer)) continue
    log.info({ pool, layer }, 'layer freed')
    await layers.delete(pool, layer)
  }
}
