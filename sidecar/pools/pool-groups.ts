/** What the sidecar asks of cgroups: a group per pool with its limits, and in it a group per VM with a weight only. */

import type { VmId } from '../vm-id.ts'

export interface PoolLimits {
  /** Thousandths of a CPU. */
  readonly cpuMillis: number
  readonly memoryBytes: number
  /** Of the disk below, each way; no limit when absent. */
  readonly ioBytesPerSecond?: number
}

export interface VmShare {
  /** 1 to 10,000. */
  readonly weight: number
  /** What the kernel leaves the VM when the pool is short of memory. */
  readonly memoryLowBytes: number
}

export interface GroupUsage {
  readonly cpuSeconds: number
  readonly memoryBytes: number
}

export interface PoolPressure {
  /** Share of the last 10 s, in percent, in which some process of the pool waited for memory (PSI); undefined when unknown. */
  readonly memorySome?: number
  readonly memoryBytes: number
  readonly limitBytes: number
}

export interface VmGroup {
  /** The files that take the process ids of the VMM, and of what serves its disk. Empty without cgroups. */
  readonly vmm: readonly string[]
  readonly disk: readonly string[]
  setShare(share: VmShare): Promise<void>
  /** Since the group was made; undefined without cgroups. */
  sampleUsage(): Promise<GroupUsage | undefined>
  /** Stands all its processes still, or lets them go on. False where that cannot be done. */
  freeze(isFrozen: boolean): Promise<boolean>
  /** Ends all its processes with SIGKILL and removes it. */
  remove(): Promise<void>
}

export interface PoolGroups {
  readonly kind: 'v2' | 'hybrid' | 'none'
  /** Makes the pool's group or changes its limits. @throws SidecarError pool_group_failed */
  setPool(pool: string, limits: PoolLimits): Promise<void>
  /** Removes a group that has no VMs any more. */
  removePool(pool: string): Promise<void>
  /** Makes the VM's group in its pool's, or finds it. @throws SidecarError pool_group_failed */
  openVm(pool: string, vm: VmId, share: VmShare): Promise<VmGroup>
  /** Keys of VMs (`keyOfVm`) that have a group, by pool. */
  listVms(): Promise<ReadonlyMap<string, readonly string[]>>
  samplePool(pool: string): Promise<GroupUsage | undefined>
  samplePressure(pool: string): Promise<PoolPressure | undefined>
  /** Asks the kernel to write out or drop so much of the pool's memory; false where it cannot be asked. */
  reclaim(pool: string, bytes: number): Promise<boolean>
}
