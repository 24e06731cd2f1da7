/** What the sidecar asks of whatever runs VMs: a child process in development, a hypervisor on a host. */

import type { Address } from '../routing/records.ts'

/** What is to run. A driver for hypervisors will want memory, processors and disks here as well. */
export interface VmSpec {
  /** A DNS label in lower case, unique on this host. */
  readonly name: string
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

/** A VM that has started and whose ports can be dialled. */
export interface RunningVm {
  readonly name: string
  /** The guest's ports, in decimal, and how an edge dials each. */
  readonly ports: Readonly<Record<string, Address>>
  /** Settles once, when the VM has ended for whatever reason; never rejects. */
  readonly exited: Promise<VmExit>
  /**
   * Asks the VM to shut down and, after `graceMs`, ends it. Settles when it has ended; asking twice is
   * harmless, and the shorter grace counts.
   */
  stop(graceMs: number): Promise<VmExit>
}

export interface Vmm {
  /**
   * Settles when the VM's ports can be dialled; leaves nothing behind when it rejects. An abort of `signal`
   * ends a start under way.
   * @throws SidecarError vm_name, vm_start_failed, vm_start_timeout
   */
  start(spec: VmSpec, signal?: AbortSignal): Promise<RunningVm>
}
