/** Ends, once the table is known, what an earlier process left running for VMs that are not this host's. */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../lib/log.ts'
import { keyOfVm, type VmId } from './vm-id.ts'

export interface SweepDeps {
  /** True when the store has told all that it holds. */
  readonly isLoaded: () => boolean
  /** Every VM that the table places here, whatever its state. */
  readonly listKnown: () => readonly VmId[]
  /** True when the table says of anything here that it was deleted: an empty table that does is no lost one. */
  readonly hasGraves: () => boolean
  readonly sweep: (known: readonly VmId[]) => Promise<void>
  readonly log: Log
}

const LOOK_MS = 200
const RETRY_MS = 30_000

/**
 * A table that knows of nothing here, not even of graves, ends nothing: an empty store may be a lost one. Ends by itself
 * when it is done, or with disposal.
 */
export function startSweep(deps: SweepDeps): AsyncDisposable {
  const ending = new AbortController()
  const running = run(deps, ending.signal)
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort()
      await running
    },
  }
}

/** Never rejects. */
async function run(deps: SweepDeps, signal: AbortSignal): Promise<void> {
  const pause = (ms: number) => setTimeout(ms, undefined, { signal, ref: false }).catch(() => undefined)
  while (!signal.aborted && !deps.isLoaded()) await pause(LOOK_MS)
  while (!signal.aborted && !(await sweepOnce(deps))) await pause(RETRY_MS)
}

async function sweepOnce({ listKnown, hasGraves, sweep, log }: SweepDeps): Promise<boolean> {
  const known = listKnown()
  if (known.length === 0 && !hasGraves()) return true
  try {
    await sweep(known)
    return true
  } catch (error) {
    log.warn({ err: error }, 'what is left of VMs that are not here any more could not be ended; tried again')
    return false
  }
}

/** Keeps VMs back that come to be known only while a sweep is under way, which would take them for leftovers. */
export class SweepGate {
  #known: ReadonlySet<string> = new Set()
  #sweeping: Promise<unknown> | undefined

  async run(known: readonly VmId[], sweep: () => Promise<void>): Promise<void> {
    this.#known = new Set(known.map(keyOfVm))
    const sweeping = sweep()
    this.#sweeping = sweeping.catch(() => undefined)
    try {
      await sweeping
    } finally {
      this.#sweeping = undefined
    }
  }

  /** Settles when no sweep can take the VM for a leftover. */
  async pass(vm: VmId): Promise<void> {
    if (this.#sweeping && !this.#known.has(keyOfVm(vm))) await this.#sweeping
  }
}
