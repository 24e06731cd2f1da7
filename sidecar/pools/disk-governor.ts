/** Holds each pool to its disk quota, counted by allocated blocks, by how fast its VMs may write. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import type { Disks } from '../disks/disks.ts'
import { keyOfVm, type VmId } from '../vm-id.ts'
import { chooseRate, type DiskRateSettings } from './disk-rate.ts'

export interface GovernedPool {
  readonly pool: string
  /** Its quota. */
  readonly diskBytes: number
  /** The VMs whose disks are served now. */
  readonly vms: readonly VmId[]
}

export interface DiskGovernorDeps {
  readonly disks: Pick<Disks, 'measurePool' | 'limitWrites'>
  readonly pools: () => readonly GovernedPool[]
  /** Called when a pool has become full, and when it has room again. */
  readonly onFull?: (pool: string, isFull: boolean) => void
  readonly log: Log
}

/** Looks each second, and at a limited pool each 250 ms: the shorter that is, the faster it may write. */
export type DiskGovernorSettings = Partial<DiskRateSettings>

/** For metrics. */
export interface PoolDiskState {
  readonly pool: string
  readonly usedBytes: number
  readonly limitBytes: number
  readonly isFull: boolean
  /** Of each VM; undefined without a limit. */
  readonly bytesPerSecond: number | undefined
}

export interface DiskGovernor extends AsyncDisposable {
  /** Looks at once: for a disk that has just come to be served, which else may write freely until the next look. */
  readonly look: (pool: string) => Promise<void>
  readonly states: () => readonly PoolDiskState[]
}

const MIB = 1_048_576
const KIB = 1_024

const DEFAULTS: DiskRateSettings = {
  tickMs: 1_000,
  limitedTickMs: 250,
  diskBytesPerSecond: 1_024 * MIB,
  clusterFactor: 16,
  floorBytesPerSecond: 64 * KIB,
  leastBytesPerSecond: 4 * KIB,
}

/** A pool has room again when so much of its quota is free. */
const ROOM_SHARE = 1 / 64

/** Limits stay as they are at disposal: the next process lifts those that are not needed. */
export function startDiskGovernor(deps: DiskGovernorDeps, settings: DiskGovernorSettings = {}): DiskGovernor {
  const ending = new AbortController()
  const governor = new Governor(deps, { ...DEFAULTS, ...settings })
  const running = governor.run(ending.signal)
  return {
    look: (pool) => governor.lookAt(pool),
    states: () => governor.states(),
    [Symbol.asyncDispose]: async () => {
      ending.abort()
      await running
    },
  }
}

class Governor {
  readonly #deps: DiskGovernorDeps
  readonly #settings: DiskRateSettings
  readonly #pools = new Map<string, PoolRule>()

  constructor(deps: DiskGovernorDeps, settings: DiskRateSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  async run(signal: AbortSignal): Promise<void> {
    const { limitedTickMs } = this.#settings
    const looks = new Set<Promise<void>>()
    while (!signal.aborted) {
      const now = performance.now()
      for (const pool of this.#current()) {
        if (!this.#ruleOf(pool.pool).isDue(now)) continue
        const look = this.#look(pool).finally(() => looks.delete(look))
        looks.add(look)
      }
      await sleep(limitedTickMs, undefined, { signal }).catch(() => undefined)
    }
    await Promise.all(looks)
  }

  /** What is gone is forgotten. */
  #current(): readonly GovernedPool[] {
    const pools = this.#deps.pools()
    const names = new Set(pools.map(({ pool }) => pool))
    for (const pool of this.#pools.keys()) if (!names.has(pool)) this.#pools.delete(pool)
    return pools
  }

  async lookAt(name: string): Promise<void> {
    const pool = this.#deps.pools().find((one) => one.pool === name)
    if (pool) await this.#look(pool)
  }

  states(): readonly PoolDiskState[] {
    return [...this.#pools.values()].flatMap(({ state }) => state ?? [])
  }

  async #look(pool: GovernedPool): Promise<void> {
    try {
      await this.#ruleOf(pool.pool).look(pool)
    } catch (err) {
      this.#deps.log.warn({ err, pool: pool.pool }, 'the disks of a pool were not measured; its limits stay')
    }
  }

  #ruleOf(pool: string): PoolRule {
    const rule = this.#pools.get(pool) ?? new PoolRule(this.#deps, this.#settings)
    this.#pools.set(pool, rule)
    return rule
  }
}

/** What is remembered of a pool between looks. */
class PoolRule {
  readonly #deps: DiskGovernorDeps
  readonly #settings: DiskRateSettings
  /** The limit that each VM is known to have; one that is not in here may have any. */
  #applied: ReadonlyMap<string, number | undefined> = new Map()
  #nextAt = 0
  #turn: Promise<void> = Promise.resolve()
  #looks = 0
  state: PoolDiskState | undefined

  constructor(deps: DiskGovernorDeps, settings: DiskRateSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  isDue(now: number): boolean {
    return this.#looks === 0 && now >= this.#nextAt
  }

  /** Looks at one pool come one after the other. */
  look(pool: GovernedPool): Promise<void> {
    this.#looks += 1
    const turn = this.#turn
      .then(() => this.#lookNow(pool))
      .finally(() => {
        this.#looks -= 1
      })
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #lookNow({ pool, diskBytes, vms }: GovernedPool): Promise<void> {
    const { tickMs, limitedTickMs } = this.#settings
    const usedBytes = await this.#deps.disks.measurePool(pool)
    const before = this.state
    const roomBytes = diskBytes - usedBytes
    const bytesPerSecond = chooseRate(
      {
        roomBytes,
        grownBytes: usedBytes - (before?.usedBytes ?? usedBytes),
        vms: vms.length,
        rate: before?.bytesPerSecond,
      },
      this.#settings,
    )
    const isFull = roomBytes <= 0 || (before?.isFull === true && roomBytes < diskBytes * ROOM_SHARE)
    this.state = { pool, usedBytes, limitBytes: diskBytes, isFull, bytesPerSecond }
    // A limited pool is looked at each time round; timers are a little early or late.
    this.#nextAt = bytesPerSecond === undefined ? performance.now() + tickMs - limitedTickMs / 2 : 0
    this.#tell(before)
    await this.#apply(vms, bytesPerSecond)
  }

  #tell(before: PoolDiskState | undefined): void {
    const { state } = this
    if (state === undefined || state.isFull === (before?.isFull ?? false)) return
    const { pool, usedBytes, limitBytes, isFull } = state
    const message = isFull ? 'a pool has used up its disk' : 'a pool has room on its disk again'
    this.#deps.log.warn({ pool, usedBytes, limitBytes }, message)
    this.#deps.onFull?.(pool, isFull)
  }

  async #apply(vms: readonly VmId[], bytesPerSecond: number | undefined): Promise<void> {
    const limit = bytesPerSecond === undefined ? undefined : { bytesPerSecond }
    const set = async (vm: VmId) => {
      const key = keyOfVm(vm)
      const isSet = this.#applied.has(key) && this.#applied.get(key) === bytesPerSecond
      if (!isSet) await this.#deps.disks.limitWrites(vm, limit)
      return [key, bytesPerSecond] as const
    }
    const settled = await Promise.allSettled(vms.map(set))
    // A VM that is gone, or did not take it, is told again when it is seen again.
    this.#applied = new Map(settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])))
    for (const [at, one] of settled.entries()) {
      if (one.status === 'rejected') {
        this.#deps.log.debug({ err: one.reason, vm: vms[at]?.name }, 'the writes of a disk were not limited')
      }
    }
  }
}
