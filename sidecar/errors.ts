/** Every way a VM can fail to run, as one table. */

import { type Fault, LandfallError, type LandfallErrorOptions } from '../lib/errors.ts'

const vm = (title: string, next: string) =>
  ({ status: 502, source: 'upstream', retryable: true, title, next }) as const

export const FAULTS = {
  vm_name: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The VM has no valid name',
    next: 'Use 1 to 63 lower-case letters, digits and inner hyphens.',
  },
  vm_start_failed: vm('The VM could not be started', 'Read its last lines above; the log has the rest.'),
  vm_start_timeout: vm(
    'The VM did not report a port in time',
    'Read its last lines above, and check that its program listens and says so.',
  ),
  vm_image_unknown: {
    status: 422,
    source: 'client',
    retryable: false,
    title: 'The host has no such image',
    next: 'Choose one of those named, or build it there with "landfall image build".',
  },
  vm_image_used: {
    status: 409,
    source: 'client',
    retryable: false,
    title: 'A VM stands on the image',
    next: 'Delete the VMs that were made of it first; their disks are kept for a while.',
  },
  vm_suspend_failed: vm('The VM could not be suspended', 'It runs on; the log of its host says why.'),
  vm_agent_failed: vm('The guest does not answer', 'Look at its console in the log of its host.'),
  pool_group_failed: vm(
    'The cgroup of a pool could not be set',
    'Check that the host may write below LANDFALL_CGROUP.',
  ),
  network_failed: vm(
    'The network of a VM could not be set up',
    'The log of its host names the command that failed.',
  ),
  disk_source_unknown: {
    status: 404,
    source: 'client',
    retryable: false,
    title: 'What the disk is to be made from is not on this host',
    next: 'List the snapshots, and check that both VMs are in one pool.',
  },
  disk_chain_long: {
    status: 409,
    source: 'client',
    retryable: true,
    title: 'Too many snapshots and copies were made of the disk while the VM ran',
    next: 'Stop the VM, or let it sleep, for some minutes: its disk is put in order then. Then try again.',
  },
  disk_failed: vm('The disk could not be served', 'The log of its host says why; nothing on it was changed.'),
  qmp_failed: vm(
    'The process that runs a VM or serves its disk refused a command or was lost',
    'The message names the command; the log of the host has the rest.',
  ),
  image_build_failed: {
    status: 500,
    source: 'internal',
    retryable: true,
    title: 'The image could not be built',
    next: 'The message names the program that failed; run the build again.',
  },
  host_file_failed: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'A file of the host cannot be read or written',
    next: 'The message names the file and what is wrong with it; mend it or put it back before the host starts.',
  },
  vmm_missing: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'QEMU is not installed',
    next: "Install Debian's qemu-system-x86 and qemu-utils, or set LANDFALL_VMM to process for development.",
  },
  command_failed: {
    status: 500,
    source: 'internal',
    retryable: true,
    title: 'A program of the system failed',
    next: 'The message has what it wrote; check that it is installed.',
  },
} as const satisfies Record<string, Fault>

export type SidecarErrorCode = keyof typeof FAULTS

/** A VM's failure; `code` is a key of `FAULTS`. */
export class SidecarError extends LandfallError {
  declare readonly code: SidecarErrorCode

  constructor(code: SidecarErrorCode, options: LandfallErrorOptions = {}) {
    super(code, FAULTS[code], options)
  }
}
