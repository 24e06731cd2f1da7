/** Makes the wanted state real: starts and stops this host's VMs, and keeps the table told of them. */

import type { Log } from '../lib/log.ts'
import { KeptVm, type KeptVmDeps, type KeptVmSettings, type WantedVm } from './kept-vm.ts'
import type { LifecycleSettings } from './lifecycle.ts'
import { limitStarts } from './start-limit.ts'
import type { VmStatus } from './vm-status.ts'
import type { Vmm } from './vmm.ts'

export interface KeeperDeps {
  readonly vmm: Pick<Vmm, 'start' | 'remove'>
  /** What each image boots. */
  readonly images: ReadonlyMap<string, string>
  /** Tells the table of a VM; called again until it succeeds. */
  readonly report: (name: string, status: VmStatus) => Promise<void>
  readonly log: Log
}

export interface KeeperSettings {
  /** Default 4. */
  readonly startsAtOnce?: number
  readonly lifecycle?: LifecycleSettings
  /** The pause before a report that did not arrive is sent again; it doubles up to five times as much. Default 1,000. */
  readonly reportRetryMs?: number
}

const MAX_RETRY_FACTOR = 5

/** The steps for one VM run strictly one after the other, those of different VMs at once. Every call returns at once. */
export interface Keeper extends AsyncDisposable {
  /** The VM is this host's, and this is how it should be. */
  want(vm: WantedVm): void
  /** The VM is not, or no longer, this host's: it is stopped here, and its files stay. */
  release(name: string): void
  /** The VM was deleted: it is stopped, and its files go. */
  remove(name: string): void
  /** What the table says of a VM, undefined for nothing: if that is not what this host said last, it is said again. */
  compareReport(name: string, report: VmStatus | undefined): void
  /** The pool of a VM that this host keeps. */
  findPool(name: string): string | undefined
  /** Settles when every VM wanted so far was tried once, and the table told of it once, well or badly. */
  attempted(): Promise<void>
}

/** Disposal stops every VM. */
export function startKeeper(deps: KeeperDeps, settings: KeeperSettings = {}): Keeper {
  const { startsAtOnce = 4, lifecycle = {}, reportRetryMs = 1_000 } = settings
  const { vmm } = deps
  const limited = {
    ...limitStarts(vmm, startsAtOnce),
    remove: (vm: Parameters<Vmm['remove']>[0]) => vmm.remove(vm),
  }
  const reports = { retryMs: reportRetryMs, maxRetryMs: reportRetryMs * MAX_RETRY_FACTOR }
  return new VmKeeper({ ...deps, vmm: limited }, { lifecycle, reports })
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

  remove(name: string): void {
    this.#kept.get(name)?.remove()
  }

  compareReport(name: string, report: VmStatus | undefined): void {
    this.#kept.get(name)?.compareReport(report)
  }

  findPool(name: string): string | undefined {
    return this.#kept.get(name)?.pool
  }

  async attempted(): Promise<void> {
    await Promise.all([...this.#kept.values()].map((kept) => kept.attempted()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true
    await Promise.all([...this.#kept.values()].map((kept) => kept[Symbol.asyncDispose]()))
  }
}
