/**
 * A cut: the head of a chain becomes a frozen layer, and an empty one above it takes all writes from then on.
 *
 * Of a disk that is served, only its process knows whether that has happened. So the manifest names the next head before
 * the process is told, and once more as the head afterwards. After a crash in between, a process that runs is asked; if
 * none runs, the next head is right in either case: an empty layer shows what lies below it.
 */

import { SidecarError } from '../errors.ts'
import type { DiskDaemon } from './disk-daemon.ts'
import { type DiskParts, toGraph } from './disk-parts.ts'
import { advance, headOf, type Manifest, type NextLayer, newLayer, withdraw } from './manifest.ts'

/**
 * Of a disk that is never at rest: each layer costs its process a file and up to 2.5 MiB of cache for a disk of 20 GiB.
 * Layers of a disk that is served are not merged: see `DiskDaemon.stream`.
 */
const MAX_LAYERS = 64

/**
 * Answers with the manifest afterwards: all of its layers but the last are frozen. A disk to which nothing was written
 * since the last cut gets no layer. @throws SidecarError disk_chain_long
 */
export async function cut(
  parts: DiskParts,
  key: string,
  snapshot?: NextLayer['snapshot'],
): Promise<Manifest> {
  const { store, layers, daemons } = parts
  const manifest = await settle(parts, key)
  const { pool, sizeBytes } = manifest
  const daemon = await daemons.findServing(key)
  if (manifest.layers.length > 1 && (await layers.isEmpty(pool, headOf(manifest))))
    return reuse(parts, key, { manifest, snapshot })
  if (manifest.layers.length >= MAX_LAYERS) throw tooLong(key, manifest)
  const next = { layer: newLayer(), ...(snapshot && { snapshot }) }
  const planned = { ...manifest, next }
  try {
    await layers.create(pool, next.layer, { sizeBytes, below: { layer: headOf(manifest) } })
    await layers.claim(pool, next.layer, daemon?.owner)
    if (daemon) await store.write(key, planned)
  } catch (error) {
    if (store.get(key).next === undefined) await layers.delete(pool, next.layer)
    throw error
  }
  if (daemon) await switchHead(parts, { key, daemon, planned })
  return complete(parts, key, planned)
}

/** What was frozen last is what the disk is. */
async function reuse(
  { store, layers }: DiskParts,
  key: string,
  { manifest, snapshot }: { readonly manifest: Manifest; readonly snapshot: NextLayer['snapshot'] },
): Promise<Manifest> {
  if (!snapshot) return manifest
  const { id, takenAt } = snapshot
  const frozen = manifest.layers.slice(0, -1)
  const bytes = await layers.measure(manifest.pool, frozen)
  const kept = { ...manifest, snapshots: { ...manifest.snapshots, [id]: { layers: frozen, takenAt, bytes } } }
  await store.write(key, kept)
  return kept
}

function tooLong(key: string, manifest: Manifest): SidecarError {
  const context = { key, layers: manifest.layers.length }
  return new SidecarError('disk_chain_long', { detail: `The disk has ${context.layers} layers.`, context })
}

async function switchHead(
  parts: DiskParts,
  { key, daemon, planned }: { key: string; daemon: DiskDaemon; planned: Manifest & { next: NextLayer } },
): Promise<void> {
  const { layer } = planned.next
  const node = { layer, file: parts.layers.pathOf(planned.pool, layer) }
  const graph = toGraph(parts, planned)
  try {
    await daemon.putHead(graph, node)
    await daemon.freezeHead(graph)
  } catch (error) {
    await settle(parts, key).catch((err: unknown) =>
      parts.log.error({ key, err }, 'a cut is neither made nor undone'),
    )
    throw error
  }
}

/** The manifest once it says what is. */
export async function settle(parts: DiskParts, key: string): Promise<Manifest> {
  const { store, layers, daemons, log } = parts
  const manifest = store.get(key)
  if (!manifest.next) return manifest
  const { layer } = manifest.next
  const daemon = await daemons.findServing(key)
  if (!daemon) return complete(parts, key, manifest)
  if (await daemon.isInUse(layer)) {
    await daemon.freezeHead(toGraph(parts, manifest))
    return complete(parts, key, manifest)
  }
  log.warn({ key, layer }, 'a cut that was not made is forgotten')
  const withdrawn = withdraw(manifest)
  await store.write(key, withdrawn)
  await layers.delete(manifest.pool, layer)
  return withdrawn
}

async function complete({ store, layers }: DiskParts, key: string, planned: Manifest): Promise<Manifest> {
  await layers.freeze(planned.pool, headOf(planned))
  const bytes = await layers.measure(planned.pool, planned.layers)
  const advanced = advance(planned, bytes)
  await store.write(key, advanced)
  return advanced
}
