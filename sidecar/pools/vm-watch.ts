/** Follows one running VM from look to look: since when nobody uses it, and whether its balloon obeys. */

import type { VmActivity } from '../vmm.ts'
import type { VmView } from './pressure-step.ts'

/** A running VM, as the ladder sees it. */
export interface PressedVm {
  /** Tells this run of the VM from all others on this host. */
  readonly run: string
  readonly name: string
  readonly pool: string
  /** What the guest was given. */
  readonly memoryBytes: number
  /** Its owner allows it, and the next request wakes it. */
  readonly canSuspend: boolean
  /** What its balloon leaves the guest now; undefined when it has none. */
  sampleBalloon(): Promise<number | undefined>
  setBalloon(guestBytes: number): Promise<void>
  sampleActivity(): Promise<VmActivity | undefined>
  suspend(): Promise<void>
}

export interface WatchSettings {
  /** Of a VM's memory, and never less than `floorBytes`. */
  readonly floorShare: number
  readonly floorBytes: number
  /** After so many steps without effect a balloon is left alone, */
  readonly maxFailures: number
  /** for so long. */
  readonly stuckMs: number
}

const MS_PER_SECOND = 1_000

export class VmWatch {
  readonly #settings: WatchSettings
  #last: { readonly now: number; readonly activity: VmActivity | undefined } | undefined
  /** The look at which it was last known to be used. */
  #usedAt: number
  #asked: number | undefined
  #failures = 0
  #stuckUntil = Number.NEGATIVE_INFINITY

  constructor(settings: WatchSettings, now: number) {
    this.#settings = settings
    this.#usedAt = now
  }

  /** A VM that does not tell of its use counts as in use. */
  async look(vm: PressedVm, now: number): Promise<VmView> {
    const [activity, guestBytes] = await Promise.all([vm.sampleActivity(), vm.sampleBalloon()])
    const { floorShare, floorBytes } = this.#settings
    const last = this.#last
    if (isUsed(last?.activity, activity)) this.#usedAt = now
    this.#judgeBalloon(guestBytes, now)
    this.#last = { now, activity }
    return {
      vm: vm.name,
      memoryBytes: vm.memoryBytes,
      guestBytes,
      floorBytes: Math.min(vm.memoryBytes, Math.max(floorBytes, Math.floor(vm.memoryBytes * floorShare))),
      isStuck: now < this.#stuckUntil,
      idleMs: now - this.#usedAt,
      cpuShare: cpuShareBetween(last, { now, activity }),
      canSuspend: vm.canSuspend,
    }
  }

  /** The balloon is asked to leave so much. */
  noteAsked(guestBytes: number): void {
    this.#asked = guestBytes
  }

  /** It counts when the guest has not given all of it by the next look; a large step may take several. */
  #judgeBalloon(guestBytes: number | undefined, now: number): void {
    const { maxFailures, stuckMs } = this.#settings
    const asked = this.#asked
    this.#asked = undefined
    if (asked === undefined || guestBytes === undefined) return
    this.#failures = guestBytes > asked ? this.#failures + 1 : 0
    if (this.#failures < maxFailures) return
    this.#failures = 0
    this.#stuckUntil = now + stuckMs
  }
}

function isUsed(before: VmActivity | undefined, now: VmActivity | undefined): boolean {
  if (now === undefined || now.connections > 0) return true
  return before !== undefined && before.accepted !== now.accepted
}

type Look = { readonly now: number; readonly activity: VmActivity | undefined }

function cpuShareBetween(before: Look | undefined, after: Look): number {
  if (before?.activity === undefined || after.activity === undefined || after.now <= before.now) return 0
  const seconds = (after.now - before.now) / MS_PER_SECOND
  return Math.max(0, after.activity.cpuSeconds - before.activity.cpuSeconds) / seconds
}
