/** One VM as its host is told to keep it: one step after the other, and the last wish counts. */

import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../lib/log.ts'
import {
  type Ending,
  type KeptSpec,
  type LifecycleSettings,
  type LifecycleVmm,
  startVm,
  type VmLifecycle,
} from './lifecycle.ts'
import { Reporter, type ReporterSettings } from './reporter.ts'
import { describeStartError, STOPPED, toFailed, type VmStatus } from './vm-status.ts'
import type { RunningVm } from './vmm.ts'

/** Something to be done once. */
export interface VmCall {
  readonly id: string
  readonly what: 'wake' | 'suspend' | 'restart'
}

/** The disk shall be as a snapshot is; each wish has an id of its own, under which the present is kept. */
export interface RestoreWish {
  readonly id: string
  readonly snapshot: string
}

/** A VM whose pool is placed on this host. */
export interface WantedVm extends KeptSpec {
  readonly state: 'running' | 'stopped'
  readonly restore?: RestoreWish
  readonly call?: VmCall
}

export interface KeptVmDeps {
  readonly vmm: LifecycleVmm
  /** Tells the table how the VM of that name is that was made at `createdAt`; called again until it succeeds. */
  readonly report: (name: string, status: VmStatus, createdAt: string) => Promise<void>
  /**
   * Puts a disk back, once for each wish, also over restarts of ours. Before it changes the disk it calls `rest`, which
   * ends what an earlier process may have left of the VM, with the memory of one that sleeps.
   */
  readonly restore: (vm: WantedVm, wish: RestoreWish, rest: () => Promise<void>) => Promise<void>
  /** Tells the table that a call was carried out, or was in vain; called again until it succeeds. */
  readonly clearCall: (name: string, call: VmCall) => Promise<void>
  readonly log: Log
  /** The VM was given up, and the table knows. */
  readonly onGone: (name: string) => void
}

export interface KeptVmSettings {
  readonly lifecycle: LifecycleSettings
  readonly reports: ReporterSettings
  /** What becomes of VMs at our own end. */
  readonly atEnd: Ending
}

/** Before a disk that could not be put back is tried again; twice as long each further time. */
const FIRST_RETRY_MS = 1_000
const MAX_RETRY_MS = 30_000

/** Of which VM it was said: one that is being shut down must not speak for the next of its name. */
interface Said {
  readonly status: VmStatus
  readonly createdAt: string
}

export class KeptVm {
  readonly #name: string
  readonly #deps: KeptVmDeps
  readonly #settings: KeptVmSettings
  readonly #reporter: Reporter<Said>
  readonly #clearer: Reporter<VmCall>
  /** What is wanted now; undefined when the VM is none of ours any more. */
  #wish: WantedVm | undefined
  /** The wish that was last carried out; undefined at first. */
  #carriedOut: { readonly wish: WantedVm | undefined } | undefined
  /** As it was last wanted. */
  #vm: WantedVm
  #run: { readonly vm: WantedVm; readonly lifecycle: VmLifecycle } | undefined
  /** True while an earlier process of this host may have left it running or asleep. */
  #mayBeLeft = true
  #said: Said | undefined
  #isTurning = false
  #turning: Promise<void> = Promise.resolve()
  #isEnding = false
  /** Never rejects. */
  #answering: Promise<void> = Promise.resolve()
  #lastCall: string | undefined
  #lastRestore: string | undefined
  #retryMs = FIRST_RETRY_MS
  #retry: NodeJS.Timeout | undefined

  constructor(vm: WantedVm, deps: KeptVmDeps, settings: KeptVmSettings) {
    this.#name = vm.name
    this.#vm = vm
    this.#deps = deps
    this.#settings = settings
    const report = ({ status, createdAt }: Said) => deps.report(vm.name, status, createdAt)
    const about = { vm: vm.name }
    this.#reporter = new Reporter({ report, log: deps.log, about }, settings.reports)
    const clear = (call: VmCall) => deps.clearCall(vm.name, call)
    this.#clearer = new Reporter({ report: clear, log: deps.log, about }, settings.reports)
    this.want(vm)
  }

  /** As it was last wanted; its pool pays for what it uses. */
  get wanted(): WantedVm {
    return this.#vm
  }

  get running(): RunningVm | undefined {
    return this.#run?.lifecycle.running
  }

  want(vm: WantedVm): void {
    this.#vm = vm
    this.#turnTo(vm)
  }

  /** It is no longer ours, or was deleted; its files stay. */
  release(): void {
    this.#turnTo(undefined)
  }

  /** What the table says of it now, undefined for nothing. Said again when it is not what we last said. */
  compareReport(report: VmStatus | undefined): void {
    if (this.#said === undefined || (report && isSame(report, this.#said.status))) return
    this.#reporter.publish(this.#said)
  }

  /** Settles when the last wish was tried once, and the table told of it once, well or badly. */
  async attempted(): Promise<void> {
    await this.#turning
    await this.#run?.lifecycle.attempted
    await this.#reporter.attempted()
  }

  /** Lets it go, and says so with one attempt. */
  async end(): Promise<void> {
    this.#isEnding = true
    clearTimeout(this.#retry)
    await this.#turning
    await this.#stop(this.#settings.atEnd)
    await this.#answering
    await this.#reporter[Symbol.asyncDispose]()
    await this.#clearer[Symbol.asyncDispose]()
  }

  #turnTo(wish: WantedVm | undefined): void {
    this.#wish = wish
    if (!this.#isTurning) this.#turning = this.#turn()
  }

  /** Never rejects. A wish that comes after its last look at `#wish` must find that it is over. */
  async #turn(): Promise<void> {
    this.#isTurning = true
    while (!this.#isEnding && (this.#carriedOut === undefined || this.#carriedOut.wish !== this.#wish)) {
      const wish = this.#wish
      await this.#carryOut(wish)
      this.#carriedOut = { wish }
    }
    this.#isTurning = false
    if (!this.#isEnding && this.#wish === undefined) void this.#leave()
  }

  async #carryOut(vm: WantedVm | undefined): Promise<void> {
    if (vm === undefined) {
      await this.#stop('abandon')
      return this.#publish(this.#vm, STOPPED)
    }
    if (!this.#runs(vm)) await this.#stop('stop')
    const isRestored = await this.#restore(vm)
    if (isRestored && vm.state === 'running') this.#start(vm)
    else if (isRestored) await this.#rest(vm)
    this.#answering = this.#answer(vm, this.#answering)
  }

  #runs(vm: WantedVm): boolean {
    const { image, createdAt, restore, cpus, memoryBytes } = this.#run?.vm ?? {}
    const isSameMachine = vm.cpus === cpus && vm.memoryBytes === memoryBytes
    const isSameDisk = vm.image === image && vm.createdAt === createdAt && vm.restore?.id === restore?.id
    return vm.state === 'running' && isSameMachine && isSameDisk
  }

  #start(vm: WantedVm): void {
    if (this.#run) {
      if (!isDeepStrictEqual(this.#run.vm, vm)) this.#run.lifecycle.update(vm)
      this.#run = { vm, lifecycle: this.#run.lifecycle }
      return
    }
    const { vmm, log } = this.#deps
    const publish = (status: VmStatus) => this.#publish(vm, status)
    this.#mayBeLeft = false
    this.#run = { vm, lifecycle: startVm({ vmm, log, publish }, vm, this.#settings.lifecycle) }
  }

  /** Nothing of it runs, nor does its memory wait, when this settles. */
  async #rest(vm: WantedVm): Promise<void> {
    if (this.#mayBeLeft) {
      const { vmm, log } = this.#deps
      await startVm({ vmm, log, publish: () => undefined }, vm, this.#settings.lifecycle).end('stop')
    }
    this.#mayBeLeft = false
    this.#publish(vm, STOPPED)
  }

  /** Memory that could not be dropped when the VM came to rest would destroy a disk that is put back. @throws what `forget` throws */
  async #restForGood(vm: WantedVm): Promise<void> {
    const { vmm } = this.#deps
    await this.#rest(vm)
    if (await vmm.isSuspended(vm)) await vmm.forget(vm)
  }

  /** False when the disk could not be put back: the VM must not run on another one than it was meant to. */
  async #restore(vm: WantedVm): Promise<boolean> {
    const { restore } = vm
    if (restore === undefined || restore.id === this.#lastRestore) return true
    try {
      await this.#deps.restore(vm, restore, () => this.#restForGood(vm))
      this.#lastRestore = restore.id
      this.#retryMs = FIRST_RETRY_MS
      return true
    } catch (error) {
      this.#deps.log.error({ vm: this.#name, err: error }, "a VM's disk could not be put back")
      this.#publish(vm, toFailed(describeStartError(error)))
      this.#restoreLater(vm)
      return false
    }
  }

  /** Unless something else is wanted by then. */
  #restoreLater(vm: WantedVm): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      if (this.#wish !== vm || this.#isEnding) return
      this.#carriedOut = undefined
      this.#turnTo(vm)
    }, this.#retryMs)
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS)
  }

  /** Carries out a call, once, and clears it when the table knows what became of it. */
  async #answer({ call }: WantedVm, earlier: Promise<void>): Promise<void> {
    if (call === undefined || call.id === this.#lastCall) return earlier
    this.#lastCall = call.id
    await earlier
    try {
      await this.#run?.lifecycle[call.what]()
    } catch (error) {
      const about = { vm: this.#name, what: call.what }
      this.#deps.log.warn({ ...about, err: error }, 'a call could not be carried out')
    }
    await this.#reporter.attempted()
    this.#clearer.publish(call)
  }

  async #stop(how: Ending): Promise<void> {
    await this.#run?.lifecycle.end(how)
    this.#run = undefined
  }

  #publish({ createdAt }: WantedVm, status: VmStatus): void {
    this.#said = { status, createdAt }
    this.#reporter.publish(this.#said)
  }

  async #leave(): Promise<void> {
    await Promise.all([this.#reporter.drained(), this.#clearer.drained()])
    const isOver = this.#wish === undefined && !this.#isTurning && !this.#isEnding
    if (isOver) this.#deps.onGone(this.#name)
  }
}

function isSame(one: VmStatus, other: VmStatus): boolean {
  const of = ({ state, message, ports, defaultPort, hostKey }: VmStatus) => ({
    state,
    message,
    ports,
    defaultPort,
    hostKey,
  })
  return isDeepStrictEqual(of(one), of(other))
}
