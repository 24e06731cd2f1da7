/** What the sidecar asks of whatever runs VMs: a child process in development, a hypervisor on a host. */

import type { Address } from '../routing/records/records.ts'
import type { VmId } from './vm-id.ts'

/** Of a guest that nobody gave another size. */
export const DEFAULT_MEMORY_BYTES = 536_870_912

/** What is to run, and with how much. All of it may be known anew at each start. */
export interface VmSpec extends VmId {
  /** The pool whose limits it shares. */
  readonly pool: string
  /** The name of an image that this host has. */
  readonly image: string
  /** Virtual processors; the driver chooses when absent. */
  readonly cpus?: number
  /** The guest's memory; `DEFAULT_MEMORY_BYTES` when absent. */
  readonly memoryBytes?: number
  /** The size that the guest sees; the driver's default when absent. A disk never shrinks. */
  readonly diskBytes?: number
  /** Its share of the pool's CPU beside the others', 1 to 10,000; 100 when absent. */
  readonly weight?: number
  /** Whether the guest may open connections to the outside; `open` when absent. */
  readonly egress?: 'open' | 'none'
  /** VMs of this host that may connect to it, and to which ports; to none when absent. */
  readonly peers?: readonly Peer[]
  /** Lines as in an authorized_keys file, for root in the guest. */
  readonly authorizedKeys?: readonly string[]
  /** The host name that the guest is given; its name when absent. */
  readonly hostname?: string
  /** A disk that it does not have yet becomes a copy of this one's, in place of the image's. */
  readonly source?: DiskSource
}

/** A VM of the same pool, as it is or as it was. */
export interface DiskSource {
  readonly vm: VmId
  /** The id of one of its snapshots. */
  readonly snapshot?: string
}

export interface Peer {
  readonly vm: string
  readonly ports: readonly number[]
}

/** How a VM ended. Exactly one of `code` and `signal` is set when a process ended; neither when that is unknown. */
export interface VmExit {
  readonly code?: number
  /** A signal's name, as `SIGKILL`. */
  readonly signal?: string
  /** The last lines that the VM wrote to its error output or console, oldest first. */
  readonly lastLines: readonly string[]
  /** Its memory is on disk, and `start` goes on where it was. */
  readonly isSuspended?: true
}

/** As "code 1" or "SIGKILL". */
export function describeExit({ code, signal }: Pick<VmExit, 'code' | 'signal'>): string {
  return signal ?? (code === undefined ? 'an unknown reason' : `code ${code}`)
}

/** What of a VM may change while it runs. */
export interface VmFacts {
  /** The guest's ports on which something listens, in decimal, and how an edge dials each. At most 1,000. */
  readonly ports: Readonly<Record<string, Address>>
  /** The port that the image names as its own, by EXPOSE or by its maker. */
  readonly defaultPort?: number
  /** The guest's SSH host key, as `ssh-ed25519 AAAA…`. */
  readonly hostKey?: string
}

/** Tells whether anybody uses a VM; two equal readings with no connections mean that nobody did in between. */
export interface VmActivity {
  /** Connections into the guest that are open now. */
  readonly connections: number
  /** Connections that the guest has taken since it booted. */
  readonly accepted: number
  readonly cpuSeconds: number
}

/** A VM that has started and whose ports can be dialled. */
export interface RunningVm {
  readonly name: string
  readonly facts: VmFacts
  /** Called at each change of `facts`, until the VM has ended. One listener. */
  onFacts(listener: (facts: VmFacts) => void): void
  /** Settles once, when the VM has ended for whatever reason; never rejects. */
  readonly exited: Promise<VmExit>
  /**
   * Asks the VM to shut down and, after `graceMs`, ends it. Settles when it has ended; asking twice is
   * harmless, and the shorter grace counts.
   */
  stop(graceMs: number): Promise<VmExit>
  /**
   * Writes its memory to disk and ends it; `exited` settles with `isSuspended`. A VM that cannot be suspended goes
   * on running. @throws SidecarError vm_suspend_failed
   */
  suspend(): Promise<void>
  /** Lets the VM run on without us: `adopt` finds it again. A driver whose VMs end with us stops it. */
  detach(): Promise<void>
  /** Makes of the running VM what can be made without a restart: weight, egress, peers, keys, a larger disk. */
  update(spec: VmSpec): Promise<void>
  /** Undefined when the VM does not tell. */
  sampleActivity(): Promise<VmActivity | undefined>
}

/** What a running VM has used by now. */
export interface VmUsage {
  readonly vm: string
  /** Tells this run of the VM from its earlier and later ones. */
  readonly run: string
  /** How long this run has lasted. */
  readonly seconds: number
  /** Since the start of this run; never goes back. */
  readonly cpuSeconds: number
  /** In use now. */
  readonly memoryBytes: number
  /** Taken by the VM's files; at most a minute old. */
  readonly diskBytes: number
}

export interface Vmm {
  /** `process`, `qemu`. */
  readonly kind: string
  /** The names of the images that can be started now. */
  listImages(): Promise<readonly string[]>
  /**
   * Settles when the VM's ports can be dialled; leaves nothing running behind when it rejects. A suspended VM goes on
   * where it was; one that cannot is booted. An abort of `signal` ends a start under way.
   * @throws SidecarError vm_name, vm_image_unknown, vm_start_failed, vm_start_timeout
   */
  start(spec: VmSpec, signal?: AbortSignal): Promise<RunningVm>
  /** The VM as an earlier process of this host left it running; undefined when it does not run. */
  adopt(spec: VmSpec): Promise<RunningVm | undefined>
  /** True when its memory is on disk. */
  isSuspended(vm: VmId): Promise<boolean>
  /** Drops the memory of a suspended VM, so that its next start boots it. */
  forget(vm: VmId): Promise<void>
  /** Every running VM. @throws Error when the machine does not tell */
  sampleUsage(): Promise<readonly VmUsage[]>
  /** Deletes the files of a VM that does not run and never will again. */
  remove(vm: VmId): Promise<void>
  /** Ends and removes what runs, or is set up to run, for VMs that are not among `known`; their files stay. */
  sweep(known: readonly VmId[]): Promise<void>
}
