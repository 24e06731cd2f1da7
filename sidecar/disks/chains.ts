/** New disks over what is there, and disks that go back to a snapshot: no data is copied. */

import { lstat } from 'node:fs/promises'
import { SidecarError } from '../errors.ts'
import { keyOfVm, type VmId } from '../vm-id.ts'
import { cut, settle } from './cuts.ts'
import type { DiskParts } from './disk-parts.ts'
import type { DiskPlan } from './disks.ts'
import { headOf, type Manifest, newLayer, snapshotOf } from './manifest.ts'

/** What a new head is put over. */
type Base = Pick<Manifest, 'template' | 'sizeBytes' | 'layers'>

/** Leaves the disk that the VM has. @throws SidecarError disk_source_unknown */
export async function createDisk(parts: DiskParts, key: string, plan: DiskPlan): Promise<void> {
  if (parts.store.find(key)) return
  const { from, pool } = plan
  const base =
    from.kind === 'template'
      ? await baseOfTemplate(parts, from.file)
      : await baseOfVm(parts, { ...from, pool })
  const sizeBytes = Math.max(plan.sizeBytes, base.sizeBytes)
  const layers = await addHead(parts, { ...base, pool, sizeBytes })
  await parts.store.write(key, {
    format: 'landfall-disk/1',
    pool,
    template: base.template,
    sizeBytes,
    layers,
    snapshots: {},
  })
}

/** Once more with the same arguments does nothing. @throws SidecarError disk_source_unknown, disk_failed */
export async function restoreDisk(
  parts: DiskParts,
  key: string,
  { id, keepAs }: { readonly id: string; readonly keepAs: string },
): Promise<void> {
  const { store, layers, daemons } = parts
  const manifest = await settle(parts, key)
  if (manifest.restored?.id === id && manifest.restored.keepAs === keepAs) return
  const snapshot = snapshotOf(manifest, id)
  if (!snapshot) throw sourceUnknown(`snapshot ${id}`)
  if (snapshotOf(manifest, keepAs)) throw failed(`there is a snapshot ${keepAs} already`)
  if (await daemons.findServing(key)) throw failed('the disk is in use')
  const chain = await addHead(parts, { ...manifest, layers: snapshot.layers })
  await layers.freeze(manifest.pool, headOf(manifest))
  const bytes = await layers.measure(manifest.pool, manifest.layers)
  const kept = { layers: manifest.layers, takenAt: new Date().toISOString(), bytes }
  await store.write(key, {
    ...manifest,
    layers: chain,
    snapshots: { ...manifest.snapshots, [keepAs]: kept },
    restored: { id, keepAs },
  })
}

async function baseOfTemplate({ layers }: DiskParts, file: string): Promise<Base> {
  const stats = await lstat(file).catch(() => undefined)
  if (!stats?.isFile()) throw sourceUnknown('the template')
  return { template: layers.toStored(file), sizeBytes: stats.size, layers: [] }
}

async function baseOfVm(
  parts: DiskParts,
  { vm, snapshot: id, pool }: { readonly vm: VmId; readonly snapshot?: string; readonly pool: string },
): Promise<Base> {
  const key = keyOfVm(vm)
  const source = parts.store.find(key)
  if (source?.pool !== pool) throw sourceUnknown(vm.name)
  if (id === undefined) {
    const after = await cut(parts, key)
    return { ...after, layers: after.layers.slice(0, -1) }
  }
  const manifest = await settle(parts, key)
  const snapshot = snapshotOf(manifest, id)
  if (!snapshot) throw sourceUnknown(`snapshot ${id} of ${vm.name}`)
  return { ...manifest, layers: snapshot.layers }
}

/** The chain with an empty head over it; the file is freed again when no manifest comes to name it. */
async function addHead({ layers }: DiskParts, base: Base & Pick<Manifest, 'pool'>): Promise<string[]> {
  const layer = newLayer()
  const lower = base.layers.at(-1)
  const below = lower === undefined ? { template: base.template } : { layer: lower }
  await layers.create(base.pool, layer, { sizeBytes: base.sizeBytes, below })
  return [...base.layers, layer]
}

function sourceUnknown(detail: string): SidecarError {
  return new SidecarError('disk_source_unknown', { detail })
}

function failed(detail: string): SidecarError {
  return new SidecarError('disk_failed', { detail })
}
