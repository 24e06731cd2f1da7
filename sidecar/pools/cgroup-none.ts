/** Pools without cgroups, for development without rights: nothing is limited, measured or ended. */

import type { OwnedPoolGroups } from './cgroup-pools.ts'
import type { VmGroup } from './pool-groups.ts'

const GROUP: VmGroup = {
  vmm: [],
  disk: [],
  setShare: () => Promise.resolve(),
  sampleUsage: () => Promise.resolve(undefined),
  freeze: () => Promise.resolve(false),
  remove: () => Promise.resolve(),
}

export function createNoGroups(): OwnedPoolGroups {
  return {
    kind: 'none',
    setPool: () => Promise.resolve(),
    removePool: () => Promise.resolve(),
    openVm: () => Promise.resolve(GROUP),
    removeVm: () => Promise.resolve(),
    listVms: () => Promise.resolve(new Map()),
    samplePool: () => Promise.resolve(undefined),
    samplePressure: () => Promise.resolve(undefined),
    reclaim: () => Promise.resolve(false),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
