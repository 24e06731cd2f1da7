/** Keeps one VM running and the table told of it. */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import type { Address, VmRecord } from '../routing/records.ts'
import { Reporter } from './reporter.ts'
import type { RunningVm, VmExit, Vmm, VmSpec } from './vmm.ts'

export interface LifecycleDeps {
  readonly vmm: Vmm
  /** Writes the VM's record to the table; called again until it succeeds. */
  readonly report: (record: VmRecord) => Promise<void>
  readonly log: Log
}

export interface LifecycleSpec extends VmSpec {
  /** Goes up with each change of the VM's owner; it is part of every report. */
  readonly generation: number
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
  /** The pause before a report that did not arrive is sent again. Default 1,000. */
  readonly reportRetryMs?: number
}

const DEFAULTS = {
  firstPauseMs: 500,
  maxPauseMs: 30_000,
  stableMs: 60_000,
  graceMs: 5_000,
  reportRetryMs: 1_000,
} as const satisfies Required<LifecycleSettings>

/**
 * Starts a VM, reports it as running with its ports (one attempt is waited for), and from then on reports
 * each exit and starts it again. Disposal stops the VM and reports it as stopped; it never rejects.
 * @throws whatever `vmm.start` throws at the first start; nothing is left running then
 */
export async function startVm(
  deps: LifecycleDeps,
  spec: LifecycleSpec,
  settings: LifecycleSettings = {},
): Promise<AsyncDisposable> {
  const lifecycle = new Lifecycle(deps, spec, { ...DEFAULTS, ...settings })
  await lifecycle.start()
  return lifecycle
}

class Lifecycle implements AsyncDisposable {
  readonly #deps: LifecycleDeps
  readonly #spec: LifecycleSpec
  readonly #settings: Required<LifecycleSettings>
  readonly #reporter: Reporter<VmRecord>
  readonly #ending = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #disposed: Promise<void> | undefined

  constructor(deps: LifecycleDeps, spec: LifecycleSpec, settings: Required<LifecycleSettings>) {
    this.#deps = deps
    this.#spec = spec
    this.#settings = settings
    this.#reporter = new Reporter(deps, { retryMs: settings.reportRetryMs })
  }

  async start(): Promise<void> {
    const first = await this.#deps.vmm.start(this.#spec)
    this.#running = this.#keepRunning(first)
    await this.#reporter.attempted()
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#end()
    return this.#disposed
  }

  async #end(): Promise<void> {
    this.#ending.abort()
    await this.#running
    await this.#reporter.end(this.#stopped())
  }

  async #keepRunning(first: RunningVm): Promise<void> {
    let vm: RunningVm | undefined = first
    let pauseMs = this.#settings.firstPauseMs
    while (!this.#ending.signal.aborted) {
      const startedAt = performance.now()
      if (vm) await this.#runToExit(vm)
      if (this.#ending.signal.aborted) return
      if (performance.now() - startedAt >= this.#settings.stableMs) pauseMs = this.#settings.firstPauseMs
      await setTimeout(pauseMs, undefined, { signal: this.#ending.signal }).catch(() => undefined)
      pauseMs = Math.min(pauseMs * 2, this.#settings.maxPauseMs)
      vm = await this.#restart()
    }
    await vm?.stop(this.#settings.graceMs)
  }

  async #runToExit(vm: RunningVm): Promise<void> {
    this.#reporter.publish(this.#record('running', vm.ports))
    const stop = () => void vm.stop(this.#settings.graceMs)
    this.#ending.signal.addEventListener('abort', stop)
    if (this.#ending.signal.aborted) stop()
    const exit = await vm.exited
    this.#ending.signal.removeEventListener('abort', stop)
    if (this.#ending.signal.aborted) return
    this.#logExit(exit)
    this.#reporter.publish(this.#stopped())
  }

  async #restart(): Promise<RunningVm | undefined> {
    if (this.#ending.signal.aborted) return undefined
    try {
      return await this.#deps.vmm.start(this.#spec, this.#ending.signal)
    } catch (error) {
      const { aborted } = this.#ending.signal
      if (!aborted) this.#deps.log.error({ vm: this.#spec.name, err: error }, 'VM could not be started again')
      return undefined
    }
  }

  #logExit({ lastLines, ...exit }: VmExit): void {
    this.#deps.log.error({ vm: this.#spec.name, ...exit, lastLines }, 'VM ended; it will be started again')
  }

  #stopped(): VmRecord {
    return this.#record('stopped', {})
  }

  #record(state: VmRecord['state'], ports: Readonly<Record<string, Address>>): VmRecord {
    return { name: this.#spec.name, state, generation: this.#spec.generation, ports }
  }
}
