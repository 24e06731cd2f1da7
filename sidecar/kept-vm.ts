/** One VM as its host is told to keep it: one step after the other, and the last wish counts. */

import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../lib/log.ts'
import { type LifecycleSettings, startVm, type VmLifecycle } from './lifecycle.ts'
import { Reporter, type ReporterSettings } from './reporter.ts'
import { STOPPED, toFailed, type VmStatus } from './vm-status.ts'
import type { Vmm } from './vmm.ts'

/** A VM whose pool is placed on this host. */
export interface WantedVm {
  readonly name: string
  readonly pool: string
  readonly image: string
  /** Another one makes it another VM. */
  readonly createdAt: string
  readonly state: 'running' | 'stopped'
}

export interface KeptVmDeps {
  readonly vmm: Pick<Vmm, 'start' | 'remove'>
  /** What each image boots. */
  readonly images: ReadonlyMap<string, string>
  /** Tells the table; called again until it succeeds. */
  readonly report: (name: string, status: VmStatus) => Promise<void>
  readonly log: Log
  /** The VM was given up, and the table knows. */
  readonly onGone: (name: string) => void
}

export interface KeptVmSettings {
  readonly lifecycle: LifecycleSettings
  readonly reports: ReporterSettings
}

export class KeptVm implements AsyncDisposable {
  readonly #name: string
  readonly #deps: KeptVmDeps
  readonly #settings: KeptVmSettings
  readonly #reporter: Reporter<VmStatus>
  /** What is wanted now; undefined when the VM is none of ours any more. */
  #wish: WantedVm | undefined
  /** The wish that was last carried out; undefined at first. */
  #carriedOut: { readonly wish: WantedVm | undefined } | undefined
  /** As it was last wanted. */
  #vm: WantedVm
  /** Deleted ones of this name, whose files are still there, by when they were made. */
  readonly #doomed = new Map<string, WantedVm>()
  #run: { readonly vm: WantedVm; readonly lifecycle: VmLifecycle } | undefined
  #status: VmStatus | undefined
  #isTurning = false
  #turning: Promise<void> = Promise.resolve()
  #isEnding = false

  constructor(vm: WantedVm, deps: KeptVmDeps, settings: KeptVmSettings) {
    this.#name = vm.name
    this.#vm = vm
    this.#deps = deps
    this.#settings = settings
    const report = (status: VmStatus) => deps.report(vm.name, status)
    this.#reporter = new Reporter({ report, log: deps.log, about: { vm: vm.name } }, settings.reports)
    this.want(vm)
  }

  /** That which pays for what it uses. */
  get pool(): string {
    return this.#vm.pool
  }

  want(vm: WantedVm): void {
    this.#vm = vm
    this.#doomed.delete(vm.createdAt)
    this.#turnTo(vm)
  }

  /** It is no longer ours; its files stay. */
  release(): void {
    this.#turnTo(undefined)
  }

  /** It was deleted, and its files go. */
  remove(): void {
    this.#doomed.set(this.#vm.createdAt, this.#vm)
    this.#turnTo(undefined)
  }

  /** What the table says of it now, undefined for nothing. Said again when it is not what we last said. */
  compareReport(report: VmStatus | undefined): void {
    if (this.#status === undefined || (report && isSame(report, this.#status))) return
    this.#reporter.publish(this.#status)
  }

  /** Settles when the last wish was tried once, and the table told of it once, well or badly. */
  async attempted(): Promise<void> {
    await this.#turning
    await this.#run?.lifecycle.attempted
    await this.#reporter.attempted()
  }

  /** Stops it, and says so with one attempt. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true
    await this.#turning
    await this.#stop()
    await this.#reporter[Symbol.asyncDispose]()
  }

  #turnTo(wish: WantedVm | undefined): void {
    this.#wish = wish
    if (!this.#isTurning) this.#turning = this.#turn()
  }

  /** Never rejects. A wish that comes after its last look at `#wish` must find that it is over. */
  async #turn(): Promise<void> {
    this.#isTurning = true
    while (!this.#isEnding && this.#isBehind()) {
      const wish = this.#wish
      await this.#carryOut(wish)
      this.#carriedOut = { wish }
    }
    this.#isTurning = false
    if (!this.#isEnding && this.#wish === undefined) void this.#leave()
  }

  #isBehind(): boolean {
    return this.#carriedOut === undefined || this.#carriedOut.wish !== this.#wish || this.#doomed.size > 0
  }

  async #carryOut(vm: WantedVm | undefined): Promise<void> {
    if (!this.#runs(vm)) await this.#stop()
    for (const [createdAt, doomed] of this.#doomed) {
      // Before the attempt: one that fails is logged, and not made again.
      this.#doomed.delete(createdAt)
      await this.#deleteFiles(doomed)
    }
    if (vm?.state === 'running') this.#start(vm)
    else this.#publish(STOPPED)
  }

  #runs(vm: WantedVm | undefined): boolean {
    const { image, createdAt } = this.#run?.vm ?? {}
    return vm?.state === 'running' && vm.image === image && vm.createdAt === createdAt
  }

  #start(vm: WantedVm): void {
    if (this.#run) return
    const { vmm, log, images } = this.#deps
    const image = images.get(vm.image)
    if (image === undefined) {
      this.#publish(toFailed(`There is no image "${vm.image}" here, only: ${[...images.keys()].join(', ')}`))
      return
    }
    const publish = (status: VmStatus) => this.#publish(status)
    const lifecycle = startVm({ vmm, log, publish }, { ...vm, image }, this.#settings.lifecycle)
    this.#run = { vm, lifecycle }
  }

  async #stop(): Promise<void> {
    await this.#run?.lifecycle[Symbol.asyncDispose]()
    this.#run = undefined
  }

  async #deleteFiles(vm: WantedVm): Promise<void> {
    try {
      await this.#deps.vmm.remove(vm)
    } catch (error) {
      this.#deps.log.error({ vm: this.#name, err: error }, "a deleted VM's files could not be deleted")
    }
  }

  #publish(status: VmStatus): void {
    this.#status = status
    this.#reporter.publish(status)
  }

  async #leave(): Promise<void> {
    await this.#reporter.drained()
    const isOver = this.#wish === undefined && !this.#isTurning && !this.#isEnding
    if (isOver) this.#deps.onGone(this.#name)
  }
}

function isSame(one: VmStatus, other: VmStatus): boolean {
  return (
    one.state === other.state && one.message === other.message && isDeepStrictEqual(one.ports, other.ports)
  )
}
