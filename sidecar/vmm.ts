/** What the sidecar asks of whatever runs VMs: a child process in development, a hypervisor on a host. */

import type { Address } from '../routing/records/records.ts'

/** What is to run. A driver for hypervisors will want memory, processors and disks here as well. */
export interface VmSpec {
  /** A DNS label in lower case, unique on this host. */
  readonly name: string
  /** When the VM was made. A later VM of the same name is another VM and finds none of the former's files. */
  readonly createdAt: string
  /** What boots: a program file for the process driver, a disk image for a hypervisor. */
  readonly image: string
}

/** How a VM ended. Exactly one of `code` and `signal` is set when a process ended; neither when that is unknown. */
export interface VmExit {
  readonly code?: number
  /** A signal's name, as `SIGKILL`. */
  readonly signal?: string
  /** The last lines that the VM wrote to its error output or console, oldest first. */
  readonly lastLines: readonly string[]
}

/** As "code 1" or "SIGKILL". */
export function describeExit({ code, signal }: Pick<VmExit, 'code' | 'signal'>): string {
  return signal ?? (code === undefined ? 'an unknown reason' : `code ${code}`)
}

/** A VM that has started and whose ports can be dialled. */
export interface RunningVm {
  readonly name: string
  /** The guest's ports, in decimal, and how an edge dials each. At most 1,000. */
  readonly ports: Readonly<Record<string, Address>>
  /** Settles once, when the VM has ended for whatever reason; never rejects. */
  readonly exited: Promise<VmExit>
  /**
   * Asks the VM to shut down and, after `graceMs`, ends it. Settles when it has ended; asking twice is
   * harmless, and the shorter grace counts.
   */
  stop(graceMs: number): Promise<VmExit>
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
  /**
   * Settles when the VM's ports can be dialled; leaves nothing behind when it rejects. An abort of `signal`
   * ends a start under way.
   * @throws SidecarError vm_name, vm_start_failed, vm_start_timeout
   */
  start(spec: VmSpec, signal?: AbortSignal): Promise<RunningVm>
  /** Every running VM. @throws Error when the machine does not tell */
  sampleUsage(): Promise<readonly VmUsage[]>
  /** Deletes the files of a VM that does not run and never will again. */
  remove(vm: Pick<VmSpec, 'name' | 'createdAt'>): Promise<void>
}
