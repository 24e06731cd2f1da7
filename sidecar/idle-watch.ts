/** Puts a VM to sleep that nobody has used for a while. */

import type { Log } from '../lib/log.ts'
import type { RunningVm, VmActivity } from './vmm.ts'

export interface IdleWatchDeps {
  readonly vm: Pick<RunningVm, 'name' | 'sampleActivity' | 'suspend'>
  /** How long nobody has to use it; undefined: never. Asked at each look, for it may change. */
  readonly idleSeconds: () => number | undefined
  readonly log: Log
}

/** A guest that does nothing takes up to 5 % of a CPU under emulation; one that takes more works for itself. */
const BUSY_SHARE = 0.1
const LOOKS_PER_IDLE = 5
const MIN_LOOK_MS = 1_000
const MAX_LOOK_MS = 10_000
const UNASKED_LOOK_MS = 5_000

interface Look extends VmActivity {
  readonly at: number
}

/** True when nobody was connected, nobody connected in between, and the VM did next to nothing by itself. */
export function isIdle(before: Look, now: Look): boolean {
  const seconds = (now.at - before.at) / 1_000
  const isUnused = now.connections === 0 && before.connections === 0 && now.accepted === before.accepted
  return isUnused && now.cpuSeconds - before.cpuSeconds <= BUSY_SHARE * seconds
}

/** Ends with disposal. A suspension that fails is tried again after as long again. */
export function startIdleWatch(deps: IdleWatchDeps): Disposable {
  return new IdleWatch(deps)
}

class IdleWatch implements Disposable {
  readonly #deps: IdleWatchDeps
  #timer: NodeJS.Timeout | undefined
  #last: Look | undefined
  #idleSince: number | undefined
  #isOver = false

  constructor(deps: IdleWatchDeps) {
    this.#deps = deps
    this.#schedule()
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #schedule(): void {
    if (this.#isOver) return
    const seconds = this.#deps.idleSeconds()
    const lookMs = seconds === undefined ? UNASKED_LOOK_MS : (seconds * 1_000) / LOOKS_PER_IDLE
    const waitMs = Math.min(Math.max(lookMs, MIN_LOOK_MS), MAX_LOOK_MS)
    this.#timer = setTimeout(() => void this.#look().then(() => this.#schedule()), waitMs)
    this.#timer.unref()
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { vm, log, idleSeconds } = this.#deps
    const seconds = idleSeconds()
    if (seconds === undefined) return this.#forget()
    try {
      const activity = await vm.sampleActivity()
      if (this.#isOver) return
      const idleMs = this.#measure(activity)
      if (idleMs < seconds * 1_000) return
      this.#forget()
      log.info({ vm: vm.name, idleSeconds: Math.round(idleMs / 1_000) }, 'VM is idle and goes to sleep')
      await vm.suspend()
    } catch (error) {
      log.warn({ vm: vm.name, err: error }, 'an idle VM could not be put to sleep')
    }
  }

  #forget(): void {
    this.#last = undefined
    this.#idleSince = undefined
  }

  /** For how long it has been idle; a VM that does not tell counts as busy. */
  #measure(activity: VmActivity | undefined): number {
    const now = activity && { ...activity, at: performance.now() }
    const isStill = this.#last !== undefined && now !== undefined && isIdle(this.#last, now)
    this.#idleSince = isStill ? (this.#idleSince ?? this.#last?.at) : undefined
    this.#last = now
    return this.#idleSince === undefined || now === undefined ? 0 : now.at - this.#idleSince
  }
}
