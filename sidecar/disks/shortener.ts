/** Shortens chains of disks at rest: what lies above the oldest layers is copied into the head, and nothing else is touched. */

import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { settle } from './cuts.ts'
import type { DiskDaemon } from './disk-daemon.ts'
import { type DiskParts, freeLayers, poolKey, toGraph } from './disk-parts.ts'
import { headOf } from './manifest.ts'

/** Each layer costs the process that serves it a file, a cache and a look-up for whatever is not in those above. */
const MAX_LAYERS = 8
/** The oldest ones are the most likely to be shared, and to be large. */
const KEPT_LAYERS = 4

export class Shortener {
  readonly #parts: DiskParts
  readonly #folder: string
  readonly #bytesPerSecond: number
  readonly #underWay = new Map<string, Promise<void>>()
  /** One disk at a time. */
  #turn: Promise<void> = Promise.resolve()
  #isOver = false

  /** `folder` has a folder per VM. */
  constructor(parts: DiskParts, { folder, bytesPerSecond }: { folder: string; bytesPerSecond: number }) {
    this.#parts = parts
    this.#folder = folder
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Sees to it that a long chain becomes short, if nobody serves it. Whoever wants the disk ends what is under way. */
  look(key: string): void {
    if (this.#isOver || this.#underWay.has(key) || !this.#isLong(key)) return
    const work = this.#turn
      .then(() => this.#shorten(key))
      .catch((err: unknown) => this.#parts.log.warn({ key, err }, 'a chain of layers could not be shortened'))
      .finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, work)
    this.#turn = work
  }

  /** Settles when nothing is under way. */
  async drain(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay.values())
  }

  /** Begins nothing more. */
  end(): void {
    this.#isOver = true
  }

  async #shorten(key: string): Promise<void> {
    const { queue } = this.#parts
    const daemon = await queue.run([key], () => this.#start(key))
    if (!daemon) return
    try {
      await this.#carryOut(key, daemon)
    } finally {
      await queue.run([key], () => this.#end(key))
    }
  }

  async #carryOut(key: string, daemon: DiskDaemon): Promise<void> {
    const { queue, store, log } = this.#parts
    const { pool, layers } = store.get(key)
    const base = layers[KEPT_LAYERS - 1] ?? ''
    const job = await daemon.stream({ base, head: layers.at(-1) ?? '' }, this.#bytesPerSecond)
    const outcome = await job.outcome
    if (outcome === 'failed') log.warn({ key }, 'a chain of layers could not be shortened')
    const merged = layers.slice(KEPT_LAYERS, -1)
    if (outcome === 'done') await queue.run([key, poolKey(pool)], () => this.#conclude(key, daemon, merged))
  }

  #isLong(key: string): boolean {
    return (this.#parts.store.find(key)?.layers.length ?? 0) > MAX_LAYERS
  }

  /**
   * The manifest loses only layers that the process has let go of, and only when all that was in them is on disk in the
   * head. Whoever wanted the disk meanwhile has ended the process.
   */
  async #conclude(key: string, daemon: DiskDaemon, merged: readonly string[]): Promise<void> {
    const { store, layers, daemons } = this.#parts
    const manifest = store.get(key)
    const head = headOf(manifest)
    if (await daemon.isInUse(...merged)) return
    await daemon.writeOut({ base: manifest.layers[KEPT_LAYERS - 1] ?? '', head })
    await daemons.end(key)
    await layers.sync(manifest.pool, head)
    const gone = new Set(merged)
    await store.write(key, { ...manifest, layers: manifest.layers.filter((layer) => !gone.has(layer)) })
    await freeLayers(this.#parts, manifest.pool)
  }

  async #start(key: string): Promise<DiskDaemon | undefined> {
    const { daemons, layers } = this.#parts
    if (this.#isOver || !this.#isLong(key) || (await daemons.find(key))) return undefined
    const manifest = await settle(this.#parts, key)
    const folder = join(this.#folder, key, 'shorten')
    await mkdir(folder, { recursive: true })
    return daemons.start(key, {
      purpose: 'shorten',
      folder,
      graph: toGraph(this.#parts, manifest),
      groups: [],
      poolFolder: layers.poolFolder(manifest.pool),
    })
  }

  async #end(key: string): Promise<void> {
    await this.#parts.daemons.findServing(key)
    await rm(join(this.#folder, key, 'shorten'), { recursive: true, force: true })
  }
}
