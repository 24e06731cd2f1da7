/** VMs that only pretend, for tests of who starts and stops them. */

import { SidecarError } from '../../sidecar/errors.ts'
import type { VmId } from '../../sidecar/vm-id.ts'
import type { RunningVm, VmActivity, VmExit, VmFacts, Vmm, VmSpec, VmUsage } from '../../sidecar/vmm.ts'

const FIRST_PORT = 40_001

export class FakeVm implements RunningVm {
  readonly name: string
  facts: VmFacts
  readonly graces: number[] = []
  readonly updates: VmSpec[] = []
  /** Set to make a stop wait for `end`. */
  isStubborn = false
  /** Set to make it refuse to sleep. */
  isSleepless = false
  isEnded = false
  isDetached = false
  activity: VmActivity | undefined
  readonly #exit = Promise.withResolvers<VmExit>()
  readonly exited = this.#exit.promise
  #onFacts: (facts: VmFacts) => void = () => {}

  constructor(name: string, port: number) {
    this.name = name
    this.facts = { ports: { 8000: { host: '127.0.0.1', port } } }
  }

  onFacts(listener: (facts: VmFacts) => void): void {
    this.#onFacts = listener
  }

  tell(facts: VmFacts): void {
    this.facts = facts
    this.#onFacts(facts)
  }

  async suspend(): Promise<void> {
    if (this.isSleepless) throw new SidecarError('vm_suspend_failed')
    this.end({ isSuspended: true })
  }

  async detach(): Promise<void> {
    this.isDetached = true
  }

  async update(spec: VmSpec): Promise<void> {
    this.updates.push(spec)
  }

  async sampleActivity(): Promise<VmActivity | undefined> {
    return this.activity
  }

  end(exit: Partial<VmExit> = { code: 1 }): void {
    this.isEnded = true
    this.#exit.resolve({ lastLines: [], ...exit })
  }

  stop(graceMs: number): Promise<VmExit> {
    this.graces.push(graceMs)
    if (!this.isStubborn) this.end({ code: 0 })
    return this.exited
  }
}

export class FakeVmm implements Vmm {
  readonly kind = 'fake'
  readonly forgotten: string[] = []
  /** Names of VMs whose memory is on disk. */
  readonly asleep = new Set<string>()
  /** What an earlier process left running. */
  readonly left = new Map<string, FakeVm>()
  readonly vms: FakeVm[] = []
  readonly specs: VmSpec[] = []
  readonly startedAt: number[] = []
  readonly removed: string[] = []
  /** How many starts from now on fail. */
  failures = 0
  /** Starts wait for it. */
  gate: Promise<void> = Promise.resolve()
  forgetFault: Error | undefined
  /** Adoptions wait for it. */
  adoptGate: Promise<void> = Promise.resolve()
  /** Starts under way, now and at most. */
  starting = 0
  mostStarting = 0
  usages: readonly VmUsage[] = []

  get last(): FakeVm {
    const vm = this.vms.at(-1)
    if (!vm) throw new Error('no VM was started')
    return vm
  }

  async start(spec: VmSpec, signal?: AbortSignal): Promise<RunningVm> {
    const images = await this.listImages()
    if (!images.includes(spec.image)) {
      const detail = `There is no image "${spec.image}" here, only: ${images.join(', ')}`
      throw new SidecarError('vm_image_unknown', { detail })
    }
    this.specs.push(spec)
    this.startedAt.push(performance.now())
    this.starting += 1
    this.mostStarting = Math.max(this.mostStarting, this.starting)
    try {
      await Promise.race([this.gate, abortOf(signal)])
    } finally {
      this.starting -= 1
    }
    if (this.failures > 0) {
      this.failures -= 1
      throw new Error('no memory')
    }
    const vm = new FakeVm(spec.name, FIRST_PORT + this.vms.length)
    this.asleep.delete(spec.name)
    void vm.exited.then(({ isSuspended }) => isSuspended && this.asleep.add(spec.name))
    this.vms.push(vm)
    return vm
  }

  async listImages(): Promise<readonly string[]> {
    return ['hello', 'other']
  }

  async adopt({ name }: VmId): Promise<RunningVm | undefined> {
    await this.adoptGate
    const vm = this.left.get(name)
    return vm?.isEnded ? undefined : vm
  }

  async isSuspended({ name }: VmId): Promise<boolean> {
    return this.asleep.has(name)
  }

  async forget({ name }: VmId): Promise<void> {
    if (this.forgetFault) throw this.forgetFault
    this.asleep.delete(name)
    this.forgotten.push(name)
  }

  async sweep(): Promise<void> {}

  async sampleUsage(): Promise<readonly VmUsage[]> {
    return this.usages
  }

  async remove({ name, createdAt }: VmId): Promise<void> {
    this.removed.push(`${name} ${createdAt}`)
  }
}

function abortOf(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    const leave = () => reject(new Error('aborted'))
    signal?.addEventListener('abort', leave)
    if (signal?.aborted) leave()
  })
}
