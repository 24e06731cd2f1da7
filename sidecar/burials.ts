/** Deletes the files of deleted VMs and snapshots, once their time of grace is over. */

import type { Log } from '../lib/log.ts'
import { keyOfVm, type VmId } from './vm-id.ts'

/** The table's word that something was deleted. */
export interface Grave {
  readonly vm: string
  readonly vmCreatedAt: string
  readonly pool: string
  /** A snapshot of it alone; else the whole VM. */
  readonly snapshot?: string
  readonly deletedAt: string
}

export interface BurialDeps {
  /** True while the VM has not been stopped here yet. */
  readonly isKept: (vm: VmId) => boolean
  /** Deletes a VM's files; again does no harm. */
  readonly remove: (vm: VmId) => Promise<void>
  readonly deleteSnapshot: (vm: VmId, id: string) => Promise<void>
  /** Tells the table that there is nothing left. */
  readonly clear: (grave: Grave) => Promise<void>
  /** True when the disk is so short of room that graces end, those of the pool first that deleted most. */
  readonly isShort: () => Promise<boolean>
  readonly log: Log
}

export interface BurialSettings {
  /** Between the deletion and the end of the files. */
  readonly graceMs: number
  /** Between two looks, at most. Default 10,000. */
  readonly lookMs?: number
}

export interface Burials extends AsyncDisposable {
  /** Returns at once; known ones may come again. */
  bury(grave: Grave): void
  /** Whether the VM of this key (`keyOfVm`), or the snapshot of it, is deleted and its files are still there. */
  has(key: string, snapshot?: string): boolean
  /** Whether there is anything whose files have still to go. */
  readonly hasAny: boolean
}

const FIRST_LOOK_MS = 20

/** Disposal waits for a deletion under way; what is left is told again by the table. */
export function startBurials(deps: BurialDeps, { graceMs, lookMs = 10_000 }: BurialSettings): Burials {
  return new Undertaker(deps, { graceMs, lookMs })
}

class Undertaker implements Burials {
  readonly #deps: BurialDeps
  readonly #settings: Required<BurialSettings>
  readonly #graves = new Map<string, Grave>()
  #timer: NodeJS.Timeout | undefined
  #look: Promise<void> | undefined
  #isOver = false

  constructor(deps: BurialDeps, settings: Required<BurialSettings>) {
    this.#deps = deps
    this.#settings = settings
  }

  bury(grave: Grave): void {
    const { vm: name, vmCreatedAt: createdAt, snapshot } = grave
    this.#graves.set(nameOf(keyOfVm({ name, createdAt }), snapshot), grave)
    this.#schedule(FIRST_LOOK_MS)
  }

  has(key: string, snapshot?: string): boolean {
    return this.#graves.has(nameOf(key, snapshot))
  }

  get hasAny(): boolean {
    return this.#graves.size > 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    clearTimeout(this.#timer)
    await this.#look
  }

  #schedule(waitMs: number): void {
    if (this.#isOver || this.#look !== undefined) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#look = this.#lookAtAll().finally(() => {
        this.#look = undefined
        if (this.#graves.size > 0) this.#schedule(this.#settings.lookMs)
      })
    }, waitMs)
    this.#timer.unref()
  }

  /** Never rejects. */
  async #lookAtAll(): Promise<void> {
    for (const [key, grave] of this.#graves) {
      const isDue = Date.now() >= Date.parse(grave.deletedAt) + this.#settings.graceMs
      if (isDue && !this.#isOver) await this.#empty(key, grave)
    }
    const tried = new Set<string>()
    while (!this.#isOver && (await this.#deps.isShort().catch(() => false))) {
      const next = findFirst([...this.#graves].filter(([key]) => !tried.has(key)))
      if (next === undefined) return
      tried.add(next[0])
      await this.#empty(...next)
    }
  }

  async #empty(key: string, grave: Grave): Promise<void> {
    if (await this.#delete(grave)) this.#graves.delete(key)
  }

  /** False when it has to be tried again. */
  async #delete(grave: Grave): Promise<boolean> {
    const { isKept, remove, deleteSnapshot, clear, log } = this.#deps
    const vm = { name: grave.vm, createdAt: grave.vmCreatedAt }
    const about = { vm: vm.name, ...(grave.snapshot !== undefined && { snapshot: grave.snapshot }) }
    if (grave.snapshot === undefined && isKept(vm)) return false
    try {
      await (grave.snapshot === undefined ? remove(vm) : deleteSnapshot(vm, grave.snapshot))
      await clear(grave)
      log.info({ ...about, deletedAt: grave.deletedAt }, 'files of what was deleted are gone')
      return true
    } catch (error) {
      log.warn({ ...about, err: error }, 'files of what was deleted could not be removed; tried again later')
      return false
    }
  }
}

function nameOf(key: string, snapshot = ''): string {
  return `${key}/${snapshot}`
}

/** The oldest of the pool that has most: who deletes in order to fill the disk gives up his own grace first. */
function findFirst(graves: readonly (readonly [string, Grave])[]): readonly [string, Grave] | undefined {
  const counts = new Map<string, number>()
  for (const [, { pool }] of graves) counts.set(pool, (counts.get(pool) ?? 0) + 1)
  const countOf = ({ pool }: Grave) => counts.get(pool) ?? 0
  return graves.toSorted(
    ([, one], [, other]) =>
      countOf(other) - countOf(one) || Date.parse(one.deletedAt) - Date.parse(other.deletedAt),
  )[0]
}
