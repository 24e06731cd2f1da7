/** Keeps one VM running, or asleep until somebody wants it, and says at each change how it is. */

import type { Log } from '../lib/log.ts'
import { SidecarError } from './errors.ts'
import { startIdleWatch } from './idle-watch.ts'
import { RestartPause } from './restart-pause.ts'
import { describeEnd, describeStartError, STOPPED, toAsleep, toFailed, type VmStatus } from './vm-status.ts'
import type { RunningVm, VmExit, Vmm, VmSpec } from './vmm.ts'
import { hasSettled, onAbort } from './waits.ts'

export type LifecycleVmm = Pick<Vmm, 'start' | 'adopt' | 'isSuspended' | 'forget'>

export interface LifecycleDeps {
  readonly vmm: LifecycleVmm
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

/** What is to run, and when it may be put to sleep. */
export interface KeptSpec extends VmSpec {
  /** How long nobody has used it; never when absent. */
  readonly suspendAfterSeconds?: number
}

const DEFAULTS = {
  firstPauseMs: 500,
  maxPauseMs: 30_000,
  stableMs: 60_000,
  graceMs: 5_000,
} as const satisfies Required<LifecycleSettings>

/**
 * How a VM is let go. `stop`: it shuts down, and is woken for that if need be. `abandon`: the same, but nobody wants
 * its memory any more. `detach`: it goes on, or sleeps on, without us.
 */
export type Ending = 'stop' | 'abandon' | 'detach'

export interface VmLifecycle {
  /** Settles when the first start is over, well or badly. */
  readonly attempted: Promise<void>
  /** While it runs. */
  readonly running: RunningVm | undefined
  /** What can be changed while it runs changes now, the rest at its next start. */
  update(spec: KeptSpec): void
  /** A VM that sleeps goes on; nothing happens to another. Settles when that was tried. */
  wake(): Promise<void>
  /** @throws SidecarError `vm_suspend_failed`, also when it does not run */
  suspend(): Promise<void>
  /**
   * Shuts it down and starts it again at once; one that sleeps loses its memory, as with a reset. Settles when its
   * start was tried.
   */
  restart(): Promise<void>
  /** Never rejects; settles when nothing of ours is left of it. The first way counts. */
  end(how: Ending): Promise<void>
}

/**
 * Returns at once. Finds the VM running or asleep, or starts it, again and again if need be, and starts it again
 * whenever it ends by itself.
 */
export function startVm(deps: LifecycleDeps, spec: KeptSpec, settings: LifecycleSettings = {}): VmLifecycle {
  return new Lifecycle(deps, spec, { ...DEFAULTS, ...settings })
}

class Lifecycle implements VmLifecycle {
  readonly #deps: LifecycleDeps
  readonly #settings: Required<LifecycleSettings>
  readonly #ending = new AbortController()
  readonly #attempted = Promise.withResolvers<void>()
  readonly #over: Promise<void>
  #spec: KeptSpec
  #how: Ending | undefined
  #vm: RunningVm | undefined
  #sleep: { readonly wake: () => void } | undefined
  /** Resolved when the next start was tried. */
  #started = Promise.withResolvers<void>()
  #isRestarting = false
  readonly #restartPause: RestartPause

  constructor(deps: LifecycleDeps, spec: KeptSpec, settings: Required<LifecycleSettings>) {
    this.#deps = deps
    this.#spec = spec
    this.#settings = settings
    this.#restartPause = new RestartPause(settings)
    this.#over = this.#live()
  }

  get attempted(): Promise<void> {
    return this.#attempted.promise
  }

  get running(): RunningVm | undefined {
    return this.#vm
  }

  update(spec: KeptSpec, vm = this.#vm): void {
    this.#spec = spec
    vm?.update(spec).catch((error: unknown) => this.#warn(error, 'a running VM could not be changed'))
  }

  /** What is called as soon as we are there waits until it is known how the VM was left. */
  async wake(): Promise<void> {
    await this.#attempted.promise
    if (!this.#sleep) return
    this.#sleep.wake()
    await this.#started.promise
  }

  async suspend(): Promise<void> {
    await this.#attempted.promise
    if (!this.#vm) throw new SidecarError('vm_suspend_failed', { detail: 'It does not run.' })
    await this.#vm.suspend()
  }

  async restart(): Promise<void> {
    await this.#attempted.promise
    if (this.#sleep) {
      await this.#forget()
      return this.wake()
    }
    if (!this.#vm) return
    this.#isRestarting = true
    this.#started = Promise.withResolvers()
    const { promise } = this.#started
    await this.#vm.stop(this.#settings.graceMs)
    await promise
  }

  async end(how: Ending): Promise<void> {
    this.#how ??= how
    this.#ending.abort()
    await this.#over
  }

  /** Never rejects. */
  async #live(): Promise<void> {
    let exit = await this.#findAsleep()
    while (!this.#isEnding) {
      if (exit?.isSuspended) await this.#sleepOn()
      if (this.#isEnding) break
      exit = await this.#run()
    }
    await this.#letGo(exit)
    this.#sayStarted()
  }

  #sayStarted(): void {
    this.#attempted.resolve()
    this.#started.resolve()
  }

  async #findAsleep(): Promise<VmExit | undefined> {
    const [{ vmm }, spec] = [this.#deps, this.#spec]
    try {
      this.#vm = await vmm.adopt(spec)
      if (this.#spec !== spec) this.update(this.#spec)
      if (this.#vm || !(await vmm.isSuspended(spec))) return undefined
      return { lastLines: [], isSuspended: true }
    } catch (error) {
      this.#warn(error, 'what is left of a VM could not be found')
      return undefined
    }
  }

  async #sleepOn(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#started = Promise.withResolvers()
    this.#sleep = { wake: resolve }
    this.#deps.publish(toAsleep())
    this.#attempted.resolve()
    using _ending = onAbort(this.#ending.signal, resolve)
    await promise
    this.#sleep = undefined
  }

  /** One run from its start to its end, and the pause before the next. */
  async #run(): Promise<VmExit | undefined> {
    this.#vm ??= await this.#start()
    const vm = this.#vm
    if (vm && !this.#isEnding) this.#publishRunning(vm)
    this.#sayStarted()
    const startedAt = performance.now()
    const exit = vm && (await this.#watch(vm))
    this.#vm = this.#how === 'detach' ? vm : undefined
    if (this.#isEnding) return exit
    if (exit?.isSuspended) return this.#isRestarting ? this.#awaken() : exit
    if (!this.#isRestarting) await this.#restartPause.wait(performance.now() - startedAt, this.#ending.signal)
    this.#isRestarting = false
    return exit
  }

  async #start(): Promise<RunningVm | undefined> {
    const { log, publish } = this.#deps
    const spec = this.#spec
    try {
      const vm = await this.#deps.vmm.start(spec, this.#ending.signal)
      if (this.#spec !== spec) this.update(this.#spec, vm)
      return vm
    } catch (error) {
      if (this.#isEnding) return undefined
      log.error({ vm: this.#spec.name, err: error }, 'VM could not be started')
      publish(toFailed(describeStartError(error)))
      return undefined
    }
  }

  #publishRunning(vm: RunningVm): void {
    const say = () => this.#deps.publish({ state: 'running', ...vm.facts })
    vm.onFacts(say)
    say()
  }

  /** Until it has ended, or we let it go. */
  async #watch(vm: RunningVm): Promise<VmExit | undefined> {
    using _watch = startIdleWatch({
      vm,
      log: this.#deps.log,
      idleSeconds: () => this.#spec.suspendAfterSeconds,
    })
    const letGo = Promise.withResolvers<undefined>()
    const onEnding = () => {
      if (this.#how === 'detach') letGo.resolve(undefined)
      else void vm.stop(this.#settings.graceMs)
    }
    using _ending = onAbort(this.#ending.signal, onEnding)
    const exit = await Promise.race([vm.exited, letGo.promise])
    if (exit && !exit.isSuspended && !this.#isEnding && !this.#isRestarting) this.#reportExit(exit)
    return exit
  }

  /** It fell asleep while it was told to restart: as with a reset, its memory is lost. */
  async #awaken(): Promise<undefined> {
    await this.#forget()
    this.#isRestarting = false
  }

  #reportExit(exit: VmExit): void {
    this.#deps.log.error({ vm: this.#spec.name, ...exit }, 'VM ended; it will be started again')
    this.#deps.publish(toFailed(describeEnd(exit)))
  }

  /** The last step. */
  async #letGo(exit: VmExit | undefined): Promise<void> {
    const isAsleep = exit?.isSuspended === true
    if (this.#how === 'detach') return this.#detach(isAsleep)
    // It was found only after we were told to end.
    await this.#vm
      ?.stop(this.#settings.graceMs)
      .catch((error: unknown) => this.#warn(error, 'a VM that was found running could not be stopped'))
    this.#vm = undefined
    if (isAsleep && this.#how === 'stop') await this.#wakeAndStop()
    if (isAsleep) await this.#forget()
    this.#deps.publish(STOPPED)
  }

  /** A driver whose VMs end with us has stopped it. */
  async #detach(isAsleep: boolean): Promise<void> {
    const vm = this.#vm
    await vm?.detach().catch((error: unknown) => this.#warn(error, 'a VM could not be let go'))
    const isOver = vm === undefined ? !isAsleep : await hasSettled(vm.exited)
    if (isOver) this.#deps.publish(STOPPED)
  }

  /** What its memory holds is not on its disk yet. */
  async #wakeAndStop(): Promise<void> {
    try {
      const vm = await this.#deps.vmm.start(this.#spec)
      await vm.stop(this.#settings.graceMs)
    } catch (error) {
      this.#warn(error, 'a VM that slept could not be woken to shut down')
    }
  }

  async #forget(): Promise<void> {
    await this.#deps.vmm
      .forget(this.#spec)
      .catch((error: unknown) => this.#warn(error, 'the memory of a VM that slept could not be dropped'))
  }

  #warn(err: unknown, message: string): void {
    this.#deps.log.warn({ vm: this.#spec.name, err }, message)
  }

  get #isEnding(): boolean {
    return this.#ending.signal.aborted
  }
}
