/** The development driver: a VM is a child process that listens on the loopback address. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Log } from '../../lib/log.ts'
import { SidecarError, type SidecarErrorCode } from '../errors.ts'
import { sampleProcesses } from '../process-usage.ts'
import { keyOfVm, type VmId } from '../vm-id.ts'
import { describeExit, type RunningVm, type VmExit, type Vmm, type VmSpec, type VmUsage } from '../vmm.ts'
import { REPORT_FD, VmProcess } from './vm-process.ts'

/**
 * All that a VM's program sees of the environment: the parent's may hold secrets. A Node program takes the channel
 * for its own IPC channel; we read it ourselves, since Node's reader would take in a message of any size.
 */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  NODE_CHANNEL_FD: String(REPORT_FD),
}
const NO_USAGE = { cpuSeconds: 0, memoryBytes: 0 }

export interface ProcessVmmSettings {
  /** Each VM's working folder is made below it. */
  readonly folder: string
  /** The program that each image boots. */
  readonly images: ReadonlyMap<string, string>
  /** How long a program may take until it reports its ports. Default 10,000. */
  readonly startTimeoutMs?: number
}

/**
 * Runs a VM's image, a JavaScript or TypeScript file, with this process's own Node. The program listens on
 * 127.0.0.1, sends `{ ports: { '<guest port>': <port it listens on> } }` over its IPC channel, and exits when
 * that channel closes: that is how it ends with a parent that was killed. A program whose event loop is stuck
 * at that moment outlives it. Processor time and memory are known on Linux alone, and 0 elsewhere.
 */
export function createProcessVmm(deps: { readonly log: Log }, settings: ProcessVmmSettings): Vmm {
  const { startTimeoutMs = 10_000 } = settings
  const living = new Set<VmProcess>()
  const folderOf = (vm: VmId) => join(settings.folder, keyOfVm(vm))
  return {
    kind: 'process',
    listImages: async () => [...settings.images.keys()],
    start: async (spec, signal) => {
      const program = getProgram(settings.images, spec.image)
      const vm = await launch(spec, { program, folder: folderOf(spec), log: deps.log })
      living.add(vm)
      void vm.exited.then(() => living.delete(vm))
      return waitForPorts(vm, startTimeoutMs, signal)
    },
    // Its VMs end with the process that started them, and have no memory that could be kept.
    adopt: async () => undefined,
    isSuspended: async () => false,
    forget: async () => undefined,
    sweep: async () => undefined,
    sampleUsage: () => sampleUsage([...living]),
    remove: async (vm) => {
      await rm(folderOf(vm), { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** @throws SidecarError vm_image_unknown */
function getProgram(images: ReadonlyMap<string, string>, image: string): string {
  const program = images.get(image)
  if (program !== undefined) return program
  const detail = `There is no image "${image}" here, only: ${[...images.keys()].join(', ')}`
  throw new SidecarError('vm_image_unknown', { detail })
}

interface Launch {
  readonly program: string
  readonly folder: string
  readonly log: Log
}

async function launch(spec: VmSpec, { program, folder, log }: Launch): Promise<VmProcess> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const child = spawn(process.execPath, [resolve(program)], {
      cwd: folder,
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      // A process group of its own: Ctrl-C reaches the parent alone, and what the VM started ends with it.
      detached: true,
    })
    const vm = new VmProcess({ name: spec.name, child, folder, log })
    await once(child, 'spawn')
    return vm
  } catch (cause) {
    throw new SidecarError('vm_start_failed', { cause, detail: `VM ${spec.name}: ${String(cause)}` })
  }
}

/** Whichever is first: ports, an exit, the time limit, an abort. */
async function waitForPorts(vm: VmProcess, timeoutMs: number, signal?: AbortSignal): Promise<RunningVm> {
  const { promise: over, resolve } = Promise.withResolvers<'late' | 'aborted'>()
  const timer = setTimeout(() => resolve('late'), timeoutMs)
  const abort = () => resolve('aborted')
  signal?.addEventListener('abort', abort)
  if (signal?.aborted) abort()
  const first = await Promise.race([vm.reported, vm.exited, over])
  clearTimeout(timer)
  signal?.removeEventListener('abort', abort)
  if (first === 'ports') return vm
  const exit = await vm.stop(0)
  if (first === 'late') throw failure('vm_start_timeout', vm.name, exit)
  throw failure('vm_start_failed', vm.name, exit)
}

function failure(code: SidecarErrorCode, name: string, exit: VmExit): SidecarError {
  const detail = [`VM ${name} ended with ${describeExit(exit)} before it reported a port`, ...exit.lastLines]
  return new SidecarError(code, { detail: detail.join('\n  '), context: { vm: name } })
}

async function sampleUsage(vms: readonly VmProcess[]): Promise<readonly VmUsage[]> {
  // One folder after the other: nobody waits for these figures, and walking them all at once would hold up others.
  for (const vm of vms) await vm.refreshDisk()
  const isKnown = process.platform === 'linux'
  const usages = isKnown ? await sampleProcesses(vms.map(({ pid }) => pid)) : undefined
  return vms.map((vm) => vm.toUsage(usages?.get(vm.pid) ?? NO_USAGE))
}
