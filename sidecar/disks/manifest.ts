/** What a VM's disk consists of: its chain of layers and its snapshots, as written in `disk.json`. */

import { randomBytes } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'

/** Twenty characters: with a prefix it fits a node name of QEMU, which has at most 31. */
const LAYER = Type.String({ pattern: '^[0-9a-f]{20}$' })
/** Oldest first; each stands on the one before, the first on the template. */
const CHAIN = Type.Array(LAYER, { minItems: 1, maxItems: 10_000, uniqueItems: true })
const MOMENT = Type.String({ maxLength: 40 })
const SNAPSHOT_ID = Type.String({ minLength: 1, maxLength: 200 })
const BYTES = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })

const SNAPSHOT = Type.Object(
  { layers: CHAIN, takenAt: MOMENT, bytes: BYTES },
  { additionalProperties: false, description: 'all of its layers are frozen' },
)

const MANIFEST = Type.Object(
  {
    format: Type.Literal('landfall-disk/1'),
    pool: Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' }),
    /** Relative to the data folder where it is in it. */
    template: Type.String({ minLength: 1, maxLength: 4_096 }),
    sizeBytes: BYTES,
    /** The last one is the head: the only layer that is written, and only by this VM. */
    layers: CHAIN,
    snapshots: Type.Record(Type.String(), SNAPSHOT),
    /** The layer that is about to become the head, or has: only the process that serves the disk can tell. */
    next: Type.Optional(
      Type.Object(
        {
          layer: LAYER,
          snapshot: Type.Optional(Type.Object({ id: SNAPSHOT_ID, takenAt: MOMENT })),
        },
        { additionalProperties: false },
      ),
    ),
    /** The last restore that was carried out. */
    restored: Type.Optional(Type.Object({ id: SNAPSHOT_ID, keepAs: SNAPSHOT_ID })),
  },
  { additionalProperties: false },
)

export type Manifest = Static<typeof MANIFEST>
export type Snapshot = Static<typeof SNAPSHOT>
export type NextLayer = NonNullable<Manifest['next']>

const checker = Compile(MANIFEST)

/** @throws Error saying what is wrong with the text */
export function parseManifest(text: string): Manifest {
  const value: unknown = JSON.parse(text)
  if (!checker.Check(value)) {
    const [first] = checker.Errors(value)
    throw new Error(`disk manifest: ${first?.instancePath ?? ''} ${first?.message ?? 'is no manifest'}`)
  }
  const head = headOf(value)
  const isShared = Object.values(value.snapshots).some(({ layers }) => layers.includes(head))
  if (isShared) throw new Error(`disk manifest: the head ${head} is in a snapshot`)
  if (value.next && layersOf({ ...value, next: undefined }).has(value.next.layer))
    throw new Error(`disk manifest: the next head ${value.next.layer} is in use`)
  return value
}

export function newLayer(): string {
  return randomBytes(10).toString('hex')
}

export function headOf({ layers }: Pick<Manifest, 'layers'>): string {
  return layers.at(-1) ?? ''
}

export function snapshotOf({ snapshots }: Pick<Manifest, 'snapshots'>, id: string): Snapshot | undefined {
  return Object.hasOwn(snapshots, id) ? snapshots[id] : undefined
}

/** All that the disk and its snapshots stand on. */
export function layersOf({
  layers,
  snapshots,
  next,
}: Pick<Manifest, 'layers' | 'snapshots'> & { readonly next?: NextLayer | undefined }): ReadonlySet<string> {
  const frozen = Object.values(snapshots).flatMap((snapshot) => snapshot.layers)
  return new Set([...layers, ...frozen, ...(next ? [next.layer] : [])])
}

/** As it is once `next` is the head; `bytes` is what the layers so far have taken. */
export function advance(manifest: Manifest, bytes: number): Manifest {
  const { next, ...rest } = manifest
  if (!next) return manifest
  const { layers, snapshots } = manifest
  const { snapshot } = next
  return {
    ...rest,
    layers: [...layers, next.layer],
    snapshots: snapshot
      ? { ...snapshots, [snapshot.id]: { layers, takenAt: snapshot.takenAt, bytes } }
      : snapshots,
  }
}

/** Without the snapshots that `isMeant` names. */
export function without(manifest: Manifest, isMeant: (id: string) => boolean): Manifest {
  const kept = Object.entries(manifest.snapshots).filter(([id]) => !isMeant(id))
  return { ...manifest, snapshots: Object.fromEntries(kept) }
}

/** As it was before there was a next head. */
export function withdraw({ next: _, ...rest }: Manifest): Manifest {
  return rest
}
