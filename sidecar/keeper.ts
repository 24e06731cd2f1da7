/** Makes the wanted state real: starts and stops this host's VMs, and keeps the table told of them. */

import { KeptVm, type KeptVmDeps, type KeptVmSettings, type WantedVm } from './kept-vm.ts'
import type { Ending, LifecycleSettings } from './lifecycle.ts'
import { limitStarts } from './start-limit.ts'
import type { VmStatus } from './vm-status.ts'
import type { RunningVm } from './vmm.ts'

export type KeeperDeps = Omit<KeptVmDeps, 'onGone'>

export interface KeeperSettings {
  /** Default 4. */
  readonly startsAtOnce?: number
  readonly lifecycle?: LifecycleSettings
  /** The pause before a report that did not arrive is sent again; it doubles up to five times as much. Default 1,000. */
  readonly reportRetryMs?: number
  /** What becomes of the VMs at disposal. Default `stop`. */
  readonly atEnd?: Ending
}

const MAX_RETRY_FACTOR = 5

/** A VM that runs, beside how it is wanted. */
export interface KeptRunningVm {
  readonly wanted: WantedVm
  readonly running: RunningVm
}

/** The steps for one VM run strictly one after the other, those of different VMs at once. Every call returns at once. */
export interface Keeper extends AsyncDisposable {
  /** The VM is this host's, and this is how it should be. */
  want(vm: WantedVm): void
  /** The VM is not, or no longer, this host's, or was deleted: it is stopped here, and its files stay. */
  release(name: string): void
  /** What the table says of a VM, undefined for nothing: if that is not what this host said last, it is said again. */
  compareReport(name: string, report: VmStatus | undefined): void
  /** A VM that this host keeps, as it is wanted. */
  find(name: string): WantedVm | undefined
  list(): readonly WantedVm[]
  listRunning(): readonly KeptRunningVm[]
  /** Settles when every VM wanted so far was tried once, and the table told of it once, well or badly. */
  attempted(): Promise<void>
}

/** Disposal lets go of every VM as `atEnd` says. */
export function startKeeper(deps: KeeperDeps, settings: KeeperSettings = {}): Keeper {
  const { startsAtOnce = 4, lifecycle = {}, reportRetryMs = 1_000, atEnd = 'stop' } = settings
  const { vmm } = deps
  const limited = {
    ...limitStarts(vmm, { atOnce: startsAtOnce }),
    adopt: vmm.adopt.bind(vmm),
    isSuspended: vmm.isSuspended.bind(vmm),
    forget: vmm.forget.bind(vmm),
  }
  const reports = { retryMs: reportRetryMs, maxRetryMs: reportRetryMs * MAX_RETRY_FACTOR }
  return new VmKeeper({ ...deps, vmm: limited }, { lifecycle, reports, atEnd })
}

class VmKeeper implements Keeper {
  readonly #deps: KeptVmDeps
  readonly #settings: KeptVmSettings
  readonly #kept = new Map<string, KeptVm>()
  #isEnding = false

  constructor(deps: KeeperDeps, settings: KeptVmSettings) {
    this.#deps = { ...deps, onGone: (name) => void this.#kept.delete(name) }
    this.#settings = settings
  }

  want(vm: WantedVm): void {
    if (this.#isEnding) return
    const kept = this.#kept.get(vm.name)
    if (kept) kept.want(vm)
    else this.#kept.set(vm.name, new KeptVm(vm, this.#deps, this.#settings))
  }

  release(name: string): void {
    this.#kept.get(name)?.release()
  }

  compareReport(name: string, report: VmStatus | undefined): void {
    this.#kept.get(name)?.compareReport(report)
  }

  find(name: string): WantedVm | undefined {
    return this.#kept.get(name)?.wanted
  }

  list(): readonly WantedVm[] {
    return [...this.#kept.values()].map(({ wanted }) => wanted)
  }

  listRunning(): readonly KeptRunningVm[] {
    return [...this.#kept.values()].flatMap(({ wanted, running }) => (running ? [{ wanted, running }] : []))
  }

  async attempted(): Promise<void> {
    await Promise.all([...this.#kept.values()].map((kept) => kept.attempted()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true
    await Promise.all([...this.#kept.values()].map((kept) => kept.end()))
  }
}
