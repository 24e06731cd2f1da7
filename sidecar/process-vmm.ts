/** The development driver: a VM is a child process that listens on the loopback address. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import type { Log } from '../lib/log.ts'
import type { Address } from '../routing/records.ts'
import { SidecarError, type SidecarErrorCode } from './errors.ts'
import { readLines } from './lines.ts'
import type { RunningVm, VmExit, Vmm, VmSpec } from './vmm.ts'

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
/** All that a VM's program sees of the environment: the parent's may hold secrets. */
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
const LAST_LINES = 20
/** How long the output of a process that has exited may still come in, held open by a child of its own. */
const OUTPUT_GRACE_MS = 500

export interface ProcessVmmSettings {
  /** Each VM's working folder is made below it. */
  readonly folder: string
  /** How long a program may take until it reports its ports. Default 10,000. */
  readonly startTimeoutMs?: number
}

/**
 * Runs a VM's image, a JavaScript or TypeScript file, with this process's own Node. The program listens on
 * 127.0.0.1, sends `{ ports: { '<guest port>': <port it listens on> } }` over its IPC channel, and exits when
 * that channel closes: that is how it ends with a parent that was killed. A program whose event loop is stuck
 * at that moment outlives it.
 */
export function createProcessVmm(deps: { readonly log: Log }, settings: ProcessVmmSettings): Vmm {
  const { folder, startTimeoutMs = 10_000 } = settings
  return {
    start: async (spec, signal) => {
      if (!NAME.test(spec.name)) throw new SidecarError('vm_name', { context: { name: spec.name } })
      const vm = await launch(spec, { folder: join(folder, spec.name), log: deps.log })
      return waitForPorts(vm, startTimeoutMs, signal)
    },
  }
}

async function launch(spec: VmSpec, { folder, log }: { folder: string; log: Log }): Promise<VmProcess> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const child = spawn(process.execPath, [resolve(spec.image)], {
      cwd: folder,
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // A process group of its own: Ctrl-C reaches the parent alone, and what the VM started ends with it.
      detached: true,
    })
    const vm = new VmProcess(spec.name, child, log)
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

/** As "code 1" or "SIGKILL". */
export function describeExit({ code, signal }: Pick<VmExit, 'code' | 'signal'>): string {
  return signal ?? (code === undefined ? 'an unknown reason' : `code ${code}`)
}

class VmProcess implements RunningVm {
  readonly name: string
  /** Settles when the program has reported its ports. */
  readonly reported: Promise<'ports'>
  readonly exited: Promise<VmExit>
  ports: Readonly<Record<string, Address>> = {}
  readonly #child: ChildProcess
  readonly #log: Log
  readonly #lastLines: string[] = []
  #ended = false

  constructor(name: string, child: ChildProcess, log: Log) {
    this.name = name
    this.#child = child
    this.#log = log
    this.#follow(child.stdout, 'stdout')
    this.#follow(child.stderr, 'stderr')
    this.exited = this.#watchExit()
    this.reported = this.#watchReports()
    // Without a listener a failed send or kill would be thrown; the exit says what matters.
    child.on('error', (error) => log.warn({ vm: name, err: error }, 'VM process error'))
  }

  async stop(graceMs: number): Promise<VmExit> {
    if (!this.#ended) this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#killGroup(), graceMs)
    try {
      return await this.exited
    } finally {
      clearTimeout(timer)
    }
  }

  #follow(stream: Readable | null, name: string): void {
    if (!stream) return
    readLines(stream, (line) => {
      this.#log.info({ vm: this.name, stream: name, line }, 'VM output')
      if (name === 'stderr') this.#lastLines.push(line)
      if (this.#lastLines.length > LAST_LINES) this.#lastLines.shift()
    })
  }

  #watchExit(): Promise<VmExit> {
    const { promise, resolve } = Promise.withResolvers<VmExit>()
    this.#child.once('exit', (code, signal) => {
      this.#ended = true
      this.#killGroup()
      const settle = () => {
        clearTimeout(timer)
        this.#child.stdout?.destroy()
        this.#child.stderr?.destroy()
        resolve({
          ...(code !== null && { code }),
          ...(signal !== null && { signal }),
          lastLines: [...this.#lastLines],
        })
      }
      const timer = setTimeout(settle, OUTPUT_GRACE_MS)
      this.#child.once('close', settle)
    })
    return promise
  }

  #watchReports(): Promise<'ports'> {
    const { promise, resolve } = Promise.withResolvers<'ports'>()
    this.#child.on('message', (message) => {
      const ports = parseReport(message)
      if (!ports) return this.#log.warn({ vm: this.name }, 'VM sent a message that is no port report')
      this.ports = ports
      resolve('ports')
    })
    return promise
  }

  /** The program and all it started. */
  #killGroup(): void {
    if (this.#child.pid === undefined) return
    try {
      process.kill(-this.#child.pid, 'SIGKILL')
    } catch (error) {
      // ESRCH: the group is gone already, which is what was wanted.
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH'))
        this.#log.warn({ vm: this.name, err: error }, 'VM process group could not be ended')
    }
  }
}

/** Guest port → loopback address, or undefined when `message` is anything but `{ ports: { '8000': 41231 } }`. */
function parseReport(message: unknown): Record<string, Address> | undefined {
  if (typeof message !== 'object' || message === null || !('ports' in message)) return undefined
  const { ports } = message
  if (typeof ports !== 'object' || ports === null) return undefined
  const entries = Object.entries(ports)
  if (entries.length === 0) return undefined
  const isReport = entries.every(
    ([guest, port]) => isPort(Number(guest)) && String(Number(guest)) === guest && isPort(port),
  )
  return isReport
    ? Object.fromEntries(entries.map(([guest, port]) => [guest, { host: '127.0.0.1', port: Number(port) }]))
    : undefined
}

function isPort(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
}
