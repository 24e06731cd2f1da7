/** VMs that only pretend, for tests of who starts and stops them. */

import type { RunningVm, VmExit, Vmm, VmSpec, VmUsage } from '../../sidecar/vmm.ts'

const FIRST_PORT = 40_001

export class FakeVm implements RunningVm {
  readonly name: string
  readonly ports
  readonly graces: number[] = []
  /** Set to make a stop wait for `end`. */
  isStubborn = false
  isEnded = false
  readonly #exit = Promise.withResolvers<VmExit>()
  readonly exited = this.#exit.promise

  constructor(name: string, port: number) {
    this.name = name
    this.ports = { 8000: { host: '127.0.0.1', port } }
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
  readonly vms: FakeVm[] = []
  readonly specs: VmSpec[] = []
  readonly startedAt: number[] = []
  readonly removed: string[] = []
  /** How many starts from now on fail. */
  failures = 0
  /** Starts wait for it. */
  gate: Promise<void> = Promise.resolve()
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
    this.vms.push(new FakeVm(spec.name, FIRST_PORT + this.vms.length))
    return this.last
  }

  async sampleUsage(): Promise<readonly VmUsage[]> {
    return this.usages
  }

  async remove({ name, createdAt }: Pick<VmSpec, 'name' | 'createdAt'>): Promise<void> {
    this.removed.push(`${name} ${createdAt}`)
  }
}

function abortOf(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new Error('aborted')))
  })
}
