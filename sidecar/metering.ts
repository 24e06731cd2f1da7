/** Turns what running VMs have used by now into what each pool used since the last look. */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import type { RunTotals, UsageMarks } from './usage-marks.ts'
import type { Vmm, VmUsage } from './vmm.ts'

export interface PoolUsage {
  /** Since the last call. */
  readonly cpuSeconds: number
  /** Since the last call. */
  readonly memoryByteSeconds: number
  /** Taken now, by VMs that do not run too. */
  readonly diskBytes: number
}

export interface MeteringDeps {
  readonly vmm: Pick<Vmm, 'sampleUsage'>
  /** The pool of a VM that this host keeps. */
  readonly findPool: (vm: string) => string | undefined
  readonly meter: { readonly add: (pool: string, usage: PoolUsage) => void }
  /** For runs that outlive this process; without them, each run is counted from its beginning. */
  readonly marks?: UsageMarks
  readonly log: Log
}

const UNUSED: RunTotals = { cpuSeconds: 0, seconds: 0 }

/**
 * Looks every `intervalMs`, 10,000 by default, and once more at disposal. What a run uses after the last look at it
 * is not counted; a restart is another run, which begins at nothing. A process that is killed may leave what it looked
 * at last uncounted, and nothing counted twice.
 */
export function startMetering(
  deps: MeteringDeps,
  { intervalMs = 10_000 }: { readonly intervalMs?: number } = {},
): AsyncDisposable {
  const ending = new AbortController()
  const book = new UsageBook(deps)
  const running = run(book, { deps, intervalMs, signal: ending.signal })
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort()
      await running
    },
  }
}

async function run(
  book: UsageBook,
  { deps, intervalMs, signal }: { deps: MeteringDeps; intervalMs: number; signal: AbortSignal },
): Promise<void> {
  await book.load()
  do {
    await setTimeout(intervalMs, undefined, { signal }).catch(() => undefined)
    try {
      await book.take(await deps.vmm.sampleUsage())
    } catch (error) {
      deps.log.warn({ err: error }, 'the use of VMs could not be counted; what was used is counted later')
    }
  } while (!signal.aborted)
}

class UsageBook {
  readonly #deps: MeteringDeps
  #runs: ReadonlyMap<string, RunTotals> = new Map()
  readonly #diskBytes = new Map<string, number>()

  constructor(deps: MeteringDeps) {
    this.#deps = deps
  }

  /** What an earlier process has counted. */
  async load(): Promise<void> {
    this.#runs = (await this.#deps.marks?.load()) ?? new Map()
  }

  async take(usages: readonly VmUsage[]): Promise<void> {
    const runs = new Map(usages.map(({ run, cpuSeconds, seconds }) => [run, { cpuSeconds, seconds }]))
    await this.#deps.marks?.save(runs)
    const pools = new Map<string, PoolUsage>()
    for (const usage of usages) {
      this.#diskBytes.set(usage.vm, usage.diskBytes)
      addTo(pools, this.#deps.findPool(usage.vm), { ...this.#sinceLast(usage), diskBytes: 0 })
    }
    this.#addDisks(pools)
    this.#runs = runs
    for (const [pool, usage] of pools) this.#deps.meter.add(pool, usage)
  }

  #sinceLast({ run, cpuSeconds, seconds, memoryBytes }: VmUsage) {
    const last = this.#runs.get(run) ?? UNUSED
    return {
      cpuSeconds: Math.max(0, cpuSeconds - last.cpuSeconds),
      memoryByteSeconds: Math.max(0, seconds - last.seconds) * memoryBytes,
    }
  }

  /** The disk of a VM that was stopped is as large as when it was last looked at. */
  #addDisks(pools: Map<string, PoolUsage>): void {
    for (const [vm, diskBytes] of this.#diskBytes) {
      const pool = this.#deps.findPool(vm)
      if (pool === undefined) this.#diskBytes.delete(vm)
      else addTo(pools, pool, { cpuSeconds: 0, memoryByteSeconds: 0, diskBytes })
    }
  }
}

function addTo(pools: Map<string, PoolUsage>, pool: string | undefined, usage: PoolUsage): void {
  if (pool === undefined) return
  const before = pools.get(pool)
  pools.set(pool, {
    cpuSeconds: (before?.cpuSeconds ?? 0) + usage.cpuSeconds,
    memoryByteSeconds: (before?.memoryByteSeconds ?? 0) + usage.memoryByteSeconds,
    diskBytes: (before?.diskBytes ?? 0) + usage.diskBytes,
  })
}
