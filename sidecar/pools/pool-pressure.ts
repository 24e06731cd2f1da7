/**
 * Makes room in pools whose VMs were given more memory together than the pool has. What guests free goes back to the
 * host at all times (free page reporting); when that is not enough, this climbs a ladder, a rung at a time.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import type { PoolGroups } from './pool-groups.ts'
import { chooseStep, judgePressure, type PoolView, type Step, type StepSettings } from './pressure-step.ts'
import { type PressedVm, VmWatch, type WatchSettings } from './vm-watch.ts'

export interface PressureDeps {
  readonly groups: Pick<PoolGroups, 'samplePressure' | 'reclaim'>
  /** The running VMs of this host. */
  readonly vms: () => readonly PressedVm[]
  readonly log: Log
  /** `performance.now` when absent. */
  readonly now?: () => number
}

export interface PressureSettings extends Partial<StepSettings>, Partial<WatchSettings> {
  /** From the end of a look to the next; 2,000 when absent. */
  readonly intervalMs?: number
  /** What a VM does not answer within is not waited for; 10,000 when absent. */
  readonly answerMs?: number
}

/** For metrics. */
export interface PoolPressureState {
  readonly pool: string
  /** Of the pool's limit. */
  readonly usedShare: number
  /** Percent of time. */
  readonly memorySome: number
  readonly isPressed: boolean
  /** What balloons keep from their guests. */
  readonly balloonBytes: number
  /** Steps taken since the start, by kind. */
  readonly steps: Readonly<Record<'inflate' | 'deflate' | 'reclaim' | 'suspend', number>>
}

export interface PressureLadder extends AsyncDisposable {
  /** Of each pool that has running VMs, as at the last look. */
  readonly states: () => readonly PoolPressureState[]
}

const MIB = 1_048_576

const DEFAULTS: Required<PressureSettings> = {
  intervalMs: 2_000,
  answerMs: 10_000,
  highShare: 0.9,
  lowShare: 0.75,
  highWaits: 10,
  lowWaits: 1,
  waitsSettleMs: 10_000,
  stepShare: 1 / 8,
  calmMs: 10_000,
  reclaimEveryMs: 10_000,
  idleMs: 5_000,
  floorShare: 1 / 4,
  floorBytes: 64 * MIB,
  maxFailures: 3,
  stuckMs: 30_000,
}

/** A pool that is still busy with a step is left out of the next look. Disposal ends the climbing, not a suspension. */
export function startPressureLadder(deps: PressureDeps, settings: PressureSettings = {}): PressureLadder {
  const ending = new AbortController()
  const ladder = new Ladder(deps, { ...DEFAULTS, ...settings })
  const running = ladder.run(ending.signal)
  return {
    states: () => ladder.states(),
    [Symbol.asyncDispose]: async () => {
      ending.abort()
      await running
    },
  }
}

class Ladder {
  readonly #deps: PressureDeps
  readonly #settings: Required<PressureSettings>
  readonly #now: () => number
  readonly #watches = new Map<string, VmWatch>()
  readonly #pools = new Map<string, PoolClimb>()

  constructor(deps: PressureDeps, settings: Required<PressureSettings>) {
    this.#deps = deps
    this.#settings = settings
    this.#now = deps.now ?? (() => performance.now())
  }

  async run(signal: AbortSignal): Promise<void> {
    const busy = new Map<string, Promise<void>>()
    while (!signal.aborted) {
      await sleep(this.#settings.intervalMs, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) break
      for (const [pool, vms] of this.#sortOut()) {
        if (busy.has(pool)) continue
        const look = this.#look(pool, vms)
          .catch((err: unknown) =>
            this.#deps.log.warn({ err, pool }, 'the pressure of a pool was not looked at'),
          )
          .finally(() => busy.delete(pool))
        busy.set(pool, look)
      }
    }
    await Promise.all(busy.values())
  }

  states(): readonly PoolPressureState[] {
    return [...this.#pools.values()].flatMap(({ state }) => state ?? [])
  }

  /** The running VMs by pool; what is gone is forgotten. */
  #sortOut(): ReadonlyMap<string, readonly PressedVm[]> {
    const vms = this.#deps.vms()
    const runs = new Set(vms.map(({ run }) => run))
    const pools = Map.groupBy(vms, ({ pool }) => pool)
    for (const run of this.#watches.keys()) if (!runs.has(run)) this.#watches.delete(run)
    for (const pool of this.#pools.keys()) if (!pools.has(pool)) this.#pools.delete(pool)
    return pools
  }

  async #look(pool: string, vms: readonly PressedVm[]): Promise<void> {
    const pressure = await this.#deps.groups.samplePressure(pool)
    if (pressure === undefined) return
    const now = this.#now()
    const climb = this.#pools.get(pool) ?? new PoolClimb(pool)
    this.#pools.set(pool, climb)
    const settled = await Promise.allSettled(vms.map((vm) => this.#within(this.#watch(vm).look(vm, now))))
    const views = settled.flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
    const view = climb.view({ pressure, vms: views }, { now, settings: this.#settings })
    const step = chooseStep(view, this.#settings)
    const isNew = climb.note(step, now)
    if (isNew && step.kind === 'none' && step.why === 'exhausted') {
      this.#deps.log.warn({ pool, ...pressure }, 'a pool is short of memory, and nothing of it can be freed')
    }
    await this.#take(step, { pool, vms, view })
  }

  #watch({ run }: PressedVm): VmWatch {
    const watch = this.#watches.get(run) ?? new VmWatch(this.#settings, this.#now())
    this.#watches.set(run, watch)
    return watch
  }

  async #take(
    step: Step,
    { pool, vms, view }: { pool: string; vms: readonly PressedVm[]; view: PoolView },
  ): Promise<void> {
    const { log, groups } = this.#deps
    if (step.kind === 'none') return
    log.info({ pool, ...view.pressure, ...step }, `a pool's memory: ${step.kind}`)
    try {
      if (step.kind === 'reclaim') await groups.reclaim(pool, step.bytes)
      else await this.#ask(step, vms)
    } catch (err) {
      log.warn({ err, pool, ...step }, `a pool's memory: ${step.kind} failed`)
    }
  }

  async #ask(step: Exclude<Step, { kind: 'none' | 'reclaim' }>, vms: readonly PressedVm[]): Promise<void> {
    const vm = vms.find(({ name }) => name === step.vm)
    if (vm === undefined) return
    if (step.kind === 'suspend') return vm.suspend()
    if (step.kind === 'inflate') this.#watch(vm).noteAsked(step.guestBytes)
    await this.#within(vm.setBalloon(step.guestBytes))
  }

  async #within<Result>(answer: Promise<Result>): Promise<Result> {
    const { answerMs } = this.#settings
    const limit = new AbortController()
    const late = sleep(answerMs, undefined, { signal: limit.signal, ref: false }).then(() => {
      throw new Error(`no answer within ${answerMs} ms`)
    })
    // When the answer wins, the timer's end is of no interest.
    late.catch(() => undefined)
    try {
      return await Promise.race([answer, late])
    } finally {
      limit.abort()
    }
  }
}

/** What is remembered of a pool between looks. */
class PoolClimb {
  readonly #pool: string
  readonly #steps = { inflate: 0, deflate: 0, reclaim: 0, suspend: 0 }
  #steppedAt = Number.NEGATIVE_INFINITY
  #reclaimedAt = Number.NEGATIVE_INFINITY
  #calmSince: number | undefined
  #lastStep = ''
  #state: Omit<PoolPressureState, 'steps' | 'pool'> | undefined

  constructor(pool: string) {
    this.#pool = pool
  }

  get state(): PoolPressureState | undefined {
    return this.#state && { pool: this.#pool, ...this.#state, steps: { ...this.#steps } }
  }

  view(
    seen: Pick<PoolView, 'pressure' | 'vms'>,
    { now, settings }: { readonly now: number; readonly settings: StepSettings },
  ): PoolView {
    const sinceStepMs = now - this.#steppedAt
    const pressure = judgePressure({ ...seen, sinceStepMs }, settings)
    this.#calmSince = pressure === 'low' ? (this.#calmSince ?? now) : undefined
    const { memoryBytes, limitBytes, memorySome = 0 } = seen.pressure
    const kept = seen.vms.map((vm) => vm.memoryBytes - (vm.guestBytes ?? vm.memoryBytes))
    this.#state = {
      usedShare: memoryBytes / limitBytes,
      memorySome,
      isPressed: pressure === 'high',
      balloonBytes: kept.reduce((sum, bytes) => sum + bytes, 0),
    }
    return {
      ...seen,
      sinceStepMs,
      sinceReclaimMs: now - this.#reclaimedAt,
      calmMs: now - (this.#calmSince ?? now),
    }
  }

  /** True when it is not what was chosen last. */
  note(step: Step, now: number): boolean {
    const name = step.kind === 'none' ? step.why : step.kind
    const isNew = name !== this.#lastStep
    this.#lastStep = name
    if (step.kind === 'none') return isNew
    this.#steps[step.kind] += 1
    if (step.kind !== 'deflate') this.#steppedAt = now
    if (step.kind === 'reclaim') this.#reclaimedAt = now
    return isNew
  }
}
