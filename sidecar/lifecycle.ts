/** Keeps one VM running and says at each change how it is. */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { describeEnd, describeStartError, STOPPED, toFailed, type VmStatus } from './vm-status.ts'
import type { RunningVm, VmExit, Vmm, VmSpec } from './vmm.ts'

export interface LifecycleDeps {
  readonly vmm: Pick<Vmm, 'start'>
  /** Called at each change. */
  readonly publish: (status: VmStatus) => void
  readonly log: Log
}

export interface LifecycleSettings {
  /** The first pause before a restart; each further one is twice as long. Default 500. */
  readonly firstPauseMs?: number
  /** No pause is longer. Default 30,000. */
  readonly maxPauseMs?: number
  /** A VM that ran for this long starts over with the first pause. Default 60,000. */
  readonly stableMs?: number
  /** How long a VM may take to shut down before it is ended. Default 5,000. */
  readonly graceMs?: number
}

const DEFAULTS = {
  firstPauseMs: 500,
  maxPauseMs: 30_000,
  stableMs: 60_000,
  graceMs: 5_000,
} as const satisfies Required<LifecycleSettings>

export interface VmLifecycle extends AsyncDisposable {
  /** Settles when the first start is over, well or badly. */
  readonly attempted: Promise<void>
}

/**
 * Returns at once. Starts the VM, again and again if need be, and starts it again whenever it ends. Disposal stops
 * it and settles when nothing of it is left; it never rejects.
 */
export function startVm(deps: LifecycleDeps, spec: VmSpec, settings: LifecycleSettings = {}): VmLifecycle {
  return new Lifecycle(deps, spec, { ...DEFAULTS, ...settings })
}

class Lifecycle implements VmLifecycle {
  readonly #deps: LifecycleDeps
  readonly #spec: VmSpec
  readonly #settings: Required<LifecycleSettings>
  readonly #ending = new AbortController()
  readonly #attempted = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  #disposed: Promise<void> | undefined

  constructor(deps: LifecycleDeps, spec: VmSpec, settings: Required<LifecycleSettings>) {
    this.#deps = deps
    this.#spec = spec
    this.#settings = settings
    this.#running = this.#keepRunning()
  }

  get attempted(): Promise<void> {
    return this.#attempted.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#end()
    return this.#disposed
  }

  async #end(): Promise<void> {
    this.#ending.abort()
    await this.#running
    this.#deps.publish(STOPPED)
  }

  async #keepRunning(): Promise<void> {
    const { firstPauseMs, maxPauseMs, stableMs } = this.#settings
    let pauseMs = firstPauseMs
    while (!this.#isEnding) {
      const vm = await this.#start()
      this.#attempted.resolve()
      const ranMs = vm ? await this.#runToExit(vm) : 0
      if (this.#isEnding) return
      if (ranMs >= stableMs) pauseMs = firstPauseMs
      await setTimeout(pauseMs, undefined, { signal: this.#ending.signal }).catch(() => undefined)
      pauseMs = Math.min(pauseMs * 2, maxPauseMs)
    }
  }

  get #isEnding(): boolean {
    return this.#ending.signal.aborted
  }

  async #start(): Promise<RunningVm | undefined> {
    try {
      const vm = await this.#deps.vmm.start(this.#spec, this.#ending.signal)
      if (!this.#isEnding) this.#deps.publish({ state: 'running', ports: vm.ports })
      return vm
    } catch (error) {
      if (this.#isEnding) return undefined
      this.#deps.log.error({ vm: this.#spec.name, err: error }, 'VM could not be started')
      this.#deps.publish(toFailed(describeStartError(error)))
      return undefined
    }
  }

  /** Returns for how many milliseconds it ran. */
  async #runToExit(vm: RunningVm): Promise<number> {
    const startedAt = performance.now()
    const stop = () => void vm.stop(this.#settings.graceMs)
    this.#ending.signal.addEventListener('abort', stop)
    if (this.#isEnding) stop()
    const exit = await vm.exited
    this.#ending.signal.removeEventListener('abort', stop)
    if (!this.#isEnding) this.#reportExit(exit)
    return performance.now() - startedAt
  }

  #reportExit(exit: VmExit): void {
    this.#deps.log.error({ vm: this.#spec.name, ...exit }, 'VM ended; it will be started again')
    this.#deps.publish(toFailed(describeEnd(exit)))
  }
}
