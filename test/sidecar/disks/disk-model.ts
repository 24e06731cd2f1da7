/** What disks must hold after a sequence of operations. */

export type DiskOperation =
  | { readonly kind: 'make'; readonly vm: string }
  | { readonly kind: 'copy'; readonly vm: string; readonly source: string; readonly snapshot?: string }
  | { readonly kind: 'write'; readonly vm: string; readonly slot: number; readonly byte: number }
  | { readonly kind: 'snapshot' | 'unsnapshot'; readonly vm: string; readonly id: string }
  | { readonly kind: 'restore'; readonly vm: string; readonly id: string; readonly keepAs: string }
  | { readonly kind: 'close' | 'kill' | 'remove'; readonly vm: string }

export const SLOTS = 12
const MAX_VMS = 4
const MAX_SNAPSHOTS = 4

/** By slot; a slot that is not there shows the template. */
export type Content = Readonly<Record<string, number>>

export interface DiskState {
  readonly content: Content
  readonly snapshots: Readonly<Record<string, Content>>
  readonly restored?: string
}

export type DiskStates = Readonly<Record<string, DiskState>>

/** Mulberry32: small, and the same everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** The states once the operation is done; doing it once more changes nothing. */
export function apply(states: DiskStates, operation: DiskOperation): DiskStates {
  const { kind, vm } = operation
  const state = states[vm] ?? { content: {}, snapshots: {} }
  const { content, snapshots } = state
  switch (kind) {
    case 'make':
      return { ...states, [vm]: state }
    case 'copy': {
      if (states[vm]) return states
      const source = states[operation.source]
      const from = operation.snapshot === undefined ? source?.content : source?.snapshots[operation.snapshot]
      return { ...states, [vm]: { content: from ?? {}, snapshots: {} } }
    }
    case 'write':
      return { ...states, [vm]: { ...state, content: { ...content, [operation.slot]: operation.byte } } }
    case 'snapshot':
      return { ...states, [vm]: { ...state, snapshots: { [operation.id]: content, ...snapshots } } }
    case 'unsnapshot':
      return { ...states, [vm]: { ...state, snapshots: without(snapshots, operation.id) } }
    case 'restore': {
      const { id, keepAs } = operation
      if (state.restored === keepAs) return states
      const kept = { ...snapshots, [keepAs]: content }
      return { ...states, [vm]: { content: snapshots[id] ?? {}, snapshots: kept, restored: keepAs } }
    }
    case 'remove':
      return without(states, vm)
    case 'close':
    case 'kill':
      return states
  }
}

function without<T>(record: Readonly<Record<string, T>>, name: string): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(record).filter(([other]) => other !== name))
}

/** An endless sequence of operations that make sense. */
export function planOperation(start: DiskStates, random: () => number): { next(): DiskOperation } {
  let states = start
  let number = 0
  const choose = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)]
  const fresh = () => `n${Math.floor(random() * 1e9).toString(36)}${number++}`
  const propose = (): DiskOperation => {
    const vm = choose(Object.keys(states))
    if (vm === undefined) return { kind: 'make', vm: fresh() }
    const ids = Object.keys(states[vm]?.snapshots ?? {})
    const id = choose(ids)
    const dice = random()
    if (dice < 0.35)
      return { kind: 'write', vm, slot: Math.floor(random() * SLOTS), byte: 1 + Math.floor(random() * 100) }
    if (dice < 0.55)
      return ids.length < MAX_SNAPSHOTS ? { kind: 'snapshot', vm, id: fresh() } : { kind: 'close', vm }
    if (dice < 0.65 && id !== undefined) return { kind: 'unsnapshot', vm, id }
    if (dice < 0.73 && id !== undefined) return { kind: 'restore', vm, id, keepAs: fresh() }
    if (dice < 0.78) return { kind: 'close', vm }
    if (dice < 0.83) return { kind: 'kill', vm }
    if (Object.keys(states).length >= MAX_VMS) return { kind: 'remove', vm }
    if (dice < 0.88) return { kind: 'make', vm: fresh() }
    return {
      kind: 'copy',
      vm: fresh(),
      source: vm,
      ...(id !== undefined && random() < 0.5 && { snapshot: id }),
    }
  }
  return {
    next: () => {
      const operation = propose()
      states = apply(states, operation)
      return operation
    },
  }
}
