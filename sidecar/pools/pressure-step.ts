/** Decides what to do next about a pool whose VMs want more memory than it has. */

import type { PoolPressure } from './pool-groups.ts'

export interface VmView {
  readonly vm: string
  /** What the guest was given. */
  readonly memoryBytes: number
  /** What its balloon leaves it now; undefined when it has none. */
  readonly guestBytes: number | undefined
  /** What the balloon may not take. */
  readonly floorBytes: number
  /** The balloon was asked for more and did not give it. */
  readonly isStuck: boolean
  /** Since it was last used by anybody; 0 with open connections. */
  readonly idleMs: number
  /** Of one CPU, since the last look. */
  readonly cpuShare: number
  readonly canSuspend: boolean
}

export interface PoolView {
  readonly pressure: PoolPressure
  readonly vms: readonly VmView[]
  /** Since the last step other than `deflate`. */
  readonly sinceStepMs: number
  readonly sinceReclaimMs: number
  /** How long there has been no pressure. */
  readonly calmMs: number
}

export type Step =
  | { readonly kind: 'none'; readonly why: 'calm' | 'wait' | 'exhausted' }
  | { readonly kind: 'inflate' | 'deflate'; readonly vm: string; readonly guestBytes: number }
  | { readonly kind: 'reclaim'; readonly bytes: number }
  | { readonly kind: 'suspend'; readonly vm: string }

export interface StepSettings {
  /** Of the pool's limit: from here on it is short of memory, */
  readonly highShare: number
  /** and below this it has enough. */
  readonly lowShare: number
  /** Percent of time in which some process waited for memory. */
  readonly highWaits: number
  readonly lowWaits: number
  /** The kernel's figure is of the last 10 s, so it says nothing of a step taken since. */
  readonly waitsSettleMs: number
  /** Of a VM's memory, for each step of its balloon. */
  readonly stepShare: number
  readonly calmMs: number
  readonly reclaimEveryMs: number
  /** A VM that was used later than so long ago is in use. */
  readonly idleMs: number
}

export type Pressure = 'high' | 'between' | 'low'

export function judgePressure(
  { pressure, sinceStepMs }: Pick<PoolView, 'pressure' | 'sinceStepMs'>,
  settings: StepSettings,
): Pressure {
  const { memorySome = 0, memoryBytes, limitBytes } = pressure
  const share = memoryBytes / limitBytes
  const isWaiting = memorySome >= settings.highWaits && sinceStepMs >= settings.waitsSettleMs
  if (share >= settings.highShare || isWaiting) return 'high'
  return share < settings.lowShare && memorySome < settings.lowWaits ? 'low' : 'between'
}

/**
 * One rung at a time: the balloons of VMs that nobody uses, the idlest first; what the kernel can drop; the sleep of
 * the idlest; and when there is nothing else, the balloons of VMs in use.
 */
export function chooseStep(view: PoolView, settings: StepSettings): Step {
  const pressure = judgePressure(view, settings)
  if (pressure === 'low') return findDeflation(view, settings) ?? { kind: 'none', why: 'calm' }
  if (pressure === 'between') return { kind: 'none', why: 'wait' }
  const ranked = view.vms.toSorted(byIdleness)
  const idle = ranked.filter(({ idleMs }) => idleMs >= settings.idleMs)
  return (
    findInflation(idle, settings) ??
    findReclaim(view, settings) ??
    findSleeper(idle) ??
    findInflation(ranked, settings) ?? { kind: 'none', why: 'exhausted' }
  )
}

/** Whom nobody uses comes first, for longest before others; of those in use, whom the fewest cycles go to. */
function byIdleness(one: VmView, other: VmView): number {
  return other.idleMs - one.idleMs || one.cpuShare - other.cpuShare || (one.vm < other.vm ? -1 : 1)
}

function findInflation(vms: readonly VmView[], { stepShare }: StepSettings): Step | undefined {
  for (const { vm, guestBytes, floorBytes, memoryBytes, isStuck } of vms) {
    if (isStuck || guestBytes === undefined || guestBytes <= floorBytes) continue
    const wanted = Math.max(floorBytes, Math.floor(guestBytes - memoryBytes * stepShare))
    return { kind: 'inflate', vm, guestBytes: wanted }
  }
  return undefined
}

function findReclaim({ pressure, sinceReclaimMs }: PoolView, settings: StepSettings): Step | undefined {
  if (sinceReclaimMs < settings.reclaimEveryMs) return undefined
  const enough = Math.floor(pressure.limitBytes * settings.lowShare)
  return { kind: 'reclaim', bytes: Math.max(pressure.memoryBytes - enough, 1) }
}

function findSleeper(idle: readonly VmView[]): Step | undefined {
  const sleeper = idle.find(({ canSuspend }) => canSuspend)
  return sleeper && { kind: 'suspend', vm: sleeper.vm }
}

/** The busiest gets its memory back first, as long as that does not bring the pressure back. */
function findDeflation(
  { vms, pressure, calmMs }: PoolView,
  { calmMs: neededMs, stepShare, highShare }: StepSettings,
): Step | undefined {
  if (calmMs < neededMs) return undefined
  const room = pressure.limitBytes * highShare - pressure.memoryBytes
  for (const { vm, guestBytes, memoryBytes } of vms.toSorted(byIdleness).toReversed()) {
    if (guestBytes === undefined || guestBytes >= memoryBytes) continue
    const wanted = Math.min(memoryBytes, Math.ceil(guestBytes + memoryBytes * stepShare))
    if (wanted - guestBytes < room) return { kind: 'deflate', vm, guestBytes: wanted }
  }
  return undefined
}
